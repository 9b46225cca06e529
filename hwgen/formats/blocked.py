"""Elements of a block format one by one: each code holds an element and the scale that it shares with its block."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.formats.base import Codes, Format
from hwgen.formats.block import Block
from hwgen.formats.fixed import Fixed
from hwgen.formats.integer import Int
from hwgen.formats.stochastic import Rounding

MAX_LISTED_BITS = 16


@dataclass(frozen=True)
class Blocked(Format):
    """A tensor in a block format: code = scale code << element bits | element bits; worth = element * scale.

    Elements stand in two's complement or as packed minifloat bits. The elements of one block, which runs along the
    tensor's last axis, carry the same scale code. A scale of the whole tensor is not the codes' own, but the tensor's
    (`TensorType.scale`).
    Raises HwgenError for block formats with a tensor scale, or with scales that have a sign: `Block.bare` has neither.
    """

    block: Block

    def __post_init__(self) -> None:
        if self.block.has_tensor_scale or self.block.scale.has_sign:
            raise HwgenError(
                "codes of blocks carry scales without a sign, and none of the whole tensor; "
                f"{self.block.name} wants {self.block.bare.name}"
            )

    @property
    def name(self) -> str:
        return f"blocked<{self.block.name}>"

    @property
    def bits(self) -> int:
        return self.block.element.bits + self.block.scale.bits

    @property
    def signed(self) -> bool:
        return False

    @property
    def lsb(self) -> int:
        return self.block.element.lsb + self.block.scale.lsb

    @property
    def extremes(self) -> tuple[Fraction, Fraction]:
        low, high = self.block.element.extremes
        greatest = self.block.scale.extremes[1]
        return low * greatest, high * greatest

    @property
    def code_range(self) -> tuple[int, int]:
        return 0, (1 << self.bits) - 1

    def codes(self) -> Codes:
        if self.bits > MAX_LISTED_BITS:
            raise HwgenError(f"{self.name} has 2^{self.bits} codes: too many to list")
        return np.arange(1 << self.bits, dtype=np.int64)

    def scales(self, codes: npt.ArrayLike) -> Codes:
        """The scale codes, same shape."""
        return np.asarray(np.asarray(codes, dtype=np.int64) >> self.block.element.bits)

    def elements(self, codes: npt.ArrayLike) -> Codes:
        """The codes of the elements alone, same shape."""
        bits = self.block.element.bits
        low = np.asarray(codes, dtype=np.int64) & ((1 << bits) - 1)
        return low - ((low >> (bits - 1)) << bits) if self.block.element.signed else low

    def join(self, scales: npt.ArrayLike, elements: npt.ArrayLike) -> Codes:
        """Codes of scale codes and element codes of shapes that broadcast; `scales` and `elements` take them apart."""
        bits = self.block.element.bits
        low = np.asarray(elements, dtype=np.int64) & ((1 << bits) - 1)
        return np.asarray(np.asarray(scales, dtype=np.int64) << bits | low)

    def significand_exponent(self, codes: npt.ArrayLike) -> tuple[Codes, Codes]:
        significand, exponent = self.block.element.significand_exponent(self.elements(codes))
        scale, shift = self.block.scale.significand_exponent(self.scales(codes))
        return significand * scale, exponent + shift

    def is_number(self, codes: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        elements = self.elements(codes)
        good = self.block.scale.is_number(self.scales(codes)) & self.block.element.is_number(elements)
        if isinstance(self.block.element, Int | Fixed):
            # The least code of a symmetric element is never made.
            good &= elements >= self.block.element.code_range[0]
        return good

    def encode(self, x: npt.ArrayLike, rounding: Rounding = "half_even", overflow: str = "saturate") -> Codes:
        """Codes of real numbers (..., n), blocks along the last axis; the last block of each row may be short.

        overflow: "saturate", the only one. As `Block.encode` otherwise.
        """
        if overflow != "saturate":
            raise HwgenError(f"elements of {self.block.name} saturate; overflow {overflow!r} is not for them")
        real = np.asarray(x)
        if not real.ndim:
            raise HwgenError(f"{self.name} takes blocks along the last axis, not a single number")
        length, size = real.shape[-1], self.block.size
        rest = -length % size
        padded = np.pad(real, [(0, 0)] * (real.ndim - 1) + [(0, rest)]) if rest else real
        scales, elements = self.block.encode(padded.reshape(*real.shape[:-1], -1, size), rounding)
        codes = self.join(scales[..., None], elements)
        return codes.reshape(padded.shape)[..., :length]

    def check_shared(self, codes: npt.ArrayLike) -> None:
        """Raises HwgenError unless all codes (..., n) of a block carry the same scale."""
        scales = self.scales(codes)
        starts = np.arange(scales.shape[-1]) // self.block.size * self.block.size
        differ = np.argwhere(scales != scales[..., starts])
        if len(differ):
            place = tuple(int(n) for n in differ[0])
            raise HwgenError(
                f"code {place[-1]} of a {self.name} tensor carries scale {scales[place]}, and its block "
                f"{scales[(*place[:-1], int(starts[place[-1]]))]}"
            )
