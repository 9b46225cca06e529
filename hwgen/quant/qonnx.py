"""Trained networks as QONNX files: by Brevitas' export, which learns the formats of this package that QONNX can say.

Integers, fixed point, dynamic fixed point with a static exponent and K-hot weights are Quant nodes, minifloats
FloatQuant nodes. Weights are written as what their quantizer makes of them; quantizing them again changes nothing.
"""

from __future__ import annotations

import contextlib
import copy
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hwgen.formats import QONNX_ROUNDING, Bipolar, DynamicFixed, Fixed, Int, Minifloat
from hwgen.tools.files import write_atomic


def write_qonnx(path: Path, model: Any, example: Any) -> str | None:
    """Write the module `model` in eval mode as a QONNX file; the reason where QONNX, or the export, cannot say it.

    example: one frame with a batch axis. Where there is a reason, no file is there afterwards.
    """
    import tempfile

    import onnx

    if refused := _not_in_qonnx(model):
        path.unlink(missing_ok=True)
        return refused
    with tempfile.TemporaryDirectory() as work:
        exported = Path(work) / "network.onnx"
        # Where the exporter fails it leaves the module in its own mode. It fails in any of these ways; its reason is
        # handed on.
        try:
            with _silence():
                _exporter().export(copy.deepcopy(model), example, str(exported), dynamo=True)
        except (RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, AssertionError) as error:
            path.unlink(missing_ok=True)
            return f"Brevitas does not export it: {_root(error)}"
        write_atomic(path, onnx.load(exported).SerializeToString())
    return None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporter announces its steps on stdout, which belongs to our own output; where it fails it logs pages."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)


def _not_in_qonnx(model: Any) -> str | None:
    """The first quantizer that QONNX cannot say, or a multiplier that it has no word for."""
    from brevitas.proxy.quant_proxy import QuantProxyFromInjector

    if not any(isinstance(part, QuantProxyFromInjector) and part.is_quant_enabled for part in model.modules()):
        return "its layers are not quantized"
    exporter = _exporter()
    for name, part in model.named_modules():
        if getattr(part, "multiplier", "exact") != "exact":
            return f"layer {name!r} multiplies by {part.multiplier}"
        if not isinstance(part, QuantProxyFromInjector) or not part.is_quant_enabled:
            continue
        inner = getattr(part, "tensor_quant", None)
        fmt = getattr(inner, "format", None)
        if exporter.handler_from_module(part, no_inheritance=True) is None or (fmt is not None and not _says(inner)):
            return f"quantizer {name!r} has the format {getattr(fmt, 'name', type(part).__name__)}"
    return None


def _says(quantizer: Any) -> bool:
    """Whether QONNX has a word for the format and the rounding of a quantizer of this package."""
    fmt = quantizer.format
    if quantizer.rounding not in QONNX_ROUNDING.values():
        return False
    if isinstance(fmt, Minifloat):
        return fmt.has_sign and fmt.has_subnormals and fmt.mantissa_bits > 0
    if isinstance(fmt, DynamicFixed):
        return bool(quantizer.exponent_mode == "static" and quantizer.accumulator == "exact")
    return isinstance(fmt, Fixed | Int) and not isinstance(fmt, Bipolar)


def _exporter() -> Any:
    """Brevitas' export with words for the proxies of this package."""
    from brevitas.export.onnx.handler import ONNXBaseHandler
    from brevitas.export.onnx.qonnx.manager import QONNXDynamoManager

    from hwgen.quant.proxies import ActProxy, WeightProxy

    class Handler(ONNXBaseHandler):  # type: ignore[misc]
        def prepare_for_export(self, proxy: Any) -> None:
            if not proxy.is_quant_enabled:
                return
            self.op, self.words = _words(proxy.tensor_quant)
            self.value = None
            if isinstance(proxy, WeightProxy):
                # One weight is written once for each layer that has it, which is as it is nearly always.
                self.value = proxy.tensor_quant(proxy.tracked_parameter_list[0])[0].detach()

        def symbolic_execution(self, x: Any) -> Any:
            return self.export_op(self.op, x if self.value is None else self.value, *self.words), self.words[0]

    class WeightHandler(Handler):
        handled_layer = WeightProxy

    class ActHandler(Handler):
        handled_layer = ActProxy

    class Exporter(QONNXDynamoManager):  # type: ignore[misc]
        handlers = (*QONNXDynamoManager.handlers, WeightHandler, ActHandler)

    return Exporter


def _words(quantizer: Any) -> tuple[Any, tuple[Any, ...]]:
    """(the operation, what it is given after the numbers) of a quantizer that `_says` allows."""
    import torch
    from brevitas.export.onnx.qonnx.function import BrevitasFloatQuantOp, BrevitasQuantOp

    fmt, scale = quantizer.format, quantizer.scale.detach().clone()
    rounding = next(name for name, own in QONNX_ROUNDING.items() if own == quantizer.rounding)
    if isinstance(fmt, Minifloat):
        widths = (fmt.exponent_bits, fmt.mantissa_bits, fmt.bias)
        specials = (fmt.special == "ieee", fmt.special != "none")
        greatest = torch.tensor(float(fmt.extremes[1]))
        numbers = (torch.tensor(float(width)) for width in widths)
        return BrevitasFloatQuantOp, (scale, *numbers, *specials, True, True, rounding, greatest)
    plain = fmt.element if isinstance(fmt, DynamicFixed) else fmt
    unit = 2.0**plain.lsb
    signs = (bool(plain.narrow), bool(plain.extremes[0] < 0))
    return BrevitasQuantOp, (scale * unit, torch.tensor(0.0), torch.tensor(float(plain.bits)), *signs, rounding)


def _root(error: BaseException) -> str:
    """What an exception began with."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
