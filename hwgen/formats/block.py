"""Block formats: a few elements with a scale of their own (OCP Microscaling v1.0, NVFP4 and relatives)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats import fast
from hwgen.formats.base import DESCRIBED_TERMS, Codes, Format, Real, product_width
from hwgen.formats.fixed import Fixed, scale_down
from hwgen.formats.integer import Int
from hwgen.formats.minifloat import Minifloat, code_table
from hwgen.formats.rounding import check_encode_rounding, round_integer
from hwgen.formats.stochastic import Rounding

# How the scale of a block is found from its greatest magnitude: the first three give a power of two.
POWER_MODES = ("floor", "even", "ceil")
SCALE_MODES = (*POWER_MODES, "nearest")

# OCP MX v1.0 sec. 5 (MXINT8's element is code * 2^-6 and its least code is never produced), NVIDIA's NVFP4 and the
# same with INT4 elements, and the two with UE5M3 scales, which reach far enough to do without a tensor scale.
PUBLISHED_BLOCKS = {
    "block<e4m3,e8m0,32>": "mxfp8e4m3",
    "block<e5m2,e8m0,32>": "mxfp8e5m2",
    "block<e3m2,e8m0,32>": "mxfp6e3m2",
    "block<e2m3,e8m0,32>": "mxfp6e2m3",
    "block<e2m1,e8m0,32>": "mxfp4",
    "block<fixed<8,2>n,e8m0,32>": "mxint8",
    "block<e2m1,e4m3,16,fp32>": "nvfp4",
    "block<int4n,e4m3,16,fp32>": "nvint4",
    "block<e2m1,ue5m3,16>": "fp4ue5m3",
    "block<int4n,ue5m3,16>": "int4ue5m3",
}

E8M0 = Minifloat(8, 0, 127, "nan", has_sign=False, has_subnormals=False)

FRACTION_BITS = 52
FLOAT_BIAS = 1023
FLOAT32_EMAX = 127
# Of these a number that underflows float32 on its way is 0 in either case.
_NEAREST = ("half_even", "half_away", "half_zero", "half_up", "half_down")


@dataclass(frozen=True)
class Block:
    """Blocks of `size` elements that share a scale: an element is worth element * scale (* one scale of the tensor).

    scale: a minifloat of exponents alone (E8M0: the power-of-two scales of OCP MX), or one with mantissa bits (E4M3,
    UE5M3). has_tensor_scale: a second, FP32 scale for the whole tensor (NVFP4).
    """

    element: Format
    scale: Minifloat
    size: int
    has_tensor_scale: bool = False

    def __post_init__(self) -> None:
        if self.size < 1:
            raise HwgenError(f"a block has 1 element or more, not {self.size}")
        if not isinstance(self.element, Minifloat | Fixed | Int):
            raise HwgenError(f"a block's elements are minifloats, fixed point or integers, not {self.element.name}")
        if self.element.extremes[0] >= 0:
            raise HwgenError(f"a block's elements are signed, and {self.element.name} is not")
        if self.power_scale and (self.scale.has_sign or self.scale.has_subnormals):
            raise HwgenError(f"a power-of-two block scale has neither sign nor zero, as e8m0; {self.scale.name} has")
        if self.power_scale and self.has_tensor_scale:
            raise HwgenError(f"a tensor scale goes with block scales that have a mantissa, not with {self.scale.name}")

    @property
    def name(self) -> str:
        """A published format's name, else block<element,scale,size> or block<element,scale,size,fp32>."""
        tensor = ",fp32" if self.has_tensor_scale else ""
        full = f"block<{self.element.name},{self.scale.name},{self.size}{tensor}>"
        return PUBLISHED_BLOCKS.get(full, full)

    @property
    def bits(self) -> float:
        """Bits of one element in memory, with its share of the scale."""
        return self.element.bits + self.scale.bits / self.size

    @property
    def power_scale(self) -> bool:
        """Whether scales are powers of two."""
        return self.scale.mantissa_bits == 0

    @property
    def bare(self) -> Block:
        """The same blocks without a tensor scale, and with scales that have no sign bit: what codes of tensors hold."""
        return replace(self, scale=replace(self.scale, has_sign=False), has_tensor_scale=False)

    @cached_property
    def emax(self) -> int:
        """floor(log2) of the greatest element: the `emax` of OCP MX sec. 6.3."""
        return _floor_log2(self.element.extremes[1])

    def encode(
        self,
        x: npt.ArrayLike,
        rounding: Rounding = "half_even",
        scale_mode: str | None = None,
        tensor_scale: float = 1.0,
        dtype: npt.DTypeLike = np.int64,
    ) -> tuple[Codes, npt.NDArray[Any]]:
        """(scale codes of shape (..., blocks), element codes of shape (..., blocks, size)) of x (..., blocks, size).

        rounding: of the elements, which saturate. scale_mode: for power-of-two scales "floor" (the default, OCP MX
        sec. 6.3: floor(log2(max|x|)) - emax), "even" (max|x| is first rounded half up to the element's mantissa) or
        "ceil" (ceil(log2(max|x|)) - emax); for others "nearest": max|x| / greatest element, rounded half to even.
        tensor_scale: FP32, from `tensor_scale`, for formats that have one. dtype: of the element codes.

        A block of zeros has scale code 0; NaN or infinity in a block makes its scale NaN and its element codes 0.
        Raises HwgenError for a wrong shape, an unknown mode, and NaN or infinity without a NaN scale.
        """
        real = np.asarray(x)
        if real.ndim < 1 or real.shape[-1] != self.size:
            raise HwgenError(f"{self.name} takes blocks of {self.size} along the last axis, not shape {real.shape}")
        mode = self._check_mode(scale_mode)
        check_encode_rounding(rounding)
        kind = self._check_dtype(dtype)
        if self._is_fast(real, rounding):
            return self._encode_fast(real, rounding, mode, kind)
        if real.dtype != np.float32:
            real = real.astype(np.float64)
        greatest = np.abs(real).max(axis=-1)
        bad = ~np.isfinite(greatest)
        if bad.any():
            if self.scale.nan_code is None:
                raise HwgenError(f"a block holds NaN or infinity, and the scale {self.scale.name} has no NaN for it")
            real = np.where(bad[..., None], np.zeros_like(real), real)
            greatest = np.where(bad, 0, greatest)
        if self.power_scale:
            if tensor_scale != 1.0:
                raise HwgenError(f"{self.name} has no tensor scale")
            shared = self._shared_exponent(greatest.astype(np.float64), mode)
            scales = shared + self.scale.bias
            elements = self._encode_elements(real, shared, rounding)
        else:
            scales, elements = self._encode_scaled(real, greatest, self._check_tensor_scale(tensor_scale), rounding)
        return np.where(bad, self.scale.nan_code or 0, scales), elements.astype(kind, copy=False)

    def decode(self, scale_codes: npt.ArrayLike, element_codes: npt.ArrayLike, tensor_scale: float = 1.0) -> Real:
        """The numbers of (..., blocks) scale and (..., blocks, size) element codes, exact; a NaN scale makes NaN."""
        if tensor_scale != 1.0 and not self.has_tensor_scale:
            raise HwgenError(f"{self.name} has no tensor scale")
        scale = self.scale.decode(scale_codes)
        return self.element.decode(element_codes) * scale[..., None] * float(np.float32(tensor_scale))

    def tensor_scale(self, x: npt.ArrayLike) -> float:
        """The FP32 scale of a whole tensor: max|x| / (greatest element * greatest scale), in FP32; 1.0 for zeros.

        Raises HwgenError for a format without one, and for NaN or infinity in `x`.
        """
        if not self.has_tensor_scale:
            raise HwgenError(f"{self.name} has no tensor scale")
        greatest = np.float32(np.max(np.abs(np.asarray(x, dtype=np.float32)), initial=0.0))
        if not np.isfinite(greatest):
            raise HwgenError(f"a tensor that holds NaN or infinity has no scale in {self.name}")
        whole = np.float32(self.element.extremes[1] * self.scale.extremes[1])
        return float(greatest / whole) or 1.0

    def describe(self) -> dict[str, Any]:
        """As `Format.describe`; the widths are those of element products and of their sums within one block."""
        one = self.element.describe()
        low, high = self.element.extremes
        greatest = self.scale.extremes[1]
        least = self.scale.extremes[0] if self.power_scale else Fraction(2) ** self.scale.lsb
        sums = {}
        for terms in DESCRIBED_TERMS:
            held = terms <= self.size
            sums[f"accumulator_bits_{terms}"] = product_width(self.element, self.element, terms)[1] if held else None
        return {
            **one,
            **sums,
            "name": self.name,
            "kind": "block",
            "bits": self.bits,
            "min": float(low * greatest),
            "max": float(high * greatest),
            "least_positive": float(least * Fraction(2) ** self.element.lsb),
            "element": self.element.name,
            "scale": self.scale.name,
            "size": self.size,
            "tensor_scale": self.has_tensor_scale,
        }

    def _check_dtype(self, dtype: npt.DTypeLike) -> np.dtype[Any]:
        kind = np.dtype(dtype)
        low, high = self.element.code_range
        if kind.kind not in "iu" or not (np.iinfo(kind).min <= low and high <= np.iinfo(kind).max):
            raise HwgenError(f"{kind} does not hold the codes {low}..{high} of {self.element.name}")
        return kind

    def _is_fast(self, x: npt.NDArray[Any], rounding: Rounding) -> bool:
        """Whether `fast.encode_blocks` is for these numbers, and there are enough of them."""
        element = self.element
        return (
            self.power_scale
            and isinstance(element, Minifloat)
            and element.mantissa_bits <= fast.MAX_TABLE_MANTISSA
            and element.lsb >= fast.MIN_LSB
            and self.emax <= fast.MAX_EMAX
            and self.scale == E8M0
            and x.dtype == np.float32
            and x.size > fast.CHUNK
            and rounding in _NEAREST
        )

    def _encode_fast(
        self, x: npt.NDArray[np.float32], rounding: Rounding, mode: str, dtype: np.dtype[Any]
    ) -> tuple[Codes, npt.NDArray[Any]]:
        """`encode` of many float32 numbers; the few blocks that this is not for go the general way."""
        assert isinstance(self.element, Minifloat)
        half = 1 << (fast.HIGH_MANTISSA - self.element.significand_bits)
        carry = {"floor": 0, "even": half, "ceil": (1 << fast.HIGH_MANTISSA) - 1}[mode]
        table = _block_table(self.element, rounding, FLOAT32_EMAX - self.emax, dtype)
        rows = x.reshape(-1, self.size)
        fields, codes, left = fast.encode_blocks(rows, table, carry)
        # Both biases are 127.
        scales = np.maximum(fields.astype(np.int64) - self.emax, 0)
        if left.any():
            scales[left], codes[left] = self.encode(rows[left].astype(np.float64), rounding, mode)
        return scales.reshape(x.shape[:-1]), codes.reshape(x.shape)

    def _check_mode(self, mode: str | None) -> str:
        if mode is None:
            return "floor" if self.power_scale else "nearest"
        if mode not in SCALE_MODES:
            raise HwgenError(f"unknown scale mode {mode!r}: one of {', '.join(SCALE_MODES)}")
        if (mode in POWER_MODES) != self.power_scale:
            kind = "a power of two" if self.power_scale else "no power of two"
            raise HwgenError(f"scale mode {mode!r} is not for {self.name}, whose scale is {kind}")
        return mode

    def _check_tensor_scale(self, tensor_scale: float) -> np.float32:
        if tensor_scale != 1.0 and not self.has_tensor_scale:
            raise HwgenError(f"{self.name} has no tensor scale")
        scale = np.float32(tensor_scale)
        if not (np.isfinite(scale) and scale > 0):
            raise HwgenError(f"a tensor scale is a positive FP32 number, not {tensor_scale}")
        return scale

    def _shared_exponent(self, greatest: Real, mode: str) -> Codes:
        """The exponent of each block's scale, from the bits of its greatest magnitude."""
        bits = greatest.view(np.int64)
        if mode == "even":
            # Half an ulp of the element's mantissa; the carry may go into the exponent.
            bits = bits + (1 << (FRACTION_BITS - self.element.significand_bits))
        exponent = (bits >> FRACTION_BITS) - FLOAT_BIAS
        if mode == "ceil":
            exponent = exponent + ((bits & ((1 << FRACTION_BITS) - 1)) != 0)
        low, high = (_floor_log2(end) for end in self.scale.extremes)
        return np.asarray(np.clip(exponent - self.emax, low, high))

    def _encode_elements(self, x: npt.NDArray[Any], shared: Codes, rounding: Rounding) -> Codes:
        """Elements of x / 2**shared, rounded once."""
        if isinstance(self.element, Minifloat):
            if x.dtype == np.float32 and rounding in _NEAREST and self.element.mantissa_bits <= fast.MAX_TABLE_MANTISSA:
                with np.errstate(under="ignore"):
                    return self.element.encode(np.ldexp(x, -shared[..., None].astype(np.int32)), rounding)
            return self.element.encode_scaled(x, shared[..., None], rounding)
        rounded = round_integer(scale_down(x.astype(np.float64), shared[..., None] + self.element.lsb), rounding)
        low, high = self.element.code_range
        return np.clip(rounded, low, high).astype(np.int64)

    def _encode_scaled(
        self, x: npt.NDArray[Any], greatest: npt.NDArray[Any], tensor_scale: np.float32, rounding: Rounding
    ) -> tuple[Codes, Codes]:
        """Scales with a mantissa: every step in FP32, as NVFP4 defines it. Elements under a zero scale are code 0."""
        single = x.astype(np.float32)
        with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
            wanted = greatest.astype(np.float32) / np.float32(self.element.extremes[1]) / tensor_scale
            scales = self.scale.encode(wanted)
            scale = self.scale.decode(scales).astype(np.float32)[..., None]
            scaled = single * (np.float32(1) / tensor_scale) / scale
        return scales, self.element.encode(np.where(scale > 0, scaled, np.float32(0)), rounding)


@lru_cache(maxsize=64)
def _block_table(element: Minifloat, rounding: Rounding, exponent: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return code_table(element, rounding, "saturate", exponent)[0].astype(dtype)


def _floor_log2(x: Fraction) -> int:
    """floor(log2(x)) of a positive number."""
    exponent = x.numerator.bit_length() - x.denominator.bit_length()
    return exponent if x >= Fraction(2) ** exponent else exponent - 1
