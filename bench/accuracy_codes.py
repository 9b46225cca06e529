"""Where PyTorch's forward pass and the golden model differ in a code, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FRAMES = 1000
IMAGES = 200
"""The same for convolutions, whose sums are many more."""


def differing(model: Any, example: Any, x: npt.NDArray[Any], other: npt.NDArray[Any]) -> dict[str, Any]:
    """The codes of activations in which both differ, in the first test images and in those of the numbers `other`.

    Of each image the first tensor with a difference counts, what is behind it follows. `ties`: of them, those proven
    to be float ties: the exact sum is as near to the boundary between both codes as float32 errs. `apart`: of the
    others, the greatest difference of values.
    """
    import torch

    from hwgen import golden, passes
    from hwgen.frontends.brevitas import from_brevitas
    from hwgen.ops import Quantize
    from hwgen.passes.ties import explain
    from hwgen.quant import trainer
    from hwgen.quant.train import recorded

    frames = x[np.union1d(np.arange(min(FRAMES if x.ndim == 2 else IMAGES, len(x))), other)]
    with recorded(model) as seen:
        trainer.forward(model, torch.from_numpy(frames))
    imported = from_brevitas(model, example)
    frozen = passes.freeze(imported)
    codes = golden.trace(frozen, golden.encode(frozen, frames))
    names = [node.output for node in imported.nodes if isinstance(node.op, Quantize)]
    oracle = dict(zip(names, seen.arrays(), strict=True))
    found = explain(imported, frozen, frames, codes, oracle)
    outputs = {node.name: node.output for node in frozen.nodes}
    apart = [
        abs(frozen.types[name].decode(codes[name]) - oracle[name]).reshape(len(frames), -1)[tie.frame, tie.channel]
        for tie in found.unexplained
        for name in [outputs[tie.node]]
    ]
    return {
        "frames": len(frames),
        "compared": sum(int(codes[name].size) for name in names),
        "different": len(found.ties),
        "ties": sum(tie.proven for tie in found.ties),
        "apart": float(max(apart)) if apart else None,
    }
