"""Where branches meet: sums and products of tensors, and tensors side by side."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Format, Int
from hwgen.formats.grid import grid_range, on_grid
from hwgen.ir import Array, Op, TensorType

MAX_FACTOR = 1 << 16
"""The greatest factor that brings two scales to a common one."""


MAX_PRODUCT_BITS = 62
"""The widest product of two tensors."""


@dataclass(frozen=True, eq=False)
class Add(Op):
    """The sum of two or more tensors of one shape, number by number.

    In the frozen graph it is a sum of integers, exact: factors[n] * what code n is worth in units of its format's
    grid, so that all of them have one scale; formats: those of the codes. Both are empty while numbers are real.
    """

    frozen: ClassVar[bool] = True

    factors: tuple[int, ...] = ()
    formats: tuple[Format, ...] = ()

    def __post_init__(self) -> None:
        if len(self.factors) != len(self.formats):
            raise HwgenError(f"a sum has as many factors as formats, not {len(self.factors)} and {len(self.formats)}")
        if self.factors and not (len(self.factors) > 1 and all(1 <= n <= MAX_FACTOR for n in self.factors)):
            raise HwgenError(f"a sum has two or more factors of 1 to {MAX_FACTOR}, not {self.factors}")

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs)
        if len({x.shape for x in inputs}) > 1:
            raise HwgenError(f"a sum is of tensors of one shape, not of {', '.join(str(x.shape) for x in inputs)}")
        shape = inputs[0].shape
        if not self.factors:
            return TensorType(shape)
        found = tuple(x.codes_format for x in inputs)
        if found != self.formats:
            raise HwgenError(f"a sum of {_names(self.formats)} codes does not take {_names(found)}")
        scales = {tuple(u / n for u in units(x)) for x, n in zip(inputs, self.factors, strict=True)}
        if len(scales) > 1:
            raise HwgenError(f"factors {self.factors} do not bring the scales of a sum to one: {_scales(inputs)}")
        (scale,) = scales
        ends = [[n * end for end in grid_range(f)] for n, f in zip(self.factors, self.formats, strict=True)]
        zero = sum(n * x.zero_point for n, x in zip(self.factors, inputs, strict=True))
        low, high = (sum(end) for end in zip(*ends, strict=True))
        return TensorType(shape, Int.holding(low, high), tuple(map(float, scale)), zero)

    def run(self, *values: Array) -> Array:
        if not self.factors:
            return np.asarray(sum(values[1:], start=values[0]))
        terms = [n * on_grid(f, x) for n, f, x in zip(self.factors, self.formats, values, strict=True)]
        return np.asarray(sum(terms[1:], start=terms[0]))


def _check_codes(inputs: tuple[TensorType, ...], what: str) -> None:
    """Raises HwgenError for codes that stand on no grid, or of blocks, of which no `what` is taken."""
    for x in inputs:
        fmt = x.codes_format
        if isinstance(fmt, Blocked):
            raise HwgenError(f"a {what} of {fmt.name} codes is not supported: their blocks have scales of their own")
        grid_range(fmt)
        if x.zero_point and not isinstance(fmt, Int):
            raise HwgenError(f"{fmt.name} codes have no zero point, not {x.zero_point}")


def aligned(inputs: tuple[TensorType, ...]) -> Add:
    """The sum of codes of these types; raises HwgenError, which gives the scales, where no factors align them."""
    _check_codes(inputs, "sum")
    width = max(len(x.scale) for x in inputs)
    rows = [units(x) * (width if len(x.scale) == 1 else 1) for x in inputs]
    ratios = {tuple(row[c] / rows[0][c] for row in rows) for c in range(width)}
    if len(ratios) == 1:
        (ratio,) = ratios
        # The least whole numbers in these ratios.
        whole = [int(r * math.lcm(*(one.denominator for one in ratio))) for r in ratio]
        factors = tuple(n // math.gcd(*whole) for n in whole)
        if max(factors) <= MAX_FACTOR:
            return Add(factors, tuple(x.codes_format for x in inputs))
    raise HwgenError(
        f"the scales of its inputs do not match, and no whole factors up to {MAX_FACTOR} align them: {_scales(inputs)}"
    )


def units(x: TensorType) -> tuple[Fraction, ...]:
    """What one step of the grid of a tensor's format is worth, for each of its scales; exact."""
    return tuple(Fraction(scale) * Fraction(2) ** x.codes_format.lsb for scale in x.scale)


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Tensors side by side: the channels of the first, then those of the next. Their codes are of one type."""

    frozen: ClassVar[bool] = True

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs)
        first = inputs[0]
        if len({x.shape[:-1] for x in inputs}) > 1:
            raise HwgenError(
                f"tensors of {', '.join(str(x.shape) for x in inputs)} are not side by side: only channels may differ"
            )
        shape = (*first.shape[:-1], sum(x.channels for x in inputs))
        if any(x.format is None for x in inputs):
            return TensorType(shape)
        kinds = [(x.codes_format.name, x.scale, x.zero_point) for x in inputs]
        if len(set(kinds)) > 1 or len(first.scale) > 1:
            told = "; ".join(f"{name} of scale {scale[0]:g}, zero point {zero}" for name, scale, zero in kinds)
            raise HwgenError(f"tensors side by side have one format and one scale, not {told}")
        fmt = first.codes_format
        if isinstance(fmt, Blocked) and any(x.channels % fmt.block.size for x in inputs):
            raise HwgenError(f"blocks of {fmt.block.size} do not divide {[x.channels for x in inputs]} channels")
        return replace(first, shape=shape)

    def run(self, *values: Array) -> Array:
        return np.concatenate(values, axis=-1)


@dataclass(frozen=True, eq=False)
class Multiply(Op):
    """The product of two tensors of one shape, number by number.

    In the frozen graph it is a product of integers, exact: of what both codes are worth in units of their formats'
    grids, less their zero points; formats: those of the codes. Both are empty while numbers are real.
    """

    frozen: ClassVar[bool] = True

    formats: tuple[Format, ...] = ()
    zero_points: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (len(self.formats), len(self.zero_points)) not in ((0, 0), (2, 2)):
            raise HwgenError(
                f"a product has two formats and zero points, not {len(self.formats)} and {len(self.zero_points)}"
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        if len(inputs) != 2:
            raise HwgenError(f"a product is of two tensors, not of {len(inputs)}")
        if inputs[0].shape != inputs[1].shape:
            raise HwgenError(f"a product is of tensors of one shape, not of {inputs[0].shape} and {inputs[1].shape}")
        shape = inputs[0].shape
        if not self.formats:
            return TensorType(shape)
        found = tuple(x.codes_format for x in inputs)
        if found != self.formats or tuple(x.zero_point for x in inputs) != self.zero_points:
            raise HwgenError(f"a product of {_names(self.formats)} codes does not take {_names(found)}")
        low, high = self.bounds
        width = max(len(x.scale) for x in inputs)
        rows = [units(x) * (width if len(x.scale) == 1 else 1) for x in inputs]
        scale = tuple(float(a * b) for a, b in zip(*rows, strict=True))
        return TensorType(shape, Int.holding(min(low, -1), max(high, 1)), scale)

    @property
    def bounds(self) -> tuple[int, int]:
        """(least, greatest) product of codes."""
        ends = [[end - zero for end in grid_range(f)] for f, zero in zip(self.formats, self.zero_points, strict=True)]
        products = [a * b for a in ends[0] for b in ends[1]]
        return min(products), max(products)

    def run(self, *values: Array) -> Array:
        if not self.formats:
            return np.asarray(values[0] * values[1])
        a, b = (on_grid(f, x) - zero for f, x, zero in zip(self.formats, values, self.zero_points, strict=True))
        return np.asarray(a * b)


def product_of(inputs: tuple[TensorType, ...]) -> Multiply:
    """The product of codes of these types; raises HwgenError for formats that it does not take."""
    _check_codes(inputs, "product")
    made = Multiply(tuple(x.codes_format for x in inputs), tuple(x.zero_point for x in inputs))
    bits = max(abs(end) for end in made.bounds).bit_length() + 1
    if bits > MAX_PRODUCT_BITS:
        raise HwgenError(f"products of {_names(made.formats)} take {bits} bits; at most {MAX_PRODUCT_BITS} are carried")
    return made


def _check_count(inputs: tuple[TensorType, ...]) -> None:
    if len(inputs) < 2:
        raise HwgenError("branches meet in twos or more")


def _names(formats: tuple[Format, ...]) -> str:
    return ", ".join(fmt.name for fmt in formats)


def _scales(inputs: tuple[TensorType, ...]) -> str:
    return ", ".join(f"{x.scale[0]!r}{' and others' if len(x.scale) > 1 else ''}" for x in inputs)
