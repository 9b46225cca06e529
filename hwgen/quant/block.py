"""Block formats as Brevitas quantizers: OCP MX, NVFP4 and relatives.

Blocks lie along the axis that a layer sums over: `block_axis` is 1 for the weights of all layers (the inputs) and for
activations with channels (batch, channels, ...); the last one for activations of shape (..., features). Where the
block does not divide it, the last block is filled with zeros. MXINT8 is OCP's (an LSB of 2**-6, -128 never produced);
Brevitas' `MXInt8` is another format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from brevitas.inject import ExtendedInjector
from torch import Tensor, nn

from hwgen.errors import HwgenError
from hwgen.formats import Block, check_rounding, get
from hwgen.quant.block_cast import cast_blocks, check_block, from_blocks, magnitudes, tensor_scale_for, to_blocks
from hwgen.quant.cast import random_numbers
from hwgen.quant.proxies import ActProxy, Injector, WeightProxy
from hwgen.quant.scaled import MOMENTUM
from hwgen.quant.ste import plain_cast


class BlockQuant(nn.Module):
    """Quantizes to the block `format` along `block_axis`; None chooses by the shape: see the module's rules.

    scale_mode: as `Block.encode`. stochastic: round elements stochastically while training. The scale of the whole
    tensor, where the format has one, is that of the weight as it is now, and of activations that of the running mean
    of their greatest magnitude (momentum 0.1). Integers clip symmetrically: the least code is never produced.
    In eval mode `value == format.decode(*format.encode(blocks, ...))`, bit for bit in float32. The gradient is straight
    through.
    """

    greatest: Tensor
    steps: Tensor

    def __init__(
        self,
        number_format: Block,
        rounding: str = "half_even",
        scale_mode: str | None = None,
        block_axis: int | None = None,
        stochastic: bool = False,
        tracked_parameter_list: Sequence[Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_block(number_format)
        self.format = number_format
        self.rounding = check_rounding(rounding)
        self.scale_mode = scale_mode
        self._weights = None if tracked_parameter_list is None else tuple(tracked_parameter_list)
        self.block_axis = 1 if block_axis is None and self._weights is not None else block_axis
        self.stochastic = stochastic
        # Brevitas' calibration sets it: watch, and let numbers through as they are.
        self.observer_only = False
        if self._weights is None and number_format.has_tensor_scale:
            self.register_buffer("greatest", torch.zeros(()))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @property
    def tensor_scale(self) -> Tensor | None:
        """The FP32 scale of the tensor; None where the format has none. Raises HwgenError for data never seen."""
        if not self.format.has_tensor_scale:
            return None
        if self._weights is not None:
            return tensor_scale_for(self._weights[0].detach().abs().amax(), self.format)
        if not int(self.steps):
            raise HwgenError(
                f"a quantizer of activations to {self.format.name} has seen no data, so that it has no tensor scale "
                "yet: train or calibrate the network first"
            )
        return tensor_scale_for(self.greatest, self.format)

    def _scale_for(self, x: Tensor, greatest: Tensor) -> Tensor | None:
        """`tensor_scale`, by the magnitudes of the blocks of `x` where `x` is the weight itself."""
        if self._weights is None or not self.format.has_tensor_scale:
            return self.tensor_scale
        weight = self._weights[0]
        if weight.data_ptr() != x.data_ptr() or weight.shape != x.shape:
            return self.tensor_scale
        return tensor_scale_for(greatest.amax(), self.format)

    @property
    def scale(self) -> Tensor:
        """The scale of the tensor, 1 where the format has none; blocks find theirs on the fly."""
        scale = self.tensor_scale
        return _ones() if scale is None else scale

    def observe(self, x: Tensor) -> None:
        """Take activations into the running statistics of the tensor's scale."""
        if self._weights is None and self.format.has_tensor_scale:
            self._take(x.detach().abs().amax())

    def _take(self, now: Tensor) -> None:
        if self._weights is None and self.format.has_tensor_scale:
            if int(self.steps):
                self.greatest.lerp_(now, MOMENTUM)
            else:
                self.greatest.copy_(now)
            self.steps.add_(1)

    def axis_of(self, x: Tensor) -> int:
        """The axis that blocks lie along."""
        if self.block_axis is not None:
            return self.block_axis
        return 1 if x.ndim > 2 else -1

    def forward(self, x: Tensor) -> tuple[Tensor | None, ...]:
        """(value, scale of the tensor, zero point, bits of an element)."""
        axis = self.axis_of(x)
        blocks = to_blocks(x.detach(), self.format.size, axis)
        greatest = magnitudes(blocks)
        if self.training and self.format.has_tensor_scale:
            self._take(greatest.amax())
        scale = self._scale_for(x, greatest)
        if self.observer_only:
            return (x, _ones() if scale is None else scale, *self.description())

        def values(real: Tensor) -> Tensor:
            random = random_numbers(blocks) if self.stochastic and self.training else None
            found = cast_blocks(blocks, self.format, self.rounding, self.scale_mode, scale, random, greatest)
            return from_blocks(found, real.shape[axis], axis)

        return (plain_cast(x, values), _ones() if scale is None else scale, *self.description())

    def description(self) -> tuple[Tensor | None, ...]:
        """(zero point, bits of an element)."""
        return _described(self.format)


