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
"""The greatest factor that brings two scales to a common one, unless all are powers of two."""

MAX_BESIDE_FACTOR = 1 << 8
"""The same for tensors side by side, which do without one scale where their codes would grow by more."""

MAX_BITS = 62
"""The widest sum or product of tensors."""


@dataclass(frozen=True, eq=False)
class Add(Op):
    """The sum of two or more tensors of one shape, number by number, each times its weight.

    weights: real numbers, one a tensor, or none for ones: a difference has -1.
    In the frozen graph it is a sum of integers, exact: factors[n] * what code n is worth in units of its format's
    grid, so that all of them have one scale; formats: those of the codes. Both are empty while numbers are real.
    """

    frozen: ClassVar[bool] = True

    factors: tuple[int, ...] = ()
    formats: tuple[Format, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.factors) != len(self.formats):
            raise HwgenError(f"a sum has as many factors as formats, not {len(self.factors)} and {len(self.formats)}")
        if self.factors and not (len(self.factors) > 1 and _are_factors(self.factors)):
            raise HwgenError(f"a sum has two or more factors of 1 to {MAX_FACTOR}, or less than 0, not {self.factors}")
        if not all(math.isfinite(weight) and weight for weight in self.weights):
            raise HwgenError(f"the weights of a sum are finite and not 0, not {self.weights}")

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs)
        if len(self.weights) not in (0, len(inputs)):
            raise HwgenError(f"a sum of {len(inputs)} tensors has no {len(self.weights)} weights")
        if len({x.shape for x in inputs}) > 1:
            raise HwgenError(f"a sum is of tensors of one shape, not of {', '.join(str(x.shape) for x in inputs)}")
        shape = inputs[0].shape
        if not self.factors:
            return TensorType(shape)
        found = tuple(x.codes_format for x in inputs)
        if found != self.formats:
            raise HwgenError(f"a sum of {_names(self.formats)} codes does not take {_names(found)}")
        rows = zip(_weighted(inputs, self.weights), self.factors, strict=True)
        scales = {tuple(u / n for u in row) for row, n in rows}
        if len(scales) > 1:
            raise HwgenError(f"factors {self.factors} do not bring the scales of a sum to one: {_scales(inputs)}")
        (scale,) = scales
        low, high = self.bounds
        zero = sum(n * x.zero_point for n, x in zip(self.factors, inputs, strict=True))
        return TensorType(shape, Int.holding(low, high), tuple(map(float, scale)), zero)

    @property
    def ends(self) -> list[tuple[int, int]]:
        """(least, greatest) of each summand."""
        pairs = ([n * end for end in grid_range(fmt)] for n, fmt in zip(self.factors, self.formats, strict=True))
        return [(min(pair), max(pair)) for pair in pairs]

    @property
    def bounds(self) -> tuple[int, int]:
        """(least, greatest) sum of codes."""
        low, high = (sum(end) for end in zip(*self.ends, strict=True))
        return low, high

    def run(self, *values: Array) -> Array:
        if self.factors:
            codes = zip(self.factors, self.formats, values, strict=True)
            terms: list[Array] = [n * on_grid(fmt, x) for n, fmt, x in codes]
        else:
            weights = self.weights or (1.0,) * len(values)
            terms = [x * weight for x, weight in zip(values, weights, strict=True)]
        return np.asarray(sum(terms[1:], start=terms[0]))


def _are_factors(factors: tuple[int, ...]) -> bool:
    """Whether they are small or powers of two, and not 0."""
    sizes = [abs(n) for n in factors]
    return all(0 < n <= MAX_FACTOR or (n.bit_count() == 1 and n < 1 << MAX_BITS) for n in sizes)


def _check_codes(inputs: tuple[TensorType, ...]) -> None:
    """Raises HwgenError for codes that stand on no grid, or have a zero point and are no integers."""
    for x in inputs:
        fmt = x.codes_format
        grid_range(fmt)
        if x.zero_point and not isinstance(fmt, Int):
            raise HwgenError(f"{fmt.name} codes have no zero point, not {x.zero_point}")


