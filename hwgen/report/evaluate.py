"""How right a network is, and where the golden model and the float network differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Codes
from hwgen.ir import Graph
from hwgen.ops import Quantize
from hwgen.passes.ties import explain

Labels = npt.NDArray[np.int64]


def predicted(graph: Graph, codes: npt.ArrayLike) -> Labels:
    """The class of each frame from an accelerator's output codes: its index, or the index of the greatest output."""
    real = golden.finish(graph, codes)
    flat = real.reshape(len(real), -1)
    return np.asarray(flat[:, 0] if flat.shape[1] == 1 else flat.argmax(axis=1), dtype=np.int64)


def accuracy(name: str, classes: Labels, labels: Labels, source: str) -> dict[str, Any]:
    """A row of the report's accuracy table."""
    return {"name": name, "correct": int((classes == labels).sum()), "total": len(labels), "source": source}


def confusion(classes: Labels, labels: Labels) -> dict[str, Any]:
    """counts[true][predicted] over the labels 0 .. greatest."""
    size = int(max(classes.max(), labels.max())) + 1
    counts = np.zeros((size, size), dtype=np.int64)
    np.add.at(counts, (labels, classes), 1)
    return {"labels": [str(k) for k in range(size)], "counts": counts.tolist(), "name": "golden"}


def evaluate(
    graph: Graph, codes: Codes, simulated: Codes, labels: Labels | None, logits: npt.NDArray[Any] | None, source: str
) -> dict[str, Any]:
    """Accuracy rows and the confusion matrix of the golden model and of the simulated hardware; empty without labels.

    codes: input codes. simulated: output codes of the hardware. logits: outputs of the float network.
    """
    if labels is None:
        return {"accuracy": [], "confusion": None}
    labels = np.asarray(labels[: len(codes)], dtype=np.int64)
    rows = []
    if logits is not None:
        rows.append(accuracy("float (Brevitas forward)", logits[: len(codes)].argmax(axis=1), labels, source))
    exact = predicted(graph, golden.run(graph, codes))
    hardware = predicted(graph, simulated.reshape(len(codes), *graph.output_type.shape))
    rows.append(accuracy("golden", exact, labels, source))
    rows.append(accuracy("simulated RTL", hardware, labels, source))
    return {"accuracy": rows, "confusion": confusion(exact, labels)}


def differences(
    imported: Graph, frozen: Graph, x: npt.ArrayLike, quantized: Sequence[npt.ArrayLike], logits: npt.ArrayLike
) -> list[dict[str, Any]]:
    """Where the golden model's codes differ from those of the float network, by quantizer, as rows of the report.

    x: real inputs. quantized, logits: what the float network's activation quantizers and its output gave for them.
    Only the first difference in a frame counts, since those behind it follow; `ties` of them are proven float ties.
    Raises HwgenError if the float network has another number of quantizers than the graph.
    """
    names = [node.output for node in imported.nodes if isinstance(node.op, Quantize)]
    if len(names) != len(quantized):
        raise HwgenError(f"the float run has {len(quantized)} activation quantizers, the network has {len(names)}")
    oracle = dict(zip(names, quantized, strict=True))
    if not frozen.post:
        oracle[frozen.outputs[0]] = logits
    traced = golden.trace(frozen, golden.encode(frozen, x))
    for name in oracle.keys() & traced.keys():
        oracle[name] = _channels_last(oracle[name], traced[name].shape)
    found = explain(imported, frozen, x, traced, oracle)
    rows = []
    for node in ["input", *(node.name for node in frozen.nodes if node.output in oracle)]:
        ties = [tie for tie in found.ties if tie.node == node]
        tensor = frozen.inputs[0].name if node == "input" else next(n.output for n in frozen.nodes if n.name == node)
        rows.append(
            {
                "node": node,
                "compared": int(traced[tensor].size),
                "different": len(ties),
                "ties": sum(tie.proven for tie in ties),
            }
        )
    return rows


def _channels_last(real: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """What a float network gives (frames, *shape), images and signals with their channels first, as `shape` has it."""
    array = np.asarray(real)
    turned = np.moveaxis(array, 1, -1) if array.ndim > 2 else array
    # A signal is an image of one row here. What is no image has its channels last already.
    return turned.reshape(shape) if len(shape) == 4 and turned.shape in (shape, (shape[0], *shape[2:])) else array


def host_text(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """What stays on the host, as words."""
    return {"pre": tuple(op.kind for op in graph.pre), "post": tuple(op.kind for op in graph.post)}
