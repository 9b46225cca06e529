"""Import Brevitas modules: scales, zero points and integer weights are read from the module itself.

torch is imported when `from_brevitas` is called, not before.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hwgen.errors import HwgenError, UnsupportedError
from hwgen.frontends.brevitas_layers import FUNCTIONS, MODULES, array
from hwgen.frontends.chain import BATCH, Chain, Refuse
from hwgen.ir import Array, Graph

# What a tensor is asked for without being changed.
ATTRIBUTES = ("shape", "device", "dtype")
# Functions of sizes that are worked out before the network runs.
CONSTANT_FUNCTIONS = (operator.getitem, operator.mul, operator.add, operator.floordiv)


def from_brevitas(module: Any, example_input: Any, name: str | None = None) -> Graph:
    """The network of a Brevitas module in eval mode, as a chain of real-valued operations (stage "imported").

    module: anything that torch.fx can trace with Brevitas and torch layers as leaves. It is run once on
    `example_input`, a tensor or array of shape (batch, *shape), which gives the shape, makes Brevitas fix the scales
    of quantized biases, and gives the ranges that the scales of MX blocks take: for those real data, some hundred
    frames of it. The module is left in the mode (training or eval) that it was in.
    name: of the graph; the class's name by default. Nodes are called after their modules.
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
    _Reader(chain, modules, seen, {}).read(traced)
    return chain.graph(name or type(module).__name__)


def _run(module: Any, example: Any) -> dict[int, Array]:
    """Run the module; the quantized biases that its layers used, and what quantizers of activations were given.

    Both by the id of their proxy.
    """
    import torch

    seen: dict[int, Array] = {}

    def keep(proxy: Any, inputs: Any, output: Any) -> None:
        seen[id(proxy)] = array(getattr(output, "value", output))

    def given(proxy: Any) -> Any:
        def hook(quantizer: Any, inputs: Any) -> None:
            seen[id(proxy)] = array(inputs[0])

        return hook

    proxies = [layer.bias_quant for layer in module.modules() if hasattr(layer, "bias_quant")]
    hooks = [proxy.register_forward_hook(keep) for proxy in proxies]
    for proxy in module.modules():
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


def _is_layer(module: Any) -> bool:
    import torch

    return module.__module__.startswith(("brevitas.", "torch.nn", "hwgen.quant")) and not isinstance(
        module, torch.nn.Sequential
    )


def _trace(module: Any) -> tuple[Any, dict[str, Any]]:
    """The traced graph, and modules by name; "" is the whole."""
    import torch.fx

    class Tracer(torch.fx.Tracer):
        def is_leaf_module(self, m: Any, qualified: str) -> bool:
            return _is_layer(m)

    whole = torch.nn.Sequential(module) if _is_layer(module) else module
    try:
        graph = Tracer().trace(whole)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise HwgenError(f"{type(module).__name__} cannot be traced: {error}") from error
    return graph, dict(whole.named_modules())


@dataclass
class _Reader:
    """Walks the traced nodes; `values` holds what each of them is, where that is known before the network runs."""

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
                continue
            if node.op == "output":
                self._check_output(node, varying)
                continue
            reads = [arg for arg in node.all_input_nodes if arg in varying]
            shape = self._known(node, reads)
            if shape is not None:
                self.values[node] = shape
            elif reads:
                self._check_chain(node, reads, varying)
                self._take(node, refuse)
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

    def _check_chain(self, node: Any, reads: list[Any], varying: set[Any]) -> None:
        # A node that reads two tensors is refused here too: at the first reader of the older one.
        users = [u for u in reads[0].users if not self._asks_shape(u)]
        if len(users) > 1:
            names = ", ".join(repr(u.name) for u in users)
            raise UnsupportedError(
                f"tensor {reads[0].name!r} has {len(users)} consumers ({names}): branches are not supported"
            )

    @staticmethod
    def _asks_shape(node: Any) -> bool:
        return (node.op == "call_method" and node.target == "size") or (
            node.op == "call_function" and node.target is getattr and node.args[1] in ATTRIBUTES
        )

    def _check_output(self, node: Any, varying: set[Any]) -> None:
        if len(node.all_input_nodes) != 1 or node.args[0] not in varying:
            raise UnsupportedError("the module must return one tensor that depends on its input")

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


def _refuser(node: Any) -> Refuse:
    what = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    name = what if node.op == "call_module" else node.name
    return lambda reason: UnsupportedError(f"node {name!r} ({what}): {reason}")
