"""Scalar formats under a scale, as the `tensor_quant` of a Brevitas proxy: value = scale * cast(x / scale)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import Format, Minifloat, check_rounding
from hwgen.quant.cast import EXPONENT_FIELD, cast, cast_at, casts_at, check_castable, limits, random_numbers
from hwgen.quant.ste import direct_cast, exponent_cast, one_power, plain_cast, power_of_two, scaled_cast

Scaling = Literal["one", "stats", "learned"]
SCALING = ("one", "stats", "learned")
MOMENTUM = 0.1
COLLECT_STEPS = 30
MANTISSA_FIELD = 0x007FFFFF
LEAST_SCALE = 2.0**-100
"""A tensor of zeros still needs a scale."""


class ScaledQuant(nn.Module):
    """Quantizes to a scalar `format` under a scale, as `tensor_quant` of Brevitas' proxies.

    scaling: "one", no scale; "stats", from the greatest magnitude, which fills the format (of a weight as it is now;
    of activations as a running mean, with momentum 0.1 while training); "learned", the logarithm of the scale is a
    parameter that starts from the statistics (activations: those of the first `collect_steps` training steps).
    power_of_two: the scale is 2**e, from statistics the least that does not saturate; e of minifloats is an exponent
    bias, and per channel that of LLM-FP4 (arXiv 2310.16836, sec. 4.2). per_channel: a scale for each output channel of
    a weight. target: the number that the greatest magnitude is brought to; the format's greatest by default.
    stochastic: round stochastically while training. In eval mode
    `value == scale * format.decode(format.encode(x / scale, rounding))`, bit for bit in float32.

    The gradient is straight through inside of the format's range and 0 outside.
    """

    frozen: Tensor
    fixed_scale: Tensor
    greatest: Tensor
    steps: Tensor

    def __init__(
        self,
        number_format: Format,
        rounding: str = "half_even",
        scaling: Scaling = "stats",
        power_of_two: bool = True,
        per_channel: bool = False,
        target: float | None = None,
        stochastic: bool = False,
        collect_steps: int = COLLECT_STEPS,
        tracked_parameter_list: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_castable(number_format)
        if scaling not in SCALING:
            raise HwgenError(f"unknown scaling {scaling!r}: one of {', '.join(SCALING)}")
        if per_channel and tracked_parameter_list is None:
            raise HwgenError("a scale for each channel is for weights: the channels of activations are summed over")
        self.format = number_format
        self.rounding = check_rounding(rounding)
        self.scaling = scaling
        self.power_of_two = power_of_two
        self.per_channel = per_channel
        self.stochastic = stochastic
        self.collect_steps = collect_steps
        self.low, self.high = limits(number_format)
        self.target = self.high if target is None else target
        # A tuple, so that the layer's weight does not become a parameter of this module too.
        self._weights = None if tracked_parameter_list is None else tuple(tracked_parameter_list)
        self.subtensor_slice_list: list[tuple[int, int] | None] = [None]
        # Brevitas' calibration sets it: watch, and let numbers through as they are.
        self.observer_only = False
        powers = power_of_two and not per_channel and rounding == "half_even" and scaling != "one"
        self.direct = powers and casts_at(number_format)
        self._prepare()

    def _prepare(self) -> None:
        shape = self._shape()
        device = self._weights[0].device if self._weights else None
        self.register_buffer("frozen", torch.zeros((), dtype=torch.bool, device=device))
        if self._weights is None:
            self.register_buffer("greatest", torch.zeros((), device=device))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=device))
        self.register_buffer("fixed_scale", torch.ones(shape, device=device))
        if self.scaling == "learned":
            start = torch.zeros(shape, device=device)
            if self._weights is not None:
                start = self.scale_for(self._magnitude(self._weights[0].detach())).log2()
            self.log2_scale = nn.Parameter(start)

    def _shape(self) -> tuple[int, ...]:
        """Of the scale: broadcasts against the weight; one number for activations."""
        if self.per_channel and self._weights is not None:
            weight = self._weights[0]
            return (weight.shape[0], *([1] * (weight.ndim - 1)))
        return ()

    def _magnitude(self, x: Tensor) -> Tensor:
        size = x.abs()
        return size.amax(dim=tuple(range(1, x.ndim)), keepdim=True) if self.per_channel else size.amax()

    def scale_for(self, greatest: Tensor) -> Tensor:
        """The scale that brings magnitudes `greatest` to the target; powers of two are rounded up."""
        return scale_for(greatest, self.target, self.power_of_two)

    @property
    def scale(self) -> Tensor:
        """The scale: a scalar, or (channels, 1, ...) that broadcasts against the weight.

        Raises HwgenError for activations that were never seen.
        """
        if bool(self.frozen) or self.scaling == "one":
            return self._sliced(self.fixed_scale)
        if self.scaling == "learned":
            if self._weights is None:
                self._check_seen()
            exponent = self.log2_scale.detach()
            if self.power_of_two and not exponent.ndim and exponent.device.type == "cpu":
                number = float(exponent)
                return one_power(float(round(number)) if math.isfinite(number) else number)
            return self._sliced(power_of_two(exponent.round()) if self.power_of_two else torch.exp2(exponent))
        if self._weights is not None:
            return self._sliced(self.scale_for(self._magnitude(self._weights[0].detach())))
        self._check_seen()
        return self.scale_for(self.greatest)

    def _sliced(self, scale: Tensor) -> Tensor:
        part = self.subtensor_slice_list[0]
        return scale[slice(*part)] if part is not None and scale.ndim else scale

    def _check_seen(self) -> None:
        if not int(self.steps):
            raise HwgenError(
                f"a quantizer of activations to {self.format.name} has seen no data, so that it has no scale yet: "
                "train or calibrate the network first"
            )

    def freeze(self, scale: Tensor | None = None) -> None:
        """Keep the scale as it is now, or as given; it no longer follows weights or data."""
        chosen = self.scale.detach() if scale is None else scale.detach()
        self.fixed_scale.copy_(chosen)
        self.frozen.fill_(True)

    def observe(self, x: Tensor) -> None:
        """Take activations into the running statistics."""
        now = x.detach().abs().amax()
        self.greatest.copy_(now if not int(self.steps) else torch.lerp(self.greatest, now, MOMENTUM))
        self.steps.add_(1)
        if self.scaling == "learned":
            self.start_from(self.scale_for(self.greatest))

    def start_from(self, scale: Tensor) -> None:
        """Set what is learned, so that this is the scale."""
        self.log2_scale.data.copy_(scale.log2())

    def _observes(self) -> bool:
        if self._weights is not None or not self.training or self.scaling == "one" or bool(self.frozen):
            return False
        return self.scaling == "stats" or int(self.steps) < self.collect_steps

    def _calibrates(self) -> bool:
        return self.observer_only and self._weights is None and self.scaling != "one" and not bool(self.frozen)

    def cast(self, x: Tensor, random: Tensor | None = None) -> Tensor:
        """What the format makes of numbers that are divided by the scale."""
        return cast(x, self.format, self.rounding, random)

    def values(self, x: Tensor, scale: Tensor) -> Tensor:
        """The quantized numbers, with a straight-through gradient."""
        random = random_numbers(x) if self.stochastic and self.training else None
        if self.direct and random is None:
            one = float(scale)
            # A scale that was given may be no power of two.
            if math.frexp(one)[0] == 0.5:
                return self._direct(x, one)
        if self._follows():
            return plain_cast(x, lambda weight: self.cast(weight / scale, random).mul_(scale))
        chosen = self.cast if random is None else partial(self.cast, random=random)
        exponent = self.exponent()
        if exponent is None:
            return scaled_cast(x, scale, chosen, self.low, self.high)
        return exponent_cast(x, exponent, scale, chosen, self.low, self.high)

    def _direct(self, x: Tensor, scale: float) -> Tensor:
        """`values` for one power of two, which saves passes over the numbers."""
        chosen = partial(cast_at, fmt=self.format, scale=scale)
        if self._follows():
            return plain_cast(x, chosen)
        return direct_cast(x, self.exponent(), chosen, self.low * scale, self.high * scale)

    def exponent(self) -> Tensor | None:
        """What is trained, as an exponent of the scale; None where nothing is."""
        return self._sliced(self.log2_scale) if self.scaling == "learned" and not bool(self.frozen) else None

    def _follows(self) -> bool:
        """Whether the scale keeps all of the tensor inside of the range, so that no gradient is cut off."""
        follows = self._weights is not None and self.scaling == "stats" and self.target <= self.high
        return follows and not bool(self.frozen)

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        """Brevitas' tuple: value, scale, zero point, and what `description` gives."""
        if self._observes() or self._calibrates():
            self.observe(x)
        scale = self.scale
        if self.observer_only:
            return (x, scale, *self.description())
        return (self.values(x, scale), scale, *self.description())

    def description(self) -> tuple[Any, ...]:
        """What Brevitas' FloatQuantTensor or IntQuantTensor hold beside value and scale."""
        return describe(self.format, self.fixed_scale.device)


