"""How right a network is, and where the golden model and the float network differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from hwgen import golden
from hwgen.formats import Codes
from hwgen.ir import Graph

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


def host_text(graph: Graph) -> Mapping[str, tuple[str, ...]]:
    """What stays on the host, as words."""
    return {"pre": tuple(op.kind for op in graph.pre), "post": tuple(op.kind for op in graph.post)}
