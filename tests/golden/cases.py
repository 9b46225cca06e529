"""Formats, random codes and definitions by fractions that the tests of golden arithmetic share."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from hwgen.formats import Format, get
from hwgen.formats.minifloat import Minifloat

ELEMENTS = [get(name) for name in ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "int8", "uint4", "bipolar")]
SMALL = [fmt for fmt in ELEMENTS if isinstance(fmt, Minifloat)]


def numbers(fmt: Format) -> np.ndarray:
    """All finite codes; for integers of more than 16 bits their ends and some between."""
    if isinstance(fmt, Minifloat):
        return fmt.codes()[fmt.is_number(fmt.codes())]
    return fmt.codes()


def draw(fmt: Format, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.choice(numbers(fmt), shape)


def fractions(fmt: Format, codes: np.ndarray) -> np.ndarray:
    """What finite codes are worth, an object array of Fractions."""
    significand, exponent = fmt.significand_exponent(codes)
    return np.frompyfunc(lambda s, e: Fraction(int(s)) * Fraction(2) ** int(e), 2, 1)(significand, exponent)
