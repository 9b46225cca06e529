"""Brevitas layers whose forward pass multiplies as the hardware does, or whose gradients are quantized.

They are `QuantLinear`, `QuantConv1d` and `QuantConv2d` with two attributes more: `multiplier`, a name of
`hwgen.formats.multiply.MULTIPLIERS`, and `gradient`, a quantizer of `hwgen.quant.gradient` or None.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from brevitas import nn as qnn
from brevitas.quant_tensor import QuantTensor, _unpack_quant_tensor
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats.multiply import check_multiplier
from hwgen.quant.approximate import ApproximateConv, ApproximateLinear, Tables, Window, tables
from hwgen.quant.gradient import GradientQuant
from hwgen.quant.proxies import trained_activation, trained_quantizer
from hwgen.quant.ste import cast_gradient


class _Multiplies(ABC):
    """What the three layers share; each says how its products are added up."""

    multiplier: str
    gradient: GradientQuant | None
    weight_quant: Any
    input_quant: Any
    output_quant: Any
    return_quant_tensor: bool
    export_mode: bool
    training: bool
    weight: Tensor
    bias: Tensor | None
    _modules: dict[str, Any]

    @abstractmethod
    def _sums(self, x: Tensor, weight: Tensor, left: Tensor, right: Tensor, found: Tables) -> Tensor:
        """The sums of the products that `found` says, without bias: numbers of the format times scales in."""

    def _set(self, multiplier: str, gradient: GradientQuant | None) -> None:
        self.multiplier = check_multiplier(multiplier)
        self.gradient = gradient
        # In a tuple, so that the quantizer ahead does not become a part of this layer; the proxy, since it makes its
        # `tensor_quant` anew when a state is loaded.
        self._operand: tuple[nn.Module, ...] = ()

    def takes_from(self, proxy: nn.Module) -> None:
        """Say which quantizer (the `act_quant` of a layer ahead) gave the numbers that this layer is fed with."""
        self._operand = (proxy,)

    def _activation(self) -> Any:
        if self.input_quant.is_quant_enabled:
            return self.input_quant.tensor_quant
        return self._operand[0].tensor_quant if self._operand else None

    def _tables(self) -> Tables:
        name = f"{type(self).__name__} with the multiplier {self.multiplier}"
        ahead, weight = self._activation(), self.weight_quant.tensor_quant
        if ahead is None:
            raise HwgenError(f"{name} needs its activations' scale: give it an input_quant, or call takes_from")
        for what, quantizer in (("weights", weight), ("activations", ahead)):
            if not hasattr(quantizer, "format"):
                raise HwgenError(f"{name} needs {what} in a minifloat format of hwgen.quant")
        if ahead.format != weight.format:
            raise HwgenError(f"{name} takes one format, not {ahead.format.name} and {weight.format.name}")
        # float64 adds up what an accumulator without rounding does; training takes what is faster.
        return tables(weight.format, self.multiplier, torch.float32 if self.training else torch.float64)

    def _approximate(self, x: Tensor, weight: Tensor) -> Tensor:
        """The sums without bias."""
        found = self._tables()
        # Both scales leave the products: hardware multiplies codes.
        left: Tensor = self._activation().scale.detach()
        right: Tensor = self.weight_quant.tensor_quant.scale.detach()
        return self._sums(x, weight, left, right, found)

    def _on_channels(self, values: Tensor, ndim: int) -> Tensor:
        """One number, or one for each output channel, so that it broadcasts against the output."""
        space = 0 if isinstance(self, nn.Linear) else ndim - 2
        return values.reshape(-1, *([1] * space)) if values.ndim else values

    def _trained(self, x: Any) -> Tensor | None:
        """What training gives, from plain tensors; None where Brevitas' own way has to be gone, which works out the
        scales of sums, exports, and calls what was hooked to proxies."""
        parts = self._modules
        weight, feed, bias = parts["weight_quant"], parts["input_quant"], parts["bias_quant"]
        plain = self.training and not (self.export_mode or self.return_quant_tensor)
        if not plain or weight.requires_quant_input or bias.is_quant_enabled or parts["output_quant"].is_quant_enabled:
            return None
        quantizer = trained_quantizer(weight)
        if quantizer is None:
            return None
        x = _plain(x)
        if feed.is_quant_enabled:
            fed = trained_activation(feed, x)
            if fed is None:
                return None
            x = fed
        whole: Any = self
        return whole.inner_forward_impl(x, quantizer(self.weight)[0], self.bias)  # type: ignore[no-any-return]

    def _forward(self, exact: Any, x: Any, weight: Any, bias: Any) -> Tensor:
        if self.multiplier == "exact":
            if not (self.return_quant_tensor or self.output_quant.is_quant_enabled):
                # Nobody asks for the scale of the sums, which Brevitas would work out.
                x, weight, bias = _plain(x), _plain(weight), _plain(bias)
            out = exact(x, weight, bias)
        else:
            out = self._approximate(_plain(x), _plain(weight))
            if bias is not None:
                out = out + self._on_channels(_plain(bias), out.ndim)
        return out if self.gradient is None or not self.training else cast_gradient(_plain(out), self.gradient)


class Linear(_Multiplies, qnn.QuantLinear):  # type: ignore[misc]
    """`QuantLinear` with a `multiplier` and a `gradient`."""

    def __init__(
        self, *args: Any, multiplier: str = "exact", gradient: GradientQuant | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set(multiplier, gradient)

    def forward(self, x: Any) -> Any:
        out = self._trained(x)
        return super().forward(x) if out is None else out

    def inner_forward_impl(self, x: Any, quant_weight: Any, quant_bias: Any) -> Tensor:
        return self._forward(super().inner_forward_impl, x, quant_weight, quant_bias)

    def _sums(self, x: Tensor, weight: Tensor, left: Tensor, right: Tensor, found: Tables) -> Tensor:
        return ApproximateLinear.apply(x, weight, left, right, found)  # type: ignore[no-any-return,no-untyped-call]


class _Conv(_Multiplies):
    stride: Any
    padding: Any
    dilation: Any
    groups: int
    padding_mode: str

    def _sums(self, x: Tensor, weight: Tensor, left: Tensor, right: Tensor, found: Tables) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            raise HwgenError(
                f"{type(self).__name__} with the multiplier {self.multiplier} pads with zeros, by numbers; "
                f"not by {self.padding!r} with {self.padding_mode}"
            )
        window = Window(tuple(self.stride), tuple(self.padding), tuple(self.dilation), self.groups)
        return ApproximateConv.apply(x, weight, left, right, found, window)  # type: ignore[no-any-return,no-untyped-call]


class Conv1d(_Conv, qnn.QuantConv1d):  # type: ignore[misc]
    """`QuantConv1d` with a `multiplier` and a `gradient`."""

    def __init__(
        self, *args: Any, multiplier: str = "exact", gradient: GradientQuant | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set(multiplier, gradient)

    def forward(self, x: Any) -> Any:
        out = self._trained(x)
        return super().forward(x) if out is None else out

    def inner_forward_impl(self, x: Any, quant_weight: Any, quant_bias: Any) -> Tensor:
        return self._forward(super().inner_forward_impl, x, quant_weight, quant_bias)


class Conv2d(_Conv, qnn.QuantConv2d):  # type: ignore[misc]
    """`QuantConv2d` with a `multiplier` and a `gradient`."""

    def __init__(
        self, *args: Any, multiplier: str = "exact", gradient: GradientQuant | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._set(multiplier, gradient)

    def forward(self, x: Any) -> Any:
        out = self._trained(x)
        return super().forward(x) if out is None else out

    def inner_forward_impl(self, x: Any, quant_weight: Any, quant_bias: Any) -> Tensor:
        return self._forward(super().inner_forward_impl, x, quant_weight, quant_bias)


class _Activates:
    """What the activation layers share: while training they skip Brevitas' quantized tensors."""

    _modules: dict[str, Any]

    def forward(self, x: Any) -> Any:
        parts: Any = self
        plain = parts.training and not (parts.export_mode or parts.return_quant_tensor)
        if plain and not self._modules["input_quant"].is_quant_enabled:
            value = trained_activation(self._modules["act_quant"], _plain(x))
            if value is not None:
                return value
        return super().forward(x)  # type: ignore[misc]


class FastReLU(_Activates, qnn.QuantReLU):  # type: ignore[misc]
    """`QuantReLU` in fewer steps while training."""


class FastIdentity(_Activates, qnn.QuantIdentity):  # type: ignore[misc]
    """`QuantIdentity` in fewer steps while training."""


def _plain(x: Any) -> Tensor:
    return _unpack_quant_tensor(x) if isinstance(x, QuantTensor) else x  # type: ignore[no-any-return]
