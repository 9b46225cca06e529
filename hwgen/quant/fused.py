"""Brevitas' integers and signs in fewer operations while training: the same values and gradients, one node each.

In eval mode, while statistics are collected or calibrated, and with other parts than those of Brevitas' usual
integers, its own code runs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from brevitas.core.function_wrapper import Identity, InplaceTensorClampSte, RoundSte, TensorClamp, TensorClampSte
from brevitas.core.quant import ClampedBinaryQuant, RescalingIntQuant
from brevitas.core.restrict_val import FloatRestrictValue
from brevitas.core.scaling import ConstScaling, ParameterFromRuntimeStatsScaling, StatsFromParameterScaling
from brevitas.core.stats import AbsMax
from brevitas.core.zero_point import ZeroZeroPoint
from torch import Tensor

from hwgen.quant.ste import _inside, scaled_cast

SIGN = -(1 << 31)


class FusedIntQuant(RescalingIntQuant):  # type: ignore[misc]
    """`RescalingIntQuant` of narrow weights under the scale of their greatest magnitude, and of activations under a
    learned scale; with the same state."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if self.training and not self.observer_only:
            scaling = self.scaling_impl
            kind = self._kind(scaling)
            if kind is StatsFromParameterScaling:
                return self._weights(x, scaling)
            if kind is ParameterFromRuntimeStatsScaling and scaling.counter > scaling.collect_stats_steps:
                return self._activations(x, scaling)
        found: tuple[Tensor, Tensor, Tensor, Tensor] = super().forward(x)
        return found

    def _kind(self, scaling: Any) -> type | None:
        """The class of the scaling whose numbers this class works out, or None; found out once for the parts that
        passes exchange."""
        rounds = self.int_quant.float_to_int_impl
        known: tuple[Any, Any, type | None] | None = self.__dict__.get("_known_kind")
        if known is None or known[0] is not scaling or known[1] is not rounds:
            kind: type | None = None
            if self._plain() and isinstance(scaling, StatsFromParameterScaling) and self._of_weights(scaling):
                kind = StatsFromParameterScaling
            elif self._plain() and isinstance(scaling, ParameterFromRuntimeStatsScaling) and self._learned(scaling):
                kind = ParameterFromRuntimeStatsScaling
            known = (scaling, rounds, kind)
            self.__dict__["_known_kind"] = known
        return known[2]

    def _plain(self) -> bool:
        ints = self.int_quant
        plain = type(ints.float_to_int_impl) is RoundSte and type(self.zero_point_impl) is ZeroZeroPoint
        return plain and type(ints.delay_wrapper.delay_impl).__name__ == "_NoDelay"

    def _of_weights(self, scaling: Any) -> bool:
        stats, rule = scaling.parameter_list_stats, scaling.stats_scaling_impl
        plain = type(stats.stats.stats_impl) is AbsMax and stats.extra_tracked_params_list is None
        plain = plain and type(self.int_quant.tensor_clamp_impl) is TensorClampSte
        plain = plain and type(rule.restrict_clamp_scaling.restrict_value_impl) is FloatRestrictValue
        return plain and type(rule.affine_rescaling) is Identity

    def _learned(self, scaling: Any) -> bool:
        plain = type(scaling.restrict_scaling.restrict_value_impl) is FloatRestrictValue
        return plain and type(self.int_quant.tensor_clamp_impl) is TensorClamp and not scaling.value.ndim

    def _constants(self, device: torch.device) -> tuple[float, float, float, Tensor, Tensor]:
        """(what the scale is divided by, least and greatest integer, zero point, bits), worked out once."""
        known: tuple[float, float, float, Tensor, Tensor] | None = self.__dict__.get("_known")
        if known is None or known[3].device != device:
            bits = self.msb_clamp_bit_width_impl()
            ints = self.int_quant
            ends = (float(self.int_scaling_impl(bits)), float(ints.min_int(bits)), float(ints.max_int(bits)))
            known = (*ends, torch.zeros((), device=device), bits.detach())
            self.__dict__["_known"] = known
        return known

    def _weights(self, x: Tensor, scaling: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        share, low, high, zero, bits = self._constants(x.device)
        least = scaling.stats_scaling_impl.clamp_scaling.min_val or 0.0
        per_channel = scaling.parameter_list_stats.stats.stats_impl.stats_reduce_dim is not None
        value, scale = _WeightCast.apply(x, per_channel, least, share, low, high)  # type: ignore[no-untyped-call]
        return value, scale, zero, bits

    def _activations(self, x: Tensor, scaling: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        share, low, high, zero, bits = self._constants(x.device)
        scale = _LearnedScale.apply(scaling.value, scaling.clamp_scaling.min_val or 0.0, share)  # type: ignore[no-untyped-call]
        # Brevitas clips what is rounded: all that rounds to an integer of the range is inside.
        ends = (_end(low, -1), _end(high, 1))
        value = scaled_cast(x, scale, lambda real: real.round().clamp_(low, high), *ends)
        return value, scale, zero, bits


def _end(integer: float, way: int) -> float:
    """The last float32 number that rounds to an integer, half to even, on the way up or down."""
    half = integer + 0.5 * way
    return half if integer % 2 == 0 else float(np.nextafter(np.float32(half), np.float32(integer)))


class _WeightCast(torch.autograd.Function):
    """(value, scale) of weights under the scale max|w| / share, per tensor or per channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, per_channel: bool, least: float, share: float, low: float, high: float
    ) -> tuple[Tensor, Tensor]:
        size = x.abs()
        greatest = size.amax(dim=tuple(range(1, x.ndim)), keepdim=True) if per_channel else size.amax()
        scale = greatest.clamp(min=least) / share
        scaled = torch.div(x, scale, out=size)
        found = scaled.round().clamp_(low, high)
        ctx.save_for_backward(x, scaled, found, greatest)
        ctx.share = share
        return found * scale, scale

    @staticmethod
    def backward(ctx: Any, grad: Tensor, to_scale: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        x, scaled, found, greatest = ctx.saved_tensors
        if greatest.ndim:
            axes = tuple(range(1, x.ndim))
            peaks = (x.abs() == greatest) * x.sign()
            slope = ((grad * (found - scaled)).sum(dim=axes, keepdim=True) + to_scale) / ctx.share
            count = peaks.abs().sum(dim=axes, keepdim=True).clamp_(min=1)
            return grad + peaks * (slope / count), None, None, None, None, None
        every = grad.reshape(-1)
        alone = float(torch.dot(every, found.view(-1)) - torch.dot(every, scaled.view(-1)) + to_scale) / ctx.share
        most = float(greatest)
        if not most:
            return grad, None, None, None, None, None
        # The greatest magnitudes, with their signs; all else is 0.
        below = float(np.nextafter(np.float32(most), np.float32(0)))
        peaks = torch.nn.functional.hardshrink(x, below)
        flat = peaks.view(-1)
        count = round(float(torch.dot(flat, flat)) / most**2)
        return torch.add(grad, peaks, alpha=alone / count / most), None, None, None, None, None


class _LearnedScale(torch.autograd.Function):
    """|value| / share, at least least / share, whose gradient passes where it is clamped too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, least: float, share: float) -> Tensor:
        number = float(value)
        ctx.slope = math.copysign(1.0, number + 0.0) / share
        return value.abs().clamp_(min=least).div_(share)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad * ctx.slope, None, None


class FusedBinaryQuant(ClampedBinaryQuant):  # type: ignore[misc]
    """`ClampedBinaryQuant` under a constant scale."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        clamp = type(self.tensor_clamp_impl)
        plain = type(self.scaling_impl) is ConstScaling and clamp in (TensorClamp, InplaceTensorClampSte)
        plain = plain and type(self.delay_wrapper.delay_impl).__name__ == "_NoDelay"
        if not (self.training and plain):
            found: tuple[Tensor, Tensor, Tensor, Tensor] = super().forward(x)
            return found
        known: tuple[Tensor, Tensor, Tensor, float] | None = self.__dict__.get("_known")
        if known is None or known[0].device != x.device:
            scale = self.scaling_impl(x).detach()
            known = (scale, self.zero_point(), self.bit_width(), float(scale))
            self.__dict__["_known"] = known
        if clamp is InplaceTensorClampSte:
            # As Brevitas does: the weights themselves stay within the scale.
            x.data.clamp_(-known[3], known[3])
        value = _SignCast.apply(x, known[3], clamp is TensorClamp)  # type: ignore[no-untyped-call]
        return value, known[0], known[1], known[2]


class _SignCast(torch.autograd.Function):
    """scale where x >= 0, else -scale. Gradient: scale; with `clips` 0 where |x| > scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float, clips: bool) -> Tensor:
        ctx.scale, ctx.clips = scale, clips
        if clips:
            ctx.save_for_backward(x)
        # -0 is no negative number: adding +0 makes it positive.
        bits = (x + 0.0).view(torch.int32).bitwise_and_(SIGN)
        return bits.bitwise_or_(int(np.float32(scale).view(np.int32))).view(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if not ctx.clips:
            return grad * ctx.scale, None, None
        (x,) = ctx.saved_tensors
        return _inside(grad, x, -ctx.scale, ctx.scale).mul_(ctx.scale), None, None
