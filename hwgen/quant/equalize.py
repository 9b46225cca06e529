"""Moving factors between layers ahead of quantization, which changes nothing in float: Brevitas' own passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.fx
from brevitas.graph.equalize import EqualizeGraph, activation_equalization_mode
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from hwgen.errors import UnsupportedError

ITERATIONS = 20
PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d)
THROUGH = (nn.ReLU, nn.Identity, nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.Dropout)


def equalize_weights(model: nn.Module) -> None:
    """Even out the ranges of channels of neighbouring Linear and Conv layers, in place (arXiv 1906.04721, sec. 4.1).

    BatchNorm between such layers is merged into the first (`merge_batch_norm`). Brevitas evens out channels that are
    channels on both sides, not those that a Flatten or groups cut up. `model` is in eval mode; raises UnsupportedError
    unless torch.fx can trace it.
    """
    merge_batch_norm(model)
    # The traced graph and the model share their layers.
    EqualizeGraph(iterations=ITERATIONS, merge_bias=True).apply(_traced(model))


def smooth_activations(model: nn.Module, batches: Sequence[Tensor], share: float) -> None:
    """Divide each channel of activations by max|x|**share / max|w|**(1 - share), and multiply the weights behind it by
    that, in place: SmoothQuant (arXiv 2211.10438, eq. 4).

    The division goes into the layer ahead, Linear, Conv or BatchNorm, through ReLU and pooling; what no such layer
    gives, as the network's own input, stays as it is. batches: real inputs. Raises as `equalize_weights`.
    """
    graph = _traced(model)
    with torch.no_grad(), activation_equalization_mode(graph, share, add_mul_node=False, layerwise=False):
        for batch in batches:
            graph(batch)


def merge_batch_norm(model: nn.Module) -> list[str]:
    """Multiply BatchNorm into the Linear or Conv ahead of it, in place, where the channels of that can be evened out
    with those of the layer behind; the names of what was merged.

    Both layers feed, and are fed by, nothing else. An empty Sequential, which gives what it is given, takes its place.
    Raises as `equalize_weights`.
    """
    graph, modules = _traced(model).graph, dict(model.named_modules())
    called = [node.target for node in graph.nodes if node.op == "call_module"]
    merged = []
    for node in graph.nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        norm, ahead = modules[node.target], node.args[0]
        layer = modules[ahead.target] if ahead.op == "call_module" else None
        if not isinstance(layer, PRODUCTS) or norm.running_mean is None or len(ahead.users) > 1:
            continue
        alone = called.count(ahead.target) == called.count(node.target) == 1
        if not alone or not _feeds(node, modules, norm.num_features):
            continue
        fuse = fuse_linear_bn_weights if isinstance(layer, nn.Linear) else fuse_conv_bn_weights
        constants = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
        layer.weight, layer.bias = fuse(layer.weight, layer.bias, *constants)
        parent, _, child = node.target.rpartition(".")
        setattr(model.get_submodule(parent), child, nn.Sequential())
        merged.append(node.target)
    return merged


def _feeds(node: torch.fx.Node, modules: Mapping[str, nn.Module], channels: int) -> bool:
    """Whether one layer that takes that many channels, all at once, is all that a node feeds, through what works on
    each channel alone."""
    while len(node.users) == 1:
        (node,) = node.users
        module = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(module, nn.Linear):
            return module.in_features == channels
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            return module.groups == 1
        if not isinstance(module, THROUGH):
            return False
    return False


def _traced(model: nn.Module) -> torch.fx.GraphModule:
    try:
        return torch.fx.symbolic_trace(model)
    except (torch.fx.proxy.TraceError, TypeError, RuntimeError, ValueError) as error:
        raise UnsupportedError(f"{type(model).__name__} cannot be traced by torch.fx: {error}") from error