@lru_cache(maxsize=1)
def _ones() -> Tensor:
    return torch.ones(())


@lru_cache(maxsize=64)
def _described(fmt: Block) -> tuple[Tensor, Tensor]:
    return torch.tensor(0.0), torch.tensor(float(fmt.element.bits))


class BlockWeight(ExtendedInjector):  # type: ignore[misc]
    """Weights in blocks along their inputs, axis 1."""

    tensor_quant = BlockQuant
    proxy_class = WeightProxy
    rounding = "half_even"
    scale_mode = None
    block_axis = None
    stochastic = False
    signed = True
    narrow_range = False


class BlockAct(BlockWeight):
    """Activations in blocks along their features or channels."""

    proxy_class = ActProxy
    tracked_parameter_list = None


def _block(name: str) -> Block:
    found = get(name)
    if not isinstance(found, Block):
        raise HwgenError(f"{name} is no block format")
    return found


def block_weight(fmt: str | Block, **options: Any) -> Injector:
    """A quantizer of weights to the block format `fmt`; `options` are those of `BlockQuant`."""
    return BlockWeight.let(number_format=_block(fmt) if isinstance(fmt, str) else fmt, **options)


def block_activation(fmt: str | Block, **options: Any) -> Injector:
    """A quantizer of activations to the block format `fmt`; `options` are those of `BlockQuant`."""
    return BlockAct.let(number_format=_block(fmt) if isinstance(fmt, str) else fmt, **options)


MXFP8E4M3Weight = block_weight("mxfp8e4m3")
MXFP8E4M3Act = block_activation("mxfp8e4m3")
MXFP8E5M2Weight = block_weight("mxfp8e5m2")
MXFP8E5M2Act = block_activation("mxfp8e5m2")
MXFP6E3M2Weight = block_weight("mxfp6e3m2")
MXFP6E3M2Act = block_activation("mxfp6e3m2")
MXFP6E2M3Weight = block_weight("mxfp6e2m3")
MXFP6E2M3Act = block_activation("mxfp6e2m3")
MXFP4Weight = block_weight("mxfp4")
MXFP4Act = block_activation("mxfp4")
MXINT8Weight = block_weight("mxint8")
MXINT8Act = block_activation("mxint8")
NVFP4Weight = block_weight("nvfp4")
NVFP4Act = block_activation("nvfp4")
NVINT4Weight = block_weight("nvint4")
NVINT4Act = block_activation("nvint4")
FP4UE5M3Weight = block_weight("fp4ue5m3")
FP4UE5M3Act = block_activation("fp4ue5m3")
INT4UE5M3Weight = block_weight("int4ue5m3")
INT4UE5M3Act = block_activation("int4ue5m3")