def aligned(inputs: tuple[TensorType, ...], weights: tuple[float, ...] = ()) -> Add:
    """The sum of codes of these types; raises HwgenError, which gives the scales, where no factors align them."""
    _check_codes(inputs)
    factors = _whole(_weighted(inputs, weights))
    if factors is None or not _are_factors(factors):
        raise HwgenError(
            f"the scales of its inputs do not match, and no whole factors up to {MAX_FACTOR} align them: "
            f"{_scales(inputs)}"
        )
    made = Add(factors, tuple(x.codes_format for x in inputs), weights)
    _check_bits("sums", made.formats, made.bounds)
    return made


def _weighted(inputs: tuple[TensorType, ...], weights: tuple[float, ...]) -> list[tuple[Fraction, ...]]:
    """What one step of each tensor's grid adds to the sum, for each scale."""
    width = max(len(x.scale) for x in inputs)
    rows = [units(x) * (width if len(x.scale) == 1 else 1) for x in inputs]
    return [
        tuple(unit * Fraction(weight) for unit in row)
        for row, weight in zip(rows, weights or (1.0,) * len(inputs), strict=True)
    ]


def _whole(rows: list[tuple[Fraction, ...]]) -> tuple[int, ...] | None:
    """The least whole numbers in the ratios of the rows' units; None where those differ from scale to scale."""
    ratios = {tuple(unit / column[0] for unit in column) for column in zip(*rows, strict=True)}
    if len(ratios) > 1:
        return None
    (ratio,) = ratios
    whole = [int(r * math.lcm(*(one.denominator for one in ratio))) for r in ratio]
    sign = -1 if rows[0][0] < 0 else 1
    return tuple(sign * n // math.gcd(*whole) for n in whole)


def _check_bits(what: str, formats: tuple[Format, ...], bounds: tuple[int, int]) -> None:
    bits = max(abs(end) for end in bounds).bit_length() + 1
    if bits > MAX_BITS:
        raise HwgenError(f"{what} of {_names(formats)} take {bits} bits; at most {MAX_BITS} are carried")


def units(x: TensorType) -> tuple[Fraction, ...]:
    """What one step of the grid of a tensor's format is worth, for each of its scales; exact."""
    return tuple(Fraction(scale) * Fraction(2) ** x.codes_format.lsb for scale in x.scale)


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Tensors side by side: the channels of the first, then those of the next. Blocks stay whole.

    In the frozen graph, where their codes are of several types, a code of input n becomes
    code * factors[n] + offsets[n] of `format`, which is worth the same, but for the scale. All are empty where codes
    are of one type, and while numbers are real, as they are where types differ.
    """

    frozen: ClassVar[bool] = True

    format: Format | None = None
    factors: tuple[int, ...] = ()
    offsets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.factors) != len(self.offsets) or bool(self.factors) != bool(self.format):
            raise HwgenError(
                f"tensors side by side in another format have a factor and an offset each, not {self.factors} and "
                f"{self.offsets}"
            )

    def infer(self, *inputs: TensorType) -> TensorType:
        _check_count(inputs)
        first = inputs[0]
        if len({x.shape[:-1] for x in inputs}) > 1:
            raise HwgenError(
                f"tensors of {', '.join(str(x.shape) for x in inputs)} are not side by side: only channels may differ"
            )
        shape = (*first.shape[:-1], sum(x.channels for x in inputs))
        kinds = {(x.format, x.zero_point) for x in inputs}
        if any(x.format is None for x in inputs) or (len(kinds) > 1 and self.format is None):
            return TensorType(shape)
        fmt, moves = self.format or first.codes_format, list(zip(inputs, *self.moves(len(inputs)), strict=True))
        zeros = {0 if isinstance(fmt, Blocked) else n * x.zero_point + offset for x, n, offset in moves}
        if len(zeros) > 1:
            raise HwgenError(f"tensors side by side have one zero point, not {sorted(zeros)}")
        for x in inputs:
            size = x.codes_format.block.size if isinstance(x.codes_format, Blocked) else 1
            if x.channels % size:
                raise HwgenError(f"blocks of {size} do not divide {[x.channels for x in inputs]} channels")
        scale = tuple(s / n for x, n, _ in moves for s in _per_channel(x))
        return TensorType(shape, fmt, scale[:1] if len(set(scale)) == 1 else scale, zeros.pop())

    def moves(self, count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(factors, offsets) of `count` inputs."""
        return self.factors or (1,) * count, self.offsets or (0,) * count

    def run(self, *values: Array) -> Array:
        if not self.factors:
            return np.concatenate(values, axis=-1)
        moved = [x * n + offset for x, n, offset in zip(values, self.factors, self.offsets, strict=True)]
        return np.concatenate(moved, axis=-1)


def beside(inputs: tuple[TensorType, ...]) -> Concat:
    """Codes of these types side by side: integers in one that holds all, with one scale where small factors bring
    them there; blocks with scales of one window. Raises HwgenError for formats that do not go together."""
    formats = [x.codes_format for x in inputs]
    scales = {scale for x in inputs for scale in x.scale}
    if len(set(formats)) == 1 and len(scales) == 1 and len({x.zero_point for x in inputs}) == 1:
        return Concat()
    blocks = [fmt for fmt in formats if isinstance(fmt, Blocked)]
    if len(set(formats)) == 1 and not isinstance(formats[0], Int):
        return Concat()
    if len(blocks) == len(formats) and len({replace(fmt.block, scale=blocks[0].block.scale) for fmt in blocks}) == 1:
        return _beside_blocks(blocks)
    if not all(isinstance(fmt, Int) for fmt in formats):
        raise HwgenError(
            "tensors side by side have one format, or are integers, or blocks of one kind, not "
            f"{_names(tuple(formats))}"
        )
    rows = [units(x) for x in inputs]
    factors = _whole(rows) if all(len(row) == 1 for row in rows) else None
    if factors is None or max(factors) > MAX_BESIDE_FACTOR:
        factors = (1,) * len(inputs)
    zeros = [n * x.zero_point for x, n in zip(inputs, factors, strict=True)]
    offsets = tuple(zeros[0] - zero for zero in zeros)
    ends = [
        n * end + offset for fmt, n, offset in zip(formats, factors, offsets, strict=True) for end in grid_range(fmt)
    ]
    return Concat(Int.holding(min(ends), max(ends)), factors, offsets)


def _beside_blocks(formats: list[Blocked]) -> Concat:
    """Blocks whose scales differ in their windows: each is in the window of all."""
    scales = [fmt.block.scale for fmt in formats]
    if not all(fmt.block.power_scale for fmt in formats):
        raise HwgenError(f"scales of {', '.join(scale.name for scale in scales)} have no window in common")
    bias = max(scale.bias for scale in scales)
    high = max(scale.code_range[1] - scale.bias for scale in scales)
    block = formats[0].block
    window = replace(block.scale, exponent_bits=max(1, (high + bias).bit_length()), bias=bias)
    offsets = tuple((bias - scale.bias) << block.element.bits for scale in scales)
    return Concat(Blocked(replace(block, scale=window)), (1,) * len(formats), offsets)


def _per_channel(x: TensorType) -> tuple[float, ...]:
    return x.scale * (x.channels if len(x.scale) == 1 else 1)


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
    _check_codes(inputs)
    made = Multiply(tuple(x.codes_format for x in inputs), tuple(x.zero_point for x in inputs))
    _check_bits("products", made.formats, made.bounds)
    return made


def _check_count(inputs: tuple[TensorType, ...]) -> None:
    if len(inputs) < 2:
        raise HwgenError("branches meet in twos or more")


def _names(formats: tuple[Format, ...]) -> str:
    return ", ".join(fmt.name for fmt in formats)


def _scales(inputs: tuple[TensorType, ...]) -> str:
    return ", ".join(f"{x.scale[0]!r}{' and others' if len(x.scale) > 1 else ''}" for x in inputs)
