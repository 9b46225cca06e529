"""docs/boards.md: its table is true, and its recipe for a new board works as written."""

import re
from pathlib import Path

from hwgen.flow.boards import Board, list_boards, load_board
from hwgen.flow.plan import plan
from hwgen.flow.shell import shell_sources
from hwgen.ir.beats import Beats

TEXT = (Path(__file__).parents[2] / "docs" / "boards.md").read_text(encoding="utf-8")


def test_the_table_lists_every_board_as_it_is() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\S+) \| (\S+) MHz \| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", TEXT, re.MULTILINE
    )
    assert [row[0] for row in rows] == list(list_boards())
    for name, part, mhz, shell, *counts in rows:
        board = load_board(name)
        assert (part, float(mhz), shell) == (board.part, board.clock.design_mhz, board.shell)
        assert [int(count) for count in counts] == list(board.resources.model_dump().values())


def test_the_recipe_makes_a_board(tmp_path: Path) -> None:
    match = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert match is not None
    path = tmp_path / "mine.toml"
    path.write_text(match[1], encoding="utf-8")
    board = load_board(path)
    stream = Beats(lanes=1, bits=8, signed=True, beats=4)
    made = plan(board, shell_sources(board, stream, stream, "0123456789abcdef"))
    assert "--25k --package CABGA256 --speed 6" in made.script()


def test_every_field_is_described() -> None:
    described = set(re.findall(r"`([a-z_]+)(?:\.[a-z_]+)?`", TEXT))
    assert set(Board.model_fields) - {"description"} <= described
