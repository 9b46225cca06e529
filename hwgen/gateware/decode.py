"""What a code is worth, in gateware. `DECODERS` is the whole list; a new family adds a file and a line."""

from amaranth.hdl import Cat, Value

from hwgen.errors import UnsupportedError
from hwgen.formats import Bipolar, Format, Int


def decode_int(code: Value) -> Value:
    """An integer code is its own worth."""
    return code


def decode_bipolar(code: Value) -> Value:
    """0 is worth -1 and 1 is worth +1: two bits, two's complement."""
    return Cat(1, ~code).as_signed()


DECODERS = {Int: decode_int, Bipolar: decode_bipolar}


def decode(fmt: Format, code: Value) -> Value:
    """The integer worth of `code`; raises UnsupportedError for a format without a decoder."""
    if type(fmt) not in DECODERS:
        families = ", ".join(family.__name__ for family in DECODERS)
        raise UnsupportedError(f"no gateware decodes {fmt.name} codes, only those of {families}")
    return DECODERS[type(fmt)](code)
