"""ROMs of many words as Verilog text."""

import re

from hwgen.gateware.rom import BLOCK_WORDS, Emission, modules


def test_every_word_is_set_in_one_of_many_short_blocks() -> None:
    words = [n * n for n in range(2 * BLOCK_WORDS + 3)]
    emission = Emission()
    emission.rom(13, words, "block")
    verilog = modules(emission.text())
    blocks = re.findall(r"initial begin\n(.*?)  end\n", verilog, re.DOTALL)
    found = [re.findall(r"words\[(\d+)\] = 13'h(\w+);", block) for block in blocks]
    assert [len(block) for block in found] == [BLOCK_WORDS, BLOCK_WORDS, 3]
    assert [(int(place), int(word, 16)) for block in found for place, word in block] == list(enumerate(words))
