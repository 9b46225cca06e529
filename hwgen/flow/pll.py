"""Divider settings of the Lattice PLLs."""

from __future__ import annotations

from dataclasses import dataclass

from hwgen.errors import HwgenError


@dataclass(frozen=True)
class Ecp5Pll:
    """EHXPLLL with CLKOP as its feedback: out = in / clki_div * clkfb_div, VCO = out * clkop_div."""

    clki_div: int
    clkfb_div: int
    clkop_div: int


@dataclass(frozen=True)
class Ice40Pll:
    """SB_PLL40_PAD with simple feedback: out = in * (divf + 1) / ((divr + 1) * 2**divq)."""

    divr: int
    divf: int
    divq: int
    filter_range: int


_TOLERANCE = 1e-6


def ecp5_pll(in_mhz: float, out_mhz: float) -> Ecp5Pll:
    """Dividers that make exactly `out_mhz`, with the highest phase detector frequency and the VCO nearest 600 MHz.

    Limits (ECP5 data sheet, sysCLOCK PLL timing): phase detector 10 to 400 MHz where possible and never under
    3.125 MHz, VCO 400 to 800 MHz. Raises HwgenError when there are none.
    """
    for clki in range(1, int(in_mhz / 3.125) + 1):
        clkfb = round(out_mhz * clki / in_mhz)
        if not 1 <= clkfb <= 128 or abs(in_mhz / clki * clkfb / out_mhz - 1) > _TOLERANCE:
            continue
        posts = [post for post in range(1, 129) if 400 <= out_mhz * post <= 800]
        if posts:
            return Ecp5Pll(clki, clkfb, min(posts, key=lambda post: abs(out_mhz * post - 600)))
    raise HwgenError(f"the ECP5 PLL cannot make {out_mhz:g} MHz from {in_mhz:g} MHz")


def ice40_pll(in_mhz: float, out_mhz: float) -> Ice40Pll:
    """Dividers that make exactly `out_mhz`.

    Limits (iCE40 data sheet, sysCLOCK PLL timing): input and phase detector 10 to 133 MHz, VCO 533 to 1066 MHz,
    output 16 to 275 MHz. Raises HwgenError when there are none.
    """
    # The filter range by the phase detector's upper frequency, as the vendor's own tool chooses it.
    ranges = ((17, 1), (26, 2), (44, 3), (66, 4), (101, 5), (133.1, 6))
    for divr in range(16) if 16 <= out_mhz <= 275 else ():
        detector = in_mhz / (divr + 1)
        for divq in range(1, 7):
            divf = round(out_mhz * 2**divq / detector) - 1
            exact = 0 <= divf <= 127 and abs(detector * (divf + 1) / 2**divq / out_mhz - 1) <= _TOLERANCE
            if exact and 10 <= detector <= 133 and 533 <= detector * (divf + 1) <= 1066:
                return Ice40Pll(divr, divf, divq, next(code for limit, code in ranges if detector < limit))
    raise HwgenError(f"the iCE40 PLL cannot make {out_mhz:g} MHz from {in_mhz:g} MHz")
