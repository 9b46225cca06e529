"""What a code is worth, in gateware. `DECODERS` is the whole list; a new family adds a file and a line."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Value

from hwgen.errors import UnsupportedError
from hwgen.formats import Bipolar, Format, Int


@dataclass(frozen=True)
class Operand:
    """A decoded code in two forms: its integer `worth`, and unsigned bits with worth = step * bits + offset."""

    worth: Value
    bits: Value
    step: int
    offset: int


def decode_int(fmt: Int, code: Value) -> Operand:
    """An integer code is its own worth; with its sign bit inverted it counts from the least integer."""
    if not fmt.signed:
        return Operand(code, code, 1, 0)
    return Operand(code, Cat(code[:-1], ~code[-1]), 1, -(1 << (fmt.bits - 1)))


def decode_bipolar(fmt: Bipolar, code: Value) -> Operand:
    """0 is worth -1 and 1 is worth +1: two bits in two's complement."""
    del fmt
    return Operand(Cat(1, ~code).as_signed(), code, 2, -1)


DECODERS = {Int: decode_int, Bipolar: decode_bipolar}


def check_decodable(fmt: Format) -> None:
    """Raises UnsupportedError for a format without a decoder."""
    if type(fmt) not in DECODERS:
        families = ", ".join(family.__name__ for family in DECODERS)
        raise UnsupportedError(f"no gateware decodes {fmt.name} codes, only those of {families}")


def decode(fmt: Format, code: Value) -> Operand:
    """The integer worth of `code`; raises UnsupportedError for a format without a decoder."""
    check_decodable(fmt)
    return DECODERS[type(fmt)](fmt, code)
