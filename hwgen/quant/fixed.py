"""Fixed point with a trained binary point (QFX, arXiv 2401.17544), and K-hot weights that need no multiplier.

`fixed_weight(8)`, `fixed_activation(8)` and `khot_weight(2)` make quantizers of other widths than the named ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import Fixed, Int
from hwgen.formats.khot import hot
from hwgen.quant.minifloat import ActBase, WeightBase
from hwgen.quant.proxies import Injector
from hwgen.quant.scaled import ScaledQuant, Scaling
from hwgen.quant.ste import power_of_two

MIN_BITS, MAX_BITS = 2, 24
WEIGHT_STEPS = 300
"""Training steps in which the point of a weight follows the weight, ahead of being trained."""


class PointQuant(ScaledQuant):
    """Integers of `bits` bits under 2**-point, where `point`, the number of fraction bits, is trained.

    `format` is the integers'; `fixed` says both as ap_fixed does. The point is rounded in the forward pass. It starts
    where the greatest magnitude just fits, or up to three bits further, where the squared error is the least. In the
    first `collect_steps` training steps it follows the weight, or the batches; then it is trained. A point that is
    trained on weights that are still random runs off: batch normalization takes the scale of a layer out again, so
    that nothing holds the point, and weights that saturate get no gradient that could bring them back.
    Gradients: QFX, sec. 3.2 (`hwgen.quant.ste.exponent_cast`).
    """

    def __init__(
        self,
        bits: int,
        unsigned: bool = False,
        rounding: str = "half_even",
        per_channel: bool = False,
        stochastic: bool = False,
        collect_steps: int = 30,
        tracked_parameter_list: Sequence[Tensor] | None = None,
    ) -> None:
        if not MIN_BITS <= bits <= MAX_BITS:
            raise HwgenError(f"trained fixed point has {MIN_BITS} to {MAX_BITS} bits, not {bits}")
        super().__init__(
            Int(bits, is_signed=not unsigned),
            rounding,
            "stats",
            per_channel=per_channel,
            stochastic=stochastic,
            collect_steps=collect_steps,
            tracked_parameter_list=tracked_parameter_list,
        )
        self.scaling = "learned"
        start = torch.zeros(self._shape(), device=self.fixed_scale.device)
        if self._weights is not None:
            weight = self._weights[0].detach()
            start = -self._best(weight, self._magnitude(weight)).log2()
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=weight.device))
        self.point = nn.Parameter(start)

    def _observes(self) -> bool:
        return self.training and not bool(self.frozen) and int(self.steps) < self.collect_steps

    def observe(self, x: Tensor) -> None:
        """Set the point by a weight, or by a batch of activations and the magnitudes of those ahead of it."""
        seen = x.detach()
        if self._weights is not None:
            self.steps.add_(1)
            weight = self._weights[0].detach()
            self.start_from(self._best(weight, self._magnitude(weight)))
            return
        super().observe(seen)
        # Calibration searches the scale itself, downwards from the greatest magnitude.
        if not self.observer_only:
            self.start_from(self._best(seen, self.greatest))

    def _best(self, x: Tensor, greatest: Tensor) -> Tensor:
        """The scale, of the one that fits `greatest` and the three below, with the least squared error."""
        scale = self.scale_for(greatest)
        axes = tuple(range(1, x.ndim)) if self.per_channel else None
        best, least = scale, torch.full(scale.shape, torch.inf, device=x.device)
        for _ in range(4):
            error = ((self.cast(x / scale) * scale - x) ** 2).sum(dim=axes, keepdim=bool(axes))
            better = error < least
            best, least = torch.where(better, scale, best), torch.where(better, error, least)
            scale = scale / 2
        return best

    @property
    def scale(self) -> Tensor:
        """2**-point, as `ScaledQuant.scale`."""
        if bool(self.frozen):
            return self._sliced(self.fixed_scale)
        if self._weights is None:
            self._check_seen()
        return self._sliced(power_of_two(-self.point.detach().round()))

    @property
    def fixed(self) -> Fixed:
        """The format as ap_fixed has it. Raises HwgenError where channels differ in their points."""
        scales = torch.unique(self.scale)
        if scales.numel() != 1:
            raise HwgenError(f"{scales.numel()} binary points make no one fixed-point format: read `scale`")
        point = -int(torch.frexp(scales)[1].item() - 1)
        assert isinstance(self.format, Int)
        return Fixed(self.format.bits, self.format.bits - point, self.format.is_signed)

    def start_from(self, scale: Tensor) -> None:
        """Set the point, so that this is the scale."""
        self.point.data.copy_(-scale.log2())

    def exponent(self) -> Tensor | None:
        """Minus the point; None where it is frozen."""
        return None if bool(self.frozen) else self._sliced(-self.point)


class KhotQuant(ScaledQuant):
    """Weights that are a scale times the sum of at most `k` signed powers of two, |sum| < 2**(bits-1).

    `format` is the integers of `bits` bits that hold the sums. A number goes to the nearest sum, of two to the one
    nearer to 0, as `hwgen.formats.khot.nearest` has it. Straight-through gradient; scales as `ScaledQuant`.
    """

    levels: Tensor
    nearest: Tensor

    def __init__(
        self,
        k: int,
        bits: int = 8,
        scaling: Scaling = "stats",
        power_of_two: bool = True,
        per_channel: bool = False,
        target: float | None = None,
        tracked_parameter_list: Sequence[Tensor] | None = None,
    ) -> None:
        self.k = k
        levels = khot_levels(k, bits)
        super().__init__(
            Int(bits, narrow=True),
            "half_even",
            scaling,
            power_of_two=power_of_two,
            per_channel=per_channel,
            target=float(levels[-1]) if target is None else target,
            tracked_parameter_list=tracked_parameter_list,
        )
        self.direct = False
        self.register_buffer("levels", torch.tensor(levels, dtype=torch.float32), persistent=False)
        # By the magnitude in halves, rounded up: halfway between two levels is a half, and goes to the lower one.
        halves = torch.arange(2 * levels[-1] + 1) / 2
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        self.register_buffer("nearest", self.levels[torch.bucketize(halves, middles)], persistent=False)

    def cast(self, x: Tensor, random: Tensor | None = None) -> Tensor:
        halves = (x.abs() * 2).ceil_().clamp_(max=len(self.nearest) - 1)
        whole = not math.isnan(float(halves.amax()))
        places = (halves if whole else halves.nan_to_num_(0.0)).to(torch.int32).reshape(-1)
        found = self.nearest.index_select(0, places).view(x.shape)
        # NaN stays NaN; of zeros the positive one is left.
        return torch.copysign(found, x).add_(0.0 if whole else x * 0.0)


@lru_cache(maxsize=32)
def khot_levels(k: int, bits: int) -> tuple[int, ...]:
    """The magnitudes below 2**(bits-1) that are sums of at most `k` signed powers of two, in order."""
    if k < 1 or not 2 <= bits <= 16:
        raise HwgenError(f"K-hot weights have 1 power of two or more and 2 to 16 bits, not {k} and {bits}")
    every = torch.arange(1 << (bits - 1)).numpy()
    return tuple(int(level) for level in every[hot(every) <= k])


class FixedWeight(WeightBase):
    """Fixed point of `bits` bits for weights; one trained point a tensor."""

    tensor_quant = PointQuant  # type: ignore[assignment]
    collect_steps = WEIGHT_STEPS
    unsigned = False
    bits = 8
    signed = True


class FixedAct(ActBase):
    """Fixed point of `bits` bits for activations; `unsigned` after a ReLU."""

    tensor_quant = PointQuant  # type: ignore[assignment]
    unsigned = False
    bits = 8
    signed = True


class QFX8Weight(FixedWeight):
    bits = 8


class QFX6Weight(FixedWeight):
    bits = 6


class QFX4Weight(FixedWeight):
    bits = 4


class QFX8Act(FixedAct):
    bits = 8


class QFX6Act(FixedAct):
    bits = 6


class QFX4Act(FixedAct):
    bits = 4


class KhotWeight(WeightBase):
    """K-hot weights; `k` and `bits` say how many powers of two, and of how many."""

    tensor_quant = KhotQuant  # type: ignore[assignment]
    k = 2
    bits = 8
    signed = True


class Khot1Weight(KhotWeight):
    k = 1


class Khot2Weight(KhotWeight):
    k = 2


def fixed_weight(bits: int, **options: Any) -> Injector:
    """A quantizer of weights to fixed point of `bits` bits; `options` are those of `PointQuant`."""
    return FixedWeight.let(bits=bits, **options)


def fixed_activation(bits: int, unsigned: bool = False, **options: Any) -> Injector:
    """A quantizer of activations to fixed point of `bits` bits; `options` are those of `PointQuant`."""
    return FixedAct.let(bits=bits, unsigned=unsigned, signed=not unsigned, **options)


def khot_weight(k: int, bits: int = 8, **options: Any) -> Injector:
    """A quantizer of weights to K-hot integers under a scale; `options` are those of `KhotQuant`."""
    return KhotWeight.let(k=k, bits=bits, **options)
