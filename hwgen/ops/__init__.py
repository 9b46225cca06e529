"""The layers. `OPS` is the whole list: a graph's JSON is read by it, and every back end has a table over it."""

from hwgen.ir import Op
from hwgen.ops.activation import Activation
from hwgen.ops.argmax import ArgMax
from hwgen.ops.block_quantize import BlockQuantize
from hwgen.ops.decode import Decode
from hwgen.ops.fix import Fix
from hwgen.ops.grouped import Grouped, GroupedDense
from hwgen.ops.join import Add, Concat, Multiply
from hwgen.ops.matvec import MatVec, integer_range
from hwgen.ops.real import Affine, Dense, Quantize, Relu, Reshape, Softmax, Transpose
from hwgen.ops.requantize import Requantize
from hwgen.ops.slice import Slice
from hwgen.ops.table import Table
from hwgen.ops.thresholds import Thresholds
from hwgen.ops.topk import TopK
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Pool, Window

OPS: dict[str, type[Op]] = {
    cls.__name__: cls
    for cls in (
        Activation,
        Add,
        Affine,
        ArgMax,
        BlockQuantize,
        Concat,
        Decode,
        Dense,
        Fix,
        Grouped,
        GroupedDense,
        MatVec,
        Multiply,
        Pool,
        Quantize,
        Relu,
        Requantize,
        Reshape,
        Slice,
        Softmax,
        Table,
        Thresholds,
        TopK,
        Transpose,
        Upsample,
        Window,
    )
}

__all__ = [
    "OPS",
    "Activation",
    "Add",
    "Affine",
    "ArgMax",
    "BlockQuantize",
    "Concat",
    "Decode",
    "Dense",
    "Fix",
    "Grouped",
    "GroupedDense",
    "MatVec",
    "Multiply",
    "Pool",
    "Quantize",
    "Relu",
    "Requantize",
    "Reshape",
    "Slice",
    "Softmax",
    "Table",
    "Thresholds",
    "TopK",
    "Transpose",
    "Upsample",
    "Window",
    "integer_range",
]
