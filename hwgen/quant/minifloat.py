"""Minifloats of 3 to 8 bits as Brevitas quantizers: `QuantLinear(..., weight_quant=E4M3Weight)`.

`weight("e3m2", scaling="learned")` and `activation(...)` make one for any format and any kind of scale.
"""

from __future__ import annotations

from typing import Any

from brevitas.inject import ExtendedInjector, value

from hwgen.errors import HwgenError
from hwgen.formats import Format, Minifloat, get
from hwgen.quant.proxies import ActProxy, Injector, WeightProxy
from hwgen.quant.scaled import COLLECT_STEPS, ScaledQuant


class ScaledBase(ExtendedInjector):  # type: ignore[misc]
    """What every quantizer with a scale says; keyword arguments of layers replace each by its name."""

    tensor_quant = ScaledQuant
    rounding = "half_even"
    power_of_two = True
    target = None
    stochastic = False
    collect_steps = COLLECT_STEPS
    narrow_range = False

    @value  # type: ignore[untyped-decorator]
    def signed(number_format: Format) -> bool:  # noqa: N805
        return number_format.extremes[0] < 0


class WeightBase(ScaledBase):
    """Of weights: a power of two from the greatest magnitude of the whole tensor."""

    proxy_class = WeightProxy
    scaling = "stats"
    per_channel = False


class ActBase(ScaledBase):
    """Of activations: a power of two that is learned."""

    proxy_class = ActProxy
    scaling = "learned"
    per_channel = False
    tracked_parameter_list = None


def weight(fmt: str | Format, **options: Any) -> Injector:
    """A quantizer of weights to the scalar format `fmt`; `options` are those of `ScaledQuant`."""
    return WeightBase.let(number_format=_scalar(fmt), **options)


def activation(fmt: str | Format, **options: Any) -> Injector:
    """A quantizer of activations to the scalar format `fmt`; `options` are those of `ScaledQuant`."""
    return ActBase.let(number_format=_scalar(fmt), **options)


def _scalar(fmt: str | Format) -> Format:
    found = get(fmt) if isinstance(fmt, str) else fmt
    if not isinstance(found, Format):
        raise HwgenError(f"{found.name} shares a scale in blocks or in the tensor: it has quantizers of its own")
    return found


def _minifloat(fmt: str) -> Minifloat:
    found = get(fmt)
    assert isinstance(found, Minifloat)
    return found


class E4M3Weight(WeightBase):
    number_format = _minifloat("e4m3")


class E4M3WeightPerChannel(E4M3Weight):
    per_channel = True


class E4M3Act(ActBase):
    number_format = _minifloat("e4m3")


class E5M2Weight(WeightBase):
    number_format = _minifloat("e5m2")


class E5M2WeightPerChannel(E5M2Weight):
    per_channel = True


class E5M2Act(ActBase):
    number_format = _minifloat("e5m2")


class E3M2Weight(WeightBase):
    number_format = _minifloat("e3m2")


class E3M2WeightPerChannel(E3M2Weight):
    per_channel = True


class E3M2Act(ActBase):
    number_format = _minifloat("e3m2")


class E2M3Weight(WeightBase):
    number_format = _minifloat("e2m3")


class E2M3WeightPerChannel(E2M3Weight):
    per_channel = True


class E2M3Act(ActBase):
    number_format = _minifloat("e2m3")


class E2M1Weight(WeightBase):
    number_format = _minifloat("e2m1")


class E2M1WeightPerChannel(E2M1Weight):
    """The per-channel exponent bias of LLM-FP4 (arXiv 2310.16836)."""

    per_channel = True


class E2M1Act(ActBase):
    number_format = _minifloat("e2m1")
