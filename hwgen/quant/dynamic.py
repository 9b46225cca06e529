"""Dynamic fixed point (DFP16, arXiv 1802.00930): integers of 16 bits with one shared exponent for a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from brevitas.inject import ExtendedInjector
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import DynamicFixed, check_rounding
from hwgen.quant.cast import cast, random_numbers
from hwgen.quant.proxies import ActProxy, Injector, WeightProxy
from hwgen.quant.scaled import describe
from hwgen.quant.ste import plain_cast, power_of_two

EXPONENTS = ("static", "dynamic")
PRE_SHIFT = 2
"""Bits that operands lose ahead of sums in INT32: 16-bit codes come down to 2**13 at most, and 31 products fit."""


def shared_exponent(greatest: Tensor, bits: int) -> Tensor:
    """The exponent that gives `greatest` the most bits, as `DynamicFixed.exponent_of`; int32, same shape, 0 for 0."""
    return torch.where(greatest > 0, torch.frexp(greatest).exponent - (bits - 1), 0)


def dynamic_cast(x: Tensor, fmt: DynamicFixed, exponent: Tensor, rounding: str, random: Tensor | None = None) -> Tensor:
    """`fmt.decode(*fmt.encode(x, rounding, exponent))`, with shared exponents that broadcast against `x`."""
    scale = power_of_two(exponent)
    return cast(x / scale, fmt.element, rounding, random).mul_(scale)


class DynamicQuant(nn.Module):
    """Quantizes to `format`, dynamic fixed point: value = code * 2**exponent.

    exponent: "static", of activations the one that the greatest magnitude of all training batches needs; "dynamic",
    the one that each frame (first axis) needs on the fly. A weight's follows the weight. accumulator: "exact", or
    "int32": codes are shifted right by 2 bits and rounded once more, half to even, so that 31 products never leave
    INT32 and every chain of them is exact (`hwgen.golden.dynamic`). stochastic: round stochastically while training.
    In eval mode `value == format.decode(*format.encode(x, rounding, exponent))`. Gradient: straight through.
    """

    greatest: Tensor
    steps: Tensor

    def __init__(
        self,
        bits: int = 16,
        rounding: str = "half_even",
        exponent: str = "static",
        accumulator: str = "exact",
        stochastic: bool = False,
        tracked_parameter_list: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        if exponent not in EXPONENTS:
            raise HwgenError(f"a shared exponent is one of {', '.join(EXPONENTS)}, not {exponent!r}")
        if accumulator not in ("exact", "int32"):
            raise HwgenError(f"unknown accumulator {accumulator!r}: one of exact, int32")
        self.format = DynamicFixed(bits)
        self.rounding = check_rounding(rounding)
        self.exponent_mode = exponent
        self.accumulator = accumulator
        self.stochastic = stochastic
        # Brevitas' calibration sets it: watch, and let numbers through as they are.
        self.observer_only = False
        self._weights = None if tracked_parameter_list is None else tuple(tracked_parameter_list)
        if self._weights is None:
            self.register_buffer("greatest", torch.zeros(()))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def exponent(self) -> Tensor:
        """The shared exponent, int32. Raises HwgenError for a dynamic one, and for activations never seen."""
        if self._weights is not None:
            return shared_exponent(self._weights[0].detach().abs().amax(), self.format.bits)
        if self.exponent_mode == "dynamic":
            raise HwgenError("a dynamic exponent is that of each frame: it has no value ahead of the data")
        if not int(self.steps):
            raise HwgenError(
                f"a quantizer of activations to {self.format.name} has seen no data, so that it has no exponent yet: "
                "train or calibrate the network first"
            )
        return shared_exponent(self.greatest, self.format.bits)

    @property
    def scale(self) -> Tensor:
        """2**exponent; raises as `exponent`."""
        return power_of_two(self.exponent)

    def observe(self, x: Tensor) -> None:
        """Take activations into the statistics."""
        self.greatest.copy_(torch.maximum(self.greatest, x.detach().abs().amax()))
        self.steps.add_(1)

    def _exponent_for(self, x: Tensor) -> Tensor:
        if self._weights is not None or self.exponent_mode == "static":
            return self.exponent
        return shared_exponent(x.detach().abs().amax(dim=tuple(range(1, x.ndim)), keepdim=True), self.format.bits)

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """(value, scale, zero point, bits)."""
        if self._weights is None and self.training and self.exponent_mode == "static":
            self.observe(x)
        exponent = self._exponent_for(x)
        random = random_numbers(x) if self.stochastic and self.training else None
        value = x if self.observer_only else plain_cast(x, lambda real: self._values(real, exponent, random))
        return (value, power_of_two(exponent), *self.description())

    def _values(self, x: Tensor, exponent: Tensor, random: Tensor | None) -> Tensor:
        value = dynamic_cast(x, self.format, exponent, self.rounding, random)
        if self.accumulator == "exact":
            return value
        scale = power_of_two(exponent + PRE_SHIFT)
        return (value / scale).round_().mul_(scale)

    def description(self) -> tuple[Tensor | None, ...]:
        """(zero point, bits)."""
        return describe(self.format.element)


class DynamicWeight(ExtendedInjector):  # type: ignore[misc]
    """Weights in dynamic fixed point."""

    tensor_quant = DynamicQuant
    proxy_class = WeightProxy
    bits = 16
    rounding = "half_even"
    exponent = "static"
    accumulator = "exact"
    stochastic = False
    signed = True
    narrow_range = False


class DynamicAct(DynamicWeight):
    """Activations in dynamic fixed point; `exponent` is "static" or "dynamic"."""

    proxy_class = ActProxy
    tracked_parameter_list = None


class DFP16Weight(DynamicWeight):
    bits = 16


class DFP16Act(DynamicAct):
    bits = 16


class DFP16DynamicAct(DFP16Act):
    exponent = "dynamic"


def dynamic_weight(bits: int, **options: Any) -> Injector:
    """A quantizer of weights; `options` are those of `DynamicQuant`."""
    return DynamicWeight.let(bits=bits, **options)


def dynamic_activation(bits: int, **options: Any) -> Injector:
    """A quantizer of activations; `options` are those of `DynamicQuant`."""
    return DynamicAct.let(bits=bits, **options)
