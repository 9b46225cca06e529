"""HLS layers as hls4ml layers, by its extension API: registered layers, configurations, function calls, sources.

The only module that imports hls4ml; `hwgen.backends.hls4ml` checks that it is there and of the right version first.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import hls4ml
import numpy as np
from hls4ml.backends import get_backend
from hls4ml.backends.template import FunctionCallTemplate, LayerConfigTemplate
from hls4ml.model import ModelGraph
from hls4ml.model import layers as hls4ml_layers
from hls4ml.model.types import IntegerPrecisionType

from hwgen.backends.hls4ml_cpp import Layer, configuration, identifiers
from hwgen.formats import Int

IN = ("in", "in_b")
"""Names of the inputs in a layer on arrays."""

HEADERS = Path(__file__).parent / "hls"

BACKEND = "Vitis"

PARALLEL, STREAM = "io_parallel", "io_stream"
"""How tensors travel: all numbers at once, each in registers of its own; or one vector of channels after the other."""


class HwgenLayer(hls4ml_layers.Layer):  # type: ignore[misc]  # hls4ml has no types
    """One of `hls/`: everything that it is stands in the attribute `made`, a `Layer`."""

    def initialize(self) -> None:
        made: Layer = self.get_attr("made")
        self.add_output_variable(list(made.shape), precision=_precision(made.format))
        for table in made.tables:
            self.add_weights_variable(
                name=table.name,
                precision=_precision(table.format),
                data=table.values,
                type_name=f"{table.name}{{index}}_t",
            )
            # The format that hls4ml chooses goes by way of float64.
            self.get_weights(table.name).precision_fmt = "{:d}"


class HwgenConfig(LayerConfigTemplate):  # type: ignore[misc]
    """The configuration: `made.constants`, `made.types` and the tables' types."""

    def __init__(self) -> None:
        super().__init__(HwgenLayer)

    def format(self, node: Any) -> str:
        made: Layer = node.get_attr("made")
        types = {table.name: node.get_weights(table.name).type.name for table in made.tables}
        if not _streams(node):
            return configuration(made, f"config{node.index}", types)
        xs, y = _inputs(node), node.get_output_variable()
        sizes = {f"numbers_{name}": math.prod(x.shape) for name, x in zip(IN, xs, strict=False)}
        streamed = replace(made, constants={**made.constants, **sizes, "numbers_out": math.prod(y.shape)})
        return configuration(streamed, f"config{node.index}", types) + _on_arrays(made, xs, y, f"config{node.index}")


class HwgenCall(FunctionCallTemplate):  # type: ignore[misc]
    """The function call: both tensors, then the tables."""

    def __init__(self) -> None:
        super().__init__(HwgenLayer)

    def format(self, node: Any) -> str:
        made: Layer = node.get_attr("made")
        headers = [Path(made.header).name, *(["hwgen_stream.h"] if _streams(node) else [])]
        node.set_attr("include_header", [f"nnet_utils/{header}" for header in headers])
        xs, y, config = _inputs(node), node.get_output_variable(), f"config{node.index}"
        names = [variable.name for variable in (*xs, y)] + [node.get_weights(table.name).name for table in made.tables]
        kinds = ", ".join([*(variable.type.name for variable in (*xs, y)), config])
        if _streams(node):
            adaptor = "streamed" if len(xs) == 1 else "streamed_pair"
            return f"hwgen::{adaptor}<{config}_on_arrays, {kinds}>({', '.join(names)});"
        return f"{_function(made)}<{kinds}>({', '.join(names)});"


def _inputs(node: Any) -> list[Any]:
    return [node.get_input_variable(name) for name in node.inputs]


def _streams(node: Any) -> bool:
    """Whether tensors are streams, of one vector of channels a beat."""
    return bool(node.model.config.get_config_value("IOType") == STREAM)


def _function(made: Layer) -> str:
    return made.function if "::" in made.function else f"hwgen::{made.function}"


