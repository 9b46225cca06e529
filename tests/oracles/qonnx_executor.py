"""The QONNX executor as an oracle: it runs the file's own float32 arithmetic, node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

MAX_IR_VERSION = 13
"""The newest IR that onnxruntime takes."""


def execute(model: onnx.ModelProto | str | Path, x: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """Every tensor that depends on the input, by name, with the frames on axis 0.

    x: float inputs of shape (frames, *shape); they run in batches of the size that the model's input has.
    """
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    proto = onnx.load(str(model)) if isinstance(model, str | Path) else model
    proto.ir_version = min(proto.ir_version, MAX_IR_VERSION)
    onnx_exec.qonnx_make_model = _make_model
    constants = {tensor.name for tensor in proto.graph.initializer}
    (value,) = (value for value in proto.graph.input if value.name not in constants)
    batch = value.type.tensor_type.shape.dim[0].dim_value
    assert x.shape[0] % batch == 0, (x.shape, batch)
    wrapper = ModelWrapper(proto).transform(InferShapes())
    outputs = {output for node in proto.graph.node for output in node.output}
    runs = [
        onnx_exec.execute_onnx(wrapper, {value.name: part.astype(np.float32)}, return_full_exec_context=True)
        for part in np.split(x, x.shape[0] // batch)
    ]
    names = [n for n in runs[0] if n in outputs and runs[0][n].shape[:1] == (batch,)]
    return {name: np.concatenate([run[name] for run in runs]) for name in names}


def _make_model(graph: onnx.GraphProto, **options: Any) -> onnx.ModelProto:
    from qonnx.util.basic import qonnx_make_model

    model = qonnx_make_model(graph, **options)
    model.ir_version = MAX_IR_VERSION
    return model
