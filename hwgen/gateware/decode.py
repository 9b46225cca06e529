"""What a code is worth, in gateware. `DECODERS` is the whole list; a new family adds a file and a line."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Mux, Value

from hwgen.errors import UnsupportedError
from hwgen.formats import Bipolar, Blocked, Fixed, Format, Int, Minifloat
from hwgen.formats.grid import grid_range


@dataclass(frozen=True)
class Operand:
    """A decoded code in two forms: its integer `worth`, and unsigned bits with worth = step * bits + offset.

    Integers count units of the format's grid, 2**lsb.
    """

    worth: Value
    bits: Value
    step: int
    offset: int


def decode_int(fmt: Int, code: Value) -> Operand:
    """An integer code is its own worth; with its sign bit inverted it counts from the least integer."""
    if not fmt.signed:
        return Operand(code, code, 1, 0)
    # Elements of blocks come as bits without a sign.
    return Operand(code.as_signed(), Cat(code[:-1], ~code[-1]), 1, -(1 << (fmt.bits - 1)))


def decode_bipolar(fmt: Bipolar, code: Value) -> Operand:
    """0 is worth -1 and 1 is worth +1: two bits in two's complement."""
    del fmt
    return Operand(Cat(1, ~code).as_signed(), code, 2, -1)


def decode_minifloat(fmt: Minifloat, code: Value) -> Operand:
    """The significand shifted to its place on the grid, negated where the sign says so; finite codes only."""
    m, e = fmt.mantissa_bits, fmt.exponent_bits
    field = code[m : m + e]
    normal = field.any() if fmt.has_subnormals else Const(1, 1)
    significand = Cat(code[:m], normal)
    # Subnormals have the exponent of field 1, to which both shift by the field less one: by the field, and one back.
    shifted = significand << field
    magnitude = Mux(normal, shifted[1:], significand) if fmt.has_subnormals else shifted
    width = grid_range(fmt)[1].bit_length()
    if not fmt.has_sign:
        return Operand(magnitude[:width], magnitude[:width], 1, 0)
    worth = Mux(code[m + e], -magnitude[:width], magnitude[:width])[: width + 1].as_signed()
    return Operand(worth, Cat(worth[:-1], ~worth[-1]), 1, -(1 << width))


def decode_fixed(fmt: Fixed, code: Value) -> Operand:
    """Fixed point is an integer in units of its grid."""
    return decode_int(fmt.integers, code if not fmt.signed else code.as_signed())


DECODERS = {Int: decode_int, Bipolar: decode_bipolar, Minifloat: decode_minifloat, Fixed: decode_fixed}


def scaled(fmt: Blocked, worth: Value, scale: Value) -> Value:
    """An element's `worth` under the code of its block's `scale`, on the grid of both."""
    if fmt.block.power_scale:
        return worth << scale
    return worth * decode(fmt.block.scale, scale).worth


def check_decodable(fmt: Format) -> None:
    """Raises UnsupportedError for a format without a decoder. Blocks are decoded in two steps: `decode` of an element,
    and `scaled`."""
    if type(fmt) not in DECODERS and not isinstance(fmt, Blocked):
        families = ", ".join(family.__name__ for family in DECODERS)
        raise UnsupportedError(f"no gateware decodes {fmt.name} codes, only those of {families}")


def decode(fmt: Format, code: Value) -> Operand:
    """The integer worth of `code`; raises UnsupportedError for a format without a decoder."""
    check_decodable(fmt)
    return DECODERS[type(fmt)](fmt, code)
