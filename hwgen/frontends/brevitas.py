"""Import Brevitas modules: scales, zero points and integer weights are read from the module itself.

torch is imported when `from_brevitas` is called, not before.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.frontends.brevitas_layers import FUNCTIONS, MODULES
from hwgen.frontends.brevitas_norms import array
from hwgen.frontends.chain import BATCH, Chain, Refuse
from hwgen.frontends.joins import JOINS
from hwgen.ir import Array, Graph
from hwgen.ops import Quantize

# What a tensor is asked for without being changed.
ATTRIBUTES = ("shape", "device", "dtype")
# Functions of sizes that are worked out before the network runs.
CONSTANT_FUNCTIONS = (operator.getitem, operator.mul, operator.add, operator.floordiv)


def from_brevitas(
    module: Any, example_input: Any, name: str | None = None, input_quantizer: Quantize | None = None
) -> Graph:
    """The network of a Brevitas module in eval mode, as a graph of real-valued operations (stage "imported").

    module: anything that torch.fx can trace with Brevitas and torch layers as leaves. It is run once on
    `example_input`, a tensor or array of shape (batch, *shape), which gives the shape, makes Brevitas fix the scales
    of quantized biases, and gives the ranges that the scales of MX blocks take: for those real data, some hundred
    frames of it. The module is left in the mode (training or eval) that it was in.
    name: of the graph; the class's name by default. Nodes are called after their modules.
    input_quantizer: what the numbers that enter are, for a network that does not quantize them itself: 8-bit images
    divided by 255 are Quantize(formats.get("uint8"), (1 / 255,)).
    The graph equals that of the module's QONNX export, apart from names.
    Raises UnsupportedError naming the module or operation that cannot be carried to hardware, and HwgenError if the
    module does not run on the example or cannot be traced.
    """
    import torch

    example = torch.as_tensor(example_input, dtype=torch.float32)
    if example.ndim < 2:
        raise HwgenError(f"the example input needs a batch axis and one more, not shape {tuple(example.shape)}")
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        seen = _run(module, example)
        traced, modules = _trace(module)
    finally:
        for part, training in modes.items():
            part.training = training
    chain = Chain.start("input", tuple(example.shape[1:]), int(example.shape[0]))
    if input_quantizer is not None:
        chain.append("input.quantizer", input_quantizer, "input.codes")
    _Reader(chain, modules, seen, {}).read(traced)
    return chain.graph(name or type(module).__name__)


def _run(module: Any, example: Any) -> dict[int, Array]:
    """Run the module; by the id of their proxy: the quantized biases that its layers used, what quantizers of
    activations were given, (numbers, channels), and the scales of what truncating ones were given and gave.
    """
    import torch

    seen: dict[int, Array] = {}

    def keep(proxy: Any, inputs: Any, output: Any) -> None:
        seen[id(proxy)] = array(getattr(output, "value", output))

    def given(proxy: Any) -> Any:
        def hook(quantizer: Any, inputs: Any) -> None:
            rows = _rows(array(inputs[0]))
            before = seen.get(id(proxy), rows[:0])
            # One that several branches share has seen them all; channels that one lacks are zeros.
            wide = max(before.shape[1], rows.shape[1])
            whole = [np.pad(one, ((0, 0), (0, wide - one.shape[1]))) for one in (before, rows)]
            seen[id(proxy)] = np.concatenate(whole) if len(before) else rows

        return hook

    def scales(proxy: Any, inputs: Any, output: Any) -> None:
        seen[id(proxy)] = np.array([float(inputs[0].scale), float(output.scale)])

    proxies = [layer.bias_quant for layer in module.modules() if hasattr(layer, "bias_quant")]
    hooks = [proxy.register_forward_hook(keep) for proxy in proxies]
    for proxy in module.modules():
        if getattr(proxy, "is_trunc_quant_enabled", False):
            hooks.append(proxy.trunc_quant.register_forward_hook(scales))
        fused = getattr(proxy, "fused_activation_quant_proxy", None)
        quantizer = getattr(fused, "tensor_quant", None)
        if quantizer is not None:
            hooks.append(quantizer.register_forward_pre_hook(given(proxy)))
    try:
        with torch.no_grad():
            module(example)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        shape = tuple(example.shape)
        raise HwgenError(f"{type(module).__name__} does not run on an input of shape {shape}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _rows(value: Array) -> Array:
    """(batch, channels, ...) as (numbers, channels)."""
    return np.moveaxis(value, 1, -1).reshape(-1, value.shape[1]) if value.ndim > 1 else value.reshape(1, -1)


def _is_layer(module: Any) -> bool:
    import torch

    return module.__module__.startswith(("brevitas.", "torch.nn", "hwgen.quant")) and not isinstance(
        module, torch.nn.Sequential
    )


def _trace(module: Any) -> tuple[Any, dict[str, Any]]:
    """The traced graph, and modules by name; "" is the whole. A shared module has the name by which it is called."""
    import torch.fx

    brevitas = sys.modules.get("brevitas.quant_tensor")
    whole = torch.nn.Sequential(module) if _is_layer(module) else module
    named = dict(whole.named_modules(remove_duplicate=False))

    class Tensor(torch.fx.Proxy):
        if brevitas:
            # Networks assert that what quantizers give is a QuantTensor, which here every tensor claims to be.
            __class__ = property(lambda self: brevitas.QuantTensor)

    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m: Any, qualified: str) -> bool:
            return _is_layer(m)

        def proxy(self, node: torch.fx.Node) -> torch.fx.Proxy:
            return Tensor(node, self)

        def path_of_module(self, mod: Any) -> str:
            names = [name for name, one in named.items() if one is mod]
            here = [name for name in names if name.startswith(f"{self.scope.module_path}.")]
            return str((here or names)[0])

    try:
        graph = Tracer().trace(whole)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise HwgenError(f"{type(module).__name__} cannot be traced: {error}") from error
    return graph, named


@dataclass
class _Reader:
    """Walks the traced nodes; `values` holds what each of them is, where that is known before the network runs.

    chain: its places are called after the traced nodes.
    """

    chain: Chain
    modules: dict[str, Any]
    seen: Mapping[int, Array]
    values: dict[Any, Any]

    def read(self, graph: Any) -> None:
        varying: set[Any] = set()
        for node in graph.nodes:
            refuse = _refuser(node)
            if node.op == "placeholder":
                if varying:
                    raise refuse("a second input is not supported")
                varying.add(node)
                self.chain.keep(node.name)
                continue
            if node.op == "output":
                self._check_output(node, varying)
                continue
            reads = [arg for arg in _operands(node) if arg in varying]
            if reads:
                self.chain.take(reads[0].name)
            shape = self._known(node, reads)
            if shape is not None:
                self.values[node] = shape
                continue
            if len(reads) > 1:
                self._join(node, [read.name for read in reads], refuse)
            else:
                self._take(node, refuse)
            self.chain.keep(node.name)
            varying.add(node)

    def _known(self, node: Any, reads: list[Any]) -> Any:
        """What a node gives if it depends on constants and shapes alone, else None."""
        sizes = (BATCH, *self.chain.framed)
        if node.op == "get_attr":
            return array(operator.attrgetter(node.target)(self.modules[""]))
        if node.op == "call_method" and node.target == "size" and reads:
            return sizes[node.args[1]] if len(node.args) > 1 else sizes
        if node.op == "call_function" and node.target is getattr and reads and node.args[1] in ATTRIBUTES:
            # Of device and type nothing depends that matters here.
            return sizes if node.args[1] == "shape" else node.args[1]
        if node.op == "call_function" and getattr(node.target, "__name__", "") == "tensor" and not reads:
            return np.asarray(self._arguments(node)[0], dtype=np.float32)
        if node.op == "call_function" and not reads and node.target in CONSTANT_FUNCTIONS:
            return node.target(*self._arguments(node))
        if not reads:
            raise _refuser(node)("it works on constants in a way that is not supported")
        return None

    def _check_output(self, node: Any, varying: set[Any]) -> None:
        if len(node.all_input_nodes) != 1 or node.args[0] not in varying:
            raise UnsupportedError("the module must return one tensor that depends on its input")
        if getattr(node.args[0].target, "__name__", node.args[0].target) == "topk":
            raise UnsupportedError("the module must return one tensor, not the pair that topk gives")
        self.chain.take(node.args[0].name)

    def _join(self, node: Any, tensors: list[str], refuse: Refuse) -> None:
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        if target not in JOINS:
            raise refuse(f"it reads several tensors ({', '.join(tensors)}); those that may: {', '.join(JOINS)}")
        JOINS[target](self.chain, node.name, node.name, tensors, node.args, node.kwargs, refuse)

    def _arguments(self, node: Any) -> list[Any]:
        """The node's arguments with known values in place; the tensor itself stays a node."""
        import torch.fx

        def known(value: Any) -> Any:
            if isinstance(value, torch.fx.Node):
                return self.values.get(value, value)
            if isinstance(value, torch.Tensor):
                return array(value)
            return [known(v) for v in value] if isinstance(value, list | tuple) else value

        return [known(value) for value in node.args]

    def _take(self, node: Any, refuse: Refuse) -> None:
        if node.op == "call_module":
            self._take_module(node, refuse)
            return
        target = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
        importer = FUNCTIONS.get(target)
        if importer is None:
            raise refuse(f"this operation is not supported; known: {', '.join(FUNCTIONS)}")
        importer(self.chain, node.name, self._arguments(node), node.kwargs, refuse)

    def _take_module(self, node: Any, refuse: Refuse) -> None:
        layer = self.modules[node.target]
        for cls in type(layer).__mro__:
            importer = MODULES.get(cls.__name__)
            if importer is not None:
                importer(self.chain, str(node.target), layer, self.seen, refuse)
                return
        raise refuse(f"layers of class {type(layer).__name__} are not supported; known: {', '.join(MODULES)}")


def _operands(node: Any) -> list[Any]:
    """The traced nodes among the arguments, in order, as often as they stand there."""
    import torch.fx

    found: list[Any] = []
    torch.fx.map_arg((node.args, node.kwargs), lambda one: found.append(one))
    return found


def _refuser(node: Any) -> Refuse:
    what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = what if node.op == "call_module" else node.name
    return lambda reason: UnsupportedError(f"node {name!r} ({what}): {reason}")
