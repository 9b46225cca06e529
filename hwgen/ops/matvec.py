"""Matrix-vector product on codes, with an exact accumulator sized from the real weights.

Any pair of formats whose products lie on a common grid: an accumulator counts units of 2**unit, where `unit` is the
exponent of the least product. With an L-Mul multiplier (hwgen.formats.multiply) a product is a code of the operands'
format again, and the sum of those is exact all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import Blocked, Codes, Format, Int
from hwgen.formats.grid import check_grid, grid_range, on_grid
from hwgen.formats.multiply import CODE_MULTIPLIERS, lmul, lmul_format, product_span
from hwgen.ir import Array, Fold, Op, TensorType, freeze
from hwgen.ops import block_sums

MAX_ACCUMULATOR_BITS = 62
"""The widest exact sum: int64 carries it, and twice as much on the way."""

ACCUMULATORS = ("exact", "fp32")


@dataclass(frozen=True, eq=False)
class MatVec(Op):
    """acc[o] = bias[o] + sum over i of product(weight[o, i], x[i]) in units of 2**unit; exact, no rounding.

    weight: codes of `weight_format`, shape (out, in); finite numbers.
    bias: integers in units of the accumulator, shape (out,); input zero points are folded into it.
    scale: real value of one accumulator unit, one number or one per output channel (for decoding only).
    input_format: the format of x; None reads Int codes, which are their own worth.
    multiplier: "exact", or one of CODE_MULTIPLIERS, which want one minifloat format on both sides.
    shift: the accumulator's unit is 2**shift times the least product of both formats: the weights, on their grid, are
    multiples of 2**shift, so that no sum loses anything. For exact products only.
    accumulator: "exact", or "fp32" for inputs in blocks: the exact sum of each block is rounded to FP32 and added to
    those before it in FP32, in order, both half to even, starting from +0 (hwgen.ops.block_sums). Then the output is
    FP32 codes, its unit is 1, and there is no bias.
    The output format of exact sums is the narrowest signed integer that holds every sum that these weights can make.
    """

    frozen: ClassVar[bool] = True

    weight: npt.NDArray[np.int64]
    weight_format: Format
    bias: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    scale: tuple[float, ...] = (1.0,)
    input_format: Format | None = None
    multiplier: str = "exact"
    shift: int = 0
    accumulator: str = "exact"

    def __post_init__(self) -> None:
        weight = np.asarray(self.weight, dtype=np.int64)
        if weight.ndim != 2 or 0 in weight.shape:
            raise HwgenError(f"a weight matrix has shape (out, in), not {weight.shape}")
        check_grid(self.weight_format)
        if not self.weight_format.is_number(weight).all():
            raise HwgenError(f"weights in {self.weight_format.name} are finite numbers; these hold NaN or infinity")
        if self.multiplier != "exact" and self.multiplier not in CODE_MULTIPLIERS:
            known = ", ".join(("exact", *CODE_MULTIPLIERS))
            raise HwgenError(f"unknown multiplier {self.multiplier!r} of a matrix unit: one of {known}")
        if self.shift and (self.shift < 0 or self.multiplier != "exact"):
            raise HwgenError(f"a unit of 2**{self.shift} least products goes with exact products, and is no fraction")
        self._check_accumulator()
        bias = np.broadcast_to(np.asarray(self.bias, dtype=np.int64), (weight.shape[0],))
        freeze(self, weight=weight, bias=bias)

    def _check_accumulator(self) -> None:
        if self.accumulator not in ACCUMULATORS:
            known = ", ".join(ACCUMULATORS)
            raise HwgenError(f"unknown accumulator {self.accumulator!r} of a matrix unit: one of {known}")
        if self.accumulator == "exact":
            return
        if not isinstance(self.input_format, Blocked):
            name = self.input_format.name if self.input_format else "integers"
            raise HwgenError(f"FP32 adds up block after block, and {name} come in no blocks")
        if self.multiplier != "exact" or self.shift or np.any(self.bias):
            raise HwgenError("FP32 adds up exact products in units of 1, and no bias")

    @cached_property
    def worth(self) -> Codes:
        """The weights in units of 2**shift times their own grid's, shape (out, in)."""
        whole = on_grid(self.weight_format, self.weight)
        worth = whole >> self.shift
        if self.shift and (worth << self.shift != whole).any():
            raise HwgenError(f"weights that are no multiples of 2**{self.shift} on their grid would lose bits")
        worth.setflags(write=False)
        return worth

    @cached_property
    def extremes(self) -> tuple[int, int]:
        """(least, greatest) weight, as `worth`."""
        return int(self.worth.min()), int(self.worth.max())

    @cached_property
    def magnitudes(self) -> tuple[int, int]:
        """(least, greatest) |weight|, as `worth`."""
        magnitude = np.abs(self.worth)
        return int(magnitude.min()), int(magnitude.max())

    @cached_property
    def signed_digits(self) -> Codes:
        """Digits other than 0 of the weights' canonical signed-digit form: summands a row is made of, shape (out,).

        Their number in w is that of ones in w xor 3w (H. Prodinger, On binary representations of integers with
        digits -1, 0, 1, Integers 0, 2000, A08).
        """
        magnitude = np.abs(self.worth)
        return np.asarray(np.bitwise_count(magnitude ^ (3 * magnitude)).sum(axis=1, dtype=np.int64))

    def unit(self, x: TensorType) -> int:
        """The exponent of one unit of the accumulator, before scales."""
        if self.accumulator == "fp32":
            return 0
        return product_span(self.weight_format, x.codes_format, self.multiplier).exponent + self.shift

    @cached_property
    def table(self) -> Codes:
        """Products in units of the accumulator by (code of x, code of the weight); 0 for codes that are no numbers."""
        fmt = lmul_format(self.weight_format, self.input_format or self.weight_format, self.multiplier)
        codes = fmt.codes()
        numbers = np.where(fmt.is_number(codes), codes, 0)
        return on_grid(fmt, lmul(numbers[:, None], numbers[None, :], fmt, self.multiplier))

    def product_range(self, x: TensorType) -> tuple[Codes, Codes]:
        """(least, greatest) product of each weight with any number of `x`, in units of the accumulator."""
        if self.multiplier == "exact":
            ends = np.multiply.outer(np.array(grid_range(x.codes_format)), self.worth)
            return ends.min(axis=0), ends.max(axis=0)
        return self.table.min(axis=0)[self.weight], self.table.max(axis=0)[self.weight]

    def accumulator_range(self, x: TensorType) -> tuple[int, int]:
        """(least, greatest) final sum over all channels, for any input codes of type `x`."""
        if x.codes_format not in self._ranges:
            low, high = self.product_range(x)
            # Zero stays inside, since an empty sum starts there.
            least, greatest = _total(low, self.bias, min), _total(high, self.bias, max)
            self._ranges[x.codes_format] = min(least, 0), max(greatest, 0)
        return self._ranges[x.codes_format]

    @cached_property
    def _ranges(self) -> dict[Format, tuple[int, int]]:
        """Accumulator ranges that have been found, by the format of x: millions of weights take a while."""
        return {}

    def infer(self, *inputs: TensorType) -> TensorType:
        (x,) = inputs
        if x.channels != self.weight.shape[1]:
            raise HwgenError(f"weights take {self.weight.shape[1]} inputs, the tensor has {x.channels}")
        if x.format != self.input_format and not (self.input_format is None and isinstance(x.codes_format, Int)):
            expected = self.input_format.name if self.input_format else "integer"
            raise HwgenError(f"it reads {expected} codes, the tensor has {x.codes_format.name} (input_format)")
        if self.accumulator == "fp32":
            assert isinstance(self.input_format, Blocked)
            block_sums.check(self.weight_format, self.weight, self.input_format)
            return TensorType((*x.shape[:-1], self.weight.shape[0]), block_sums.FP32, self.scale)
        check_grid(x.codes_format)
        # Products that int64 does not hold are refused before any is computed.
        product = product_span(self.weight_format, x.codes_format, self.multiplier).reach
        if self.multiplier == "exact":
            product = self.magnitudes[1] * max(abs(end) for end in grid_range(x.codes_format))
        _check_width(product.bit_length() + 1)
        low, high = self.accumulator_range(x)
        width = max(low.bit_length(), high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1
        _check_width(width)
        fmt = Int(max(2, Int.holding(min(low, -1), high).width))
        return TensorType((*x.shape[:-1], self.weight.shape[0]), fmt, self.scale)

    def run(self, *values: Array) -> Array:
        (x,) = values
        if self.accumulator == "fp32":
            assert isinstance(self.input_format, Blocked)
            return block_sums.fp32_sums(self.weight_format, self.weight, self.input_format, x)
        if self.multiplier != "exact":
            sums = [self.table[x, row].sum(axis=-1) for row in self.weight]
            return np.stack(sums, axis=-1) + self.bias
        if self.input_format is not None:
            x = on_grid(self.input_format, x)
        return np.asarray(self.products(x, self.worth) + self.bias)

    def products(self, x: Codes, weight: Codes) -> Codes:
        """Sums of products of integers: of inputs (..., in) by weights of this operation's shape."""
        return np.asarray(x @ weight.T)

    def output_lanes(self, fold: Fold) -> int:
        """Sums that come side by side."""
        return fold.pe

    def spacing(self, fold: Fold) -> int:
        """Clocks between two beats of sums that follow each other as fast as they ever do."""
        return int(self.weight.shape[1]) // fold.simd

    def terms(self, fold: Fold) -> int:
        """Products that are added up side by side for each sum."""
        return fold.simd

    def fits_blocks(self, x: TensorType, fold: Fold) -> bool:
        """Whether lanes side by side share a scale on either side, where inputs come in blocks."""
        if not isinstance(x.format, Blocked):
            return True
        return x.format.block.size % fold.simd == 0 and self._share_scales(self.terms(fold))

    def _check_blocks(self, x: TensorType, fold: Fold) -> None:
        if not self.fits_blocks(x, fold):
            formats = x.format, self.weight_format
            sizes = sorted({fmt.block.size for fmt in formats if isinstance(fmt, Blocked)})
            blocks = " and of ".join(map(str, sizes))
            raise HwgenError(f"SIMD must divide the blocks: SIMD={fold.simd}, blocks of {blocks}")

    def _share_scales(self, count: int) -> bool:
        """Whether `count` weights side by side have one scale."""
        if isinstance(self.weight_format, Blocked) and count not in self._shared:
            scales = self.weight_format.scales(self.weight).reshape(-1, count)
            self._shared[count] = bool((scales == scales[:, :1]).all())
        return self._shared.get(count, True)

    @cached_property
    def _shared(self) -> dict[int, bool]:
        """Answers of `_share_scales`."""
        return {}

    def cycles(self, x: TensorType, fold: Fold) -> int:
        """Clock cycles a frame: (out / PE) * (in / SIMD) * positions. Raises HwgenError if the fold does not divide."""
        out, inner = self.weight.shape
        if out % fold.pe or inner % fold.simd:
            raise HwgenError(
                f"folding must divide the layer: PE={fold.pe} into {out} outputs, SIMD={fold.simd} into {inner} inputs"
            )
        self._check_blocks(x, fold)
        return int(out // fold.pe) * int(inner // fold.simd) * (x.size // int(inner))


def _check_width(bits: int) -> None:
    if bits > MAX_ACCUMULATOR_BITS:
        raise HwgenError(
            f"the accumulator needs {bits} bits; the golden model proves sums up to {MAX_ACCUMULATOR_BITS}"
        )


def _total(ends: Codes, bias: Codes, pick: Callable[[Iterable[int]], int]) -> int:
    """The extreme over all outputs of bias + the sum of products; Python integers where int64 could wrap."""
    most = max(abs(int(ends.min())), abs(int(ends.max()))) * ends.shape[1] + int(np.abs(bias).max())
    if most < 2**62:
        sums = bias + ends.sum(axis=1)
        return int(pick((int(sums.min()), int(sums.max()))))
    return int(pick(int(b) + sum(map(int, row)) for b, row in zip(bias, ends, strict=True)))


def integer_range(x: TensorType) -> tuple[int, int]:
    """(least, greatest) worth of the codes of `x`; raises HwgenError if they are not integers."""
    worth = x.codes_format.integer_range
    if worth is None:
        raise HwgenError(f"{x.codes_format.name} codes are not worth integers")
    return worth