def _on_arrays(made: Layer, xs: Sequence[Any], y: Any, config: str) -> str:
    """The layer on arrays of numbers as a C++ type, for hwgen::streamed."""
    names = [*IN[: len(xs)], "out"]
    kinds = [f"{variable.type.name}::value_type" for variable in (*xs, y)]
    arrays = [f"{kind} {name}[{config}::numbers_{name}]" for kind, name in zip(kinds, names, strict=True)]
    tables = [f"{config}::{table.type} {table.name}[{table.values.size}]" for table in made.tables]
    passed = ", ".join([*names, *(table.name for table in made.tables)])
    call = f"{_function(made)}<{', '.join([*kinds, config])}>({passed});"
    arguments = ", ".join([*arrays, *tables])
    return f"struct {config}_on_arrays {{\n    static void run({arguments}) {{\n        {call}\n    }}\n}};\n"


def _precision(fmt: Int) -> Any:
    return IntegerPrecisionType(fmt.width, fmt.is_signed)


@cache
def _register() -> None:
    """Make hwgen's layers known to hls4ml, once a process."""
    hls4ml_layers.register_layer("HwgenLayer", HwgenLayer)
    backend = get_backend(BACKEND)
    backend.register_template(HwgenConfig)
    backend.register_template(HwgenCall)
    for header in sorted(HEADERS.glob("*.h")):
        backend.register_source(header.resolve())


def write_project(
    folder: Path,
    name: str,
    input_name: str,
    input_shape: tuple[int, ...],
    input_format: Int,
    made: Sequence[Layer],
    output: int,
    part: str,
    clock_ns: float,
    trace: bool,
) -> None:
    """Write the Vitis HLS project of `made` into `folder`; nothing in it has a type that hls4ml chose.

    output: the number, from 1 on, of the layer whose result is the network's.
    trace: its C simulation also keeps what every layer gives.
    """
    _register()
    for header in {layer.header for layer in made if Path(layer.header).is_absolute()}:
        get_backend(BACKEND).register_source(Path(header))
    # An image has too many numbers for all of them to be in registers.
    images = any(len(shape) > 1 for shape in (input_shape, *(layer.shape for layer in made)))
    io_type = STREAM if images else PARALLEL
    names = identifiers([input_name, *(layer.node for layer in made)])
    entries: list[dict[str, Any]] = [{"class_name": "InputLayer", "name": names[0], "input_shape": list(input_shape)}]
    precisions: dict[str, Any] = {names[0]: {"Precision": {"result": str(_precision(input_format))}}}
    for label, layer in zip(names[1:], made, strict=True):
        entries.append({**_entry(label, layer), "inputs": [names[place] for place in layer.inputs]})
        precisions[label] = _settings(layer)
        precisions[label]["Trace"] = trace
    config = hls4ml.utils.config.create_config(
        output_dir=str(folder), project_name=name, backend=BACKEND, part=part, clock_period=clock_ns, io_type=io_type
    )
    # A default of one bit, so that a type that were left open could not go unnoticed.
    config["HLSConfig"] = {
        "Model": {"Precision": "ap_uint<1>", "ReuseFactor": 1, "Strategy": "Latency", "PipelineStyle": "dataflow"},
        "LayerName": precisions,
    }
    config["TraceOutput"] = trace
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model = ModelGraph.from_layer_list(config, entries, inputs=[names[0]], outputs=[names[output]])
        model.write()


def _entry(label: str, layer: Layer) -> dict[str, Any]:
    """What hls4ml's importers would hand over: its own dense layer and reshape, or one of hwgen's."""
    if layer.function == "reshape":
        return {"class_name": "Reshape", "name": label, "target_shape": list(layer.shape)}
    if layer.function != "dense":
        return {"class_name": "HwgenLayer", "name": label, "made": layer}
    weight, bias = (np.asarray(table.values, dtype=np.int64) for table in layer.tables)
    n_in, n_out = weight.shape
    sizes = {"n_in": int(n_in), "n_out": int(n_out)}
    return {"class_name": "Dense", "name": label, **sizes, "weight_data": weight, "bias_data": bias}


def _settings(layer: Layer) -> dict[str, Any]:
    """Types, and of the dense layer how often a multiplier is used; hwgen's layers state theirs themselves."""
    if layer.function == "reshape":
        return {"Precision": {"result": str(_precision(layer.format))}}
    if layer.function != "dense":
        return {}
    weight, bias = layer.tables
    types = {"weight": weight.format, "bias": bias.format, "accum": layer.format, "result": layer.format}
    return {
        "Precision": {key: str(_precision(fmt)) for key, fmt in types.items()},
        "ReuseFactor": layer.reuse,
        "Strategy": "Latency" if layer.reuse == 1 else "Resource",
    }
