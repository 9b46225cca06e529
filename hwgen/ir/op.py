"""What an operation is, and how its parameters become JSON."""

from __future__ import annotations

import base64
import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hwgen import formats
from hwgen.errors import HwgenError
from hwgen.formats import Format
from hwgen.ir.types import TensorType

Array = npt.NDArray[Any]


class Op(ABC):
    """One operation: its parameters, what type it gives, and what it computes.

    Every operation is a frozen dataclass (`eq=False`, since arrays have no single truth). `frozen` tells whether it
    may stand in the frozen integer graph; the others are real-valued and are lowered or run on the host.
    """

    frozen: ClassVar[bool] = False

    @abstractmethod
    def infer(self, *inputs: TensorType) -> TensorType:
        """The type of the result; raises HwgenError (without the node's name) for inputs that it cannot take."""

    @abstractmethod
    def run(self, *values: Array) -> Array:
        """The definition. Frozen operations take and give int64 codes, the others float64; axis 0 is the batch."""

    @property
    def kind(self) -> str:
        return type(self).__name__


def freeze(op: Op, **arrays: Any) -> None:
    """Store read-only arrays in the fields of a frozen dataclass (from its `__post_init__`)."""
    for name, value in arrays.items():
        array = np.array(value)
        array.setflags(write=False)
        object.__setattr__(op, name, array)


def _value_to_json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"))
        data = base64.b64encode(little.tobytes()).decode()
        return {"array": little.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, Format):
        return {"format": value.name}
    if isinstance(value, tuple):
        return [_value_to_json(item) for item in value]
    return value


def _value_from_json(value: Any) -> Any:
    if isinstance(value, dict) and "array" in value:
        raw = np.frombuffer(base64.b64decode(value["data"]), dtype=np.dtype(value["array"]))
        return raw.reshape(value["shape"])
    if isinstance(value, dict) and "format" in value:
        return formats.scalar(value["format"])
    if isinstance(value, list):
        return tuple(_value_from_json(item) for item in value)
    return value


def op_to_json(op: Op) -> dict[str, Any]:
    """{"op": kind, field: value, ...}; arrays as little-endian base64."""
    if not dataclasses.is_dataclass(op):
        raise HwgenError(f"operation {op.kind} is not a dataclass")
    fields = {f.name: _value_to_json(getattr(op, f.name)) for f in dataclasses.fields(op)}
    return {"op": op.kind, **fields}


def op_from_json(data: Mapping[str, Any], table: Mapping[str, type[Op]]) -> Op:
    """The operation that `op_to_json` wrote; `table` maps kinds to classes."""
    if data["op"] not in table:
        raise HwgenError(f"unknown operation {data['op']!r}: one of {', '.join(table)}")
    fields = {name: _value_from_json(value) for name, value in data.items() if name != "op"}
    return table[data["op"]](**fields)
