"""Brevitas proxies whose `tensor_quant` is one of this package's: they give plain tensors, which cost nothing.

A quantized tensor is made where a layer asks for it with `return_quant_tensor=True` and Brevitas has a class that can
say what the format is: minifloats, integers and fixed point. Blocks and shared exponents have none there.
"""

from __future__ import annotations

from typing import Any

from brevitas.proxy import ActQuantProxyFromInjector, WeightQuantProxyFromInjector
from brevitas.quant_tensor import FloatQuantTensor, IntQuantTensor
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import Format, Minifloat

Injector = Any
"""A class of Brevitas' dependency injection: it has no types."""


class WeightProxy(WeightQuantProxyFromInjector):  # type: ignore[misc]
    """Of weights; `scale()`, `bit_width()` and `zero_point()` are those of `tensor_quant`."""

    @property
    def input_view_impl(self) -> nn.Module:
        return nn.Identity()

    @property
    def is_groupwise(self) -> bool:
        """Whether numbers share scales, so that one column of a weight cannot be quantized alone."""
        return self.is_quant_enabled and not isinstance(self.tensor_quant.format, Format)

    def scale(self) -> Tensor | None:
        return self.tensor_quant.scale if self.is_quant_enabled else None

    def bit_width(self) -> Tensor | None:
        return _bits(self.tensor_quant) if self.is_quant_enabled else None

    def zero_point(self) -> Tensor | None:
        return self.tensor_quant.description()[0] if self.is_quant_enabled else None

    def create_quant_tensor(self, qt_args: Any) -> Tensor:
        return qt_args[0]  # type: ignore[no-any-return]


class ActProxy(ActQuantProxyFromInjector):  # type: ignore[misc]
    """Of activations, as `WeightProxy`; the activation function itself runs ahead of `tensor_quant`."""

    @property
    def input_view_impl(self) -> nn.Module:
        return nn.Identity()

    @property
    def tensor_quant(self) -> Any:
        fused = getattr(self, "fused_activation_quant_proxy", None)
        return None if fused is None else fused.tensor_quant

    @tensor_quant.setter
    def tensor_quant(self, quantizer: Any) -> None:
        """Brevitas sets None ahead of building the fused proxy, which holds the quantizer."""

    def scale(self, force_eval: bool = True) -> Tensor | None:
        return self.tensor_quant.scale if self.is_quant_enabled and self.tensor_quant is not None else None

    def bit_width(self, force_eval: bool = True) -> Tensor | None:
        return _bits(self.tensor_quant) if self.is_quant_enabled else None

    def zero_point(self, force_eval: bool = True) -> Tensor | None:
        return self.tensor_quant.description()[0] if self.is_quant_enabled and self.tensor_quant is not None else None

    def create_quant_tensor(self, qt_args: Any, x: Any) -> Any:
        if not isinstance(qt_args, tuple):
            return qt_args
        if not any(getattr(layer, "return_quant_tensor", False) for layer in self.tracked_module_list):
            return qt_args[0]
        fmt = self.tensor_quant.format
        if isinstance(fmt, Minifloat):
            return FloatQuantTensor(*qt_args, self.is_signed, self.training)
        if isinstance(fmt, Format):
            return IntQuantTensor(*qt_args, self.is_signed, self.training)
        raise HwgenError(f"Brevitas has no quantized tensor for {fmt.name}: leave return_quant_tensor at False")


def trained_quantizer(proxy: Any) -> Any:
    """The `tensor_quant` of a weight's proxy, where calling it gives what the proxy would, in a quantized tensor, while
    training; None where the proxy is off, exports, or something is hooked to it."""
    if proxy.disable_quant or proxy.export_mode or proxy._forward_hooks or proxy._forward_pre_hooks:
        return None
    return proxy._modules.get("tensor_quant")


def trained_activation(proxy: Any, x: Tensor) -> Tensor | None:
    """The plain tensor of what an activation's proxy gives while training; None as `trained_quantizer`."""
    if proxy.disable_quant or proxy.export_mode or proxy._forward_hooks or proxy._forward_pre_hooks:
        return None
    fused = proxy._modules.get("fused_activation_quant_proxy")
    if fused is None or not proxy.is_quant_enabled:
        return None
    parts = fused._modules
    return parts["tensor_quant"](parts["activation_impl"](x))[0]  # type: ignore[no-any-return]


def _bits(quantizer: Any) -> Tensor:
    from torch import tensor

    fmt = quantizer.format
    return tensor(float(getattr(fmt, "element", fmt).bits))
