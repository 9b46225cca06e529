"""The intermediate representation: tensor types, operations, graphs; and, beside it, folding and streams."""

from hwgen.ir.beats import Beats
from hwgen.ir.fold import Fold, Folding
from hwgen.ir.graph import Graph, Node, Value, graph_from_json
from hwgen.ir.op import Array, Op, freeze
from hwgen.ir.types import TensorType

__all__ = [
    "Array",
    "Beats",
    "Fold",
    "Folding",
    "Graph",
    "Node",
    "Op",
    "TensorType",
    "Value",
    "freeze",
    "graph_from_json",
]