def scale_for(greatest: Tensor, target: float, power: bool) -> Tensor:
    """greatest / target; with `power` the least power of two that is no less; never below LEAST_SCALE."""
    if power and not greatest.ndim and greatest.device.type == "cpu":
        return _one_scale(float(greatest), target)
    scale = (greatest / target).clamp(min=LEAST_SCALE)
    if not power:
        return scale
    # Whatever the mantissa holds carries into the exponent.
    return ((scale.view(torch.int32) + MANTISSA_FIELD) & EXPONENT_FIELD).view(torch.float32)


def _one_scale(greatest: float, target: float) -> Tensor:
    """`scale_for` without tensors of one number. A quotient of two float32 numbers rounds to the same float32 from
    float64 as at once."""
    scale = max(float(np.float32(greatest / target)), LEAST_SCALE)
    if not math.isfinite(scale):
        return torch.tensor(scale)
    mantissa, exponent = math.frexp(scale)
    return one_power(float(exponent - (mantissa == 0.5)))


@lru_cache(maxsize=256)
def describe(fmt: Format, device: torch.device | None = None) -> tuple[Any, ...]:
    """(zero point, exponent bits, mantissa bits, bias, saturating, infinities, NaNs) of minifloats, else
    (zero point, bits): the fields of Brevitas' quantized tensors after value and scale."""
    numbers = partial(torch.tensor, device=device)
    if not isinstance(fmt, Minifloat):
        return numbers(0.0), numbers(float(fmt.bits))
    infinities, nans = _special_mantissas(fmt)
    shape = (float(fmt.exponent_bits), float(fmt.mantissa_bits), float(fmt.bias))
    return (numbers(0.0), *map(numbers, shape), numbers(True), infinities, nans)


def _special_mantissas(fmt: Minifloat) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """The mantissas that are infinity and NaN at the greatest exponent, as Brevitas writes them."""
    m = fmt.mantissa_bits
    if fmt.special == "none" or m == 0:
        return None, None
    if fmt.special == "nan":
        return None, ("1" * m,)
    return ("0" * m,), tuple(format(k, f"0{m}b") for k in range(1, 1 << m))
