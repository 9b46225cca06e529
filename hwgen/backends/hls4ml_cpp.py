"""HLS layers as data, and the C++ that tells of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import numpy.typing as npt

from hwgen.formats import Codes, Format, Int
from hwgen.ir import TensorType


@dataclass(frozen=True)
class Table:
    """Constants in ROM: integers that `format` holds, of the C++ type `type`; in the order of the arguments."""

    name: str
    type: str
    values: Codes
    format: Int


@dataclass(frozen=True)
class Layer:
    """One function call of an HLS project.

    function: its name in the namespace hwgen or, with ::, as it is; "dense" is hls4ml's own, "reshape" no code.
    header: a file of `hls/`, or the path of one's own. shape, format: of the result.
    constants, types: what its configuration holds (`static const` and `typedef`). tables: its arguments after both
    tensors. reuse: for "dense", how many clock cycles share a multiplier. inputs: whose results it reads: 0 is the
    network's input, n the layer number n from 1 on; none: those of the layer before it.
    """

    node: str
    function: str
    header: str
    shape: tuple[int, ...]
    format: Int
    constants: Mapping[str, int | bool | str] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)
    tables: tuple[Table, ...] = ()
    reuse: int = 1
    inputs: tuple[int, ...] = ()


def table(name: str, kind: str, values: npt.ArrayLike, fmt: Int | None = None) -> Table:
    """Constants of the C++ type `kind`, of the narrowest integers that hold them if not of `fmt`."""
    array = np.asarray(values, dtype=np.int64)
    return Table(name, kind, array, fmt or Int.holding(int(array.min()), int(array.max())))


def positions(x: TensorType) -> int:
    """How many vectors of channels a tensor holds."""
    return x.size // x.channels


def plain(fmt: Format) -> Int:
    """The integer type that carries the codes of `fmt`."""
    return Int(fmt.bits, fmt.signed) if not fmt.signed or fmt.bits > 1 else Int(2)


def cpp(fmt: Int) -> str:
    """The type of ap_types that holds the integers of `fmt`."""
    return f"ap_{'' if fmt.is_signed else 'u'}int<{fmt.width}>"


def word(value: bool) -> str:
    return "true" if value else "false"


def configuration(layer: Layer, name: str, table_types: Mapping[str, str]) -> str:
    """The C++ struct of a layer's constants and types; `table_types`: the type of each table, by the table's name."""
    lines = [_constant(constant, value) for constant, value in layer.constants.items()]
    lines += [f"typedef {text} {alias};" for alias, text in layer.types.items()]
    lines += [f"typedef {table_types[table.name]} {table.type};" for table in layer.tables]
    body = "".join(f"    {line}\n" for line in lines)
    return f"struct {name} {{\n{body}}};\n"


def _constant(name: str, value: int | bool | str) -> str:
    if isinstance(value, bool):
        return f"static const bool {name} = {word(value)};"
    if isinstance(value, str):
        return f"static const hwgen::rounding {name} = {value};"
    return f"static const {'int' if abs(value) < 1 << 31 else 'long long'} {name} = {value};"


def identifiers(names: list[str]) -> list[str]:
    """C++ identifiers for names, all different."""

    def add(made: list[str], name: str) -> list[str]:
        base = re.sub(r"\W", "_", name).strip("_")
        base = f"n_{base}" if not base or base[0].isdigit() or base == "input" else base
        number, candidate = 2, base
        while candidate in made:
            candidate, number = f"{base}_{number}", number + 1
        return [*made, candidate]

    return reduce(add, names, [])
