"""Unnormalised products, which is what multipliers give before anything is rounded, and their fixed-point form."""

from dataclasses import dataclass

from amaranth.hdl import Module, Mux, Signal, Value, signed

MAX_FIXED_BITS = 128


@dataclass(frozen=True)
class Product:
    """(-1)**sign * significand * 2**(exponent + base), all unsigned bits; `finite`: neither operand is NaN or infinite.

    `least`: what the exponent never falls below, except where the significand is 0.
    """

    sign: Value
    significand: Value
    exponent: Value
    base: int
    least: int
    finite: Value

    @property
    def lsb(self) -> int:
        """The exponent of the grid that all products lie on."""
        return self.base + self.least


def shifted(m: Module, worth: Value, exponent: Value, least: int, width: int, name: str = "fixed") -> Signal:
    """worth * 2**(exponent - least) in two's complement of `width` bits, combinational.

    It is shifted by all of the exponent and then lacks the lowest `least` bits, which takes no subtraction.
    """
    out = Signal(signed(width), name=name)
    high = Signal(signed(width + least), name=f"{name}_shifted")
    # A shifter no wider than what is kept of it.
    amount = exponent[: max(1, (width + least - 1).bit_length())]
    m.d.comb += [high.eq(worth << amount), out.eq(high[least:].as_signed())]
    return out


def fixed(m: Module, product: Product, width: int, name: str = "fixed") -> Signal:
    """The product in two's complement of `width` bits, in units of 2**product.lsb; combinational.

    It is negated before it is shifted, while it is narrow.
    """
    worth = Signal(signed(len(product.significand) + 1), name=f"{name}_worth")
    m.d.comb += worth.eq(Mux(product.sign, -product.significand, product.significand))
    return shifted(m, worth, product.exponent, product.least, width, name)
