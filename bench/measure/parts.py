"""Components to measure the cost model on, of random numbers from a seed; bench/measure/cases.py describes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.lib import wiring

from hwgen import ops
from hwgen.formats import Blocked, Int, get, scalar
from hwgen.formats.grid import ladder
from hwgen.gateware.argmax import ArgMax
from hwgen.gateware.block_quantize import BlockQuantize
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.fix import Fix
from hwgen.gateware.fork import Fork
from hwgen.gateware.grouped import Grouped
from hwgen.gateware.join import JOINS
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.gateware.pool import Pool
from hwgen.gateware.requantize import Requantize
from hwgen.gateware.table import Table
from hwgen.gateware.thresholds import Thresholds
from hwgen.gateware.topk import TopK
from hwgen.gateware.unrolled import ShiftAdd
from hwgen.gateware.upsample import Upsample
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window
from hwgen.ir import Beats, Fold, Node, Op, TensorType
from hwgen.ops.cost import is_placed, products_of
from hwgen.passes.blocks import scales_of
from hwgen.tools.resources import Family
from measure.cases import Case


def _blocks(name: str) -> Blocked:
    """A block format with a window of scales, blocks of 8 or 16 numbers."""
    element, _, size = name.partition("/")
    return Blocked(replace(get(element), scale=scales_of(-6, 5), size=int(size)))


def _format(name: str) -> Any:
    return _blocks(name) if "/" in name else scalar(name)


def _matvec(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    weight, x = _format(case["weight"]), _format(case["x"])
    shape = (case["out"], case["in"])
    if "/" in case["weight"]:
        codes = weight.encode(rng.normal(size=shape))
    else:
        every = weight.codes()
        codes = rng.choice(every[weight.is_number(every)], shape)
    bias = rng.integers(-50, 50, case["out"]) if case.get("bias", True) else np.zeros(1, int)
    more = {name: case[name] for name in ("multiplier", "accumulator") if name in case}
    return ops.MatVec(codes, weight, bias, input_format=x, **more), [TensorType((case["in"],), x)]


def _grouped(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    weight, x, groups, taps = scalar(case["weight"]), scalar(case["x"]), case["groups"], case["taps"]
    every = weight.codes()
    codes = rng.choice(every[weight.is_number(every)], (groups * case["rows"], taps * case["channels"]))
    bias = rng.integers(-50, 50, len(codes))
    op = ops.Grouped(codes, weight, bias, input_format=x, groups=groups, taps=taps)
    return op, [TensorType((taps * groups * case["channels"],), x)]


def _thresholds(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    x = TensorType((case["channels"],), Int(case["bits"]))
    low, high = ops.integer_range(x)
    rows = 1 if case.get("shared") else case["channels"]
    table = np.sort(rng.integers(low // 2, high // 2, (rows, case["steps"])), axis=1)
    fmt = scalar(case["y"]) if "y" in case else Int(case["steps"].bit_length(), is_signed=False)
    return ops.Thresholds(table, int(ladder(fmt)[0]), fmt), [x]


def _requantize(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    rows = case["channels"] if case.get("by_channel", True) else 1
    factor = rng.integers(1 << (case["factor"] - 1), 1 << case["factor"], rows) if case["factor"] else [1]
    full = case["bits"] + case["factor"]
    shift = [full - case["out"] - 1] * rows if case["factor"] else [case["bits"] - case["out"]]
    bits = case.get("offset", False)
    offset = (
        rng.integers(-20, 20, rows) if bits is True else rng.integers(-(1 << bits), 1 << bits, rows) if bits else [0]
    )
    fmt = Int(case["out"])
    op = ops.Requantize(factor, offset, shift[:rows], "half_even", fmt.min, fmt.max, fmt)
    return op, [TensorType((case["channels"],), Int(case["bits"]))]


def _table(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    x, y = scalar(case["x"]), scalar(case["y"])
    rows = case["channels"] if case.get("by_channel") else 1
    return ops.Table(rng.choice(y.codes(), (rows, 1 << x.bits)), y), [TensorType((case["channels"],), x)]


def _image(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    image = TensorType((case["size"], case["size"], case["channels"]), scalar(case["x"]))
    if case["kind"] == "upsample":
        return ops.Upsample(tuple(case["factors"])), [image]
    pad = case.get("pad", 0)
    window = ops.Window((case["kernel"],) * 2, (case.get("stride", 1),) * 2, (pad,) * 4, pad=0)
    if case["kind"] == "window":
        return window, [image]
    return ops.Pool(case["reduce"], window.taps), [window.infer(image)]


def _vector(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    x = TensorType((case["channels"],), Int(case["bits"]) if "bits" in case else scalar("fp32"))
    made = {
        "argmax": lambda: ops.ArgMax(),
        "topk": lambda: ops.TopK(case["k"], case["give"]),
        "block_quantize": lambda: ops.BlockQuantize(_blocks(case["format"]), 0),
        "fix": lambda: ops.Fix(-10, Int(case["out"])),
    }
    return made[case["kind"]](), [x]


def _join(case: Case, rng: np.random.Generator) -> tuple[Op, list[TensorType]]:
    formats = tuple(scalar(name) for name in case["inputs"])
    shape = (case["size"], case["size"], case["channels"])
    if case["kind"] == "add":
        factors = tuple(case["factors"])
        scales = [(float(factor) / 2.0**fmt.lsb,) for factor, fmt in zip(factors, formats, strict=True)]
        types = [TensorType(shape, fmt, scale) for fmt, scale in zip(formats, scales, strict=True)]
        return ops.Add(factors, formats), types
    types = [TensorType(shape, fmt) for fmt in formats]
    return ops.Multiply(formats, (0, 0)) if case["kind"] == "multiply" else ops.Concat(), types


LAYERS = {
    "matvec": _matvec,
    "grouped": _grouped,
    "thresholds": _thresholds,
    "requantize": _requantize,
    "table": _table,
    **dict.fromkeys(("window", "pool", "upsample"), _image),
    **dict.fromkeys(("argmax", "topk", "block_quantize", "fix"), _vector),
    **dict.fromkeys(("add", "multiply", "concat"), _join),
}
"""How the operation of a case is made, by its kind."""


def layer(case: Case) -> tuple[Op, list[TensorType]]:
    """The operation of a case, and the types of its inputs."""
    return LAYERS[case["kind"]](case, np.random.default_rng(case.get("seed", 1)))


def beats(case: Case) -> Beats:
    """The stream of a queue or a converter of widths."""
    return Beats(case["lanes"], case["bits"], True, case["beats"])


def fold(case: Case) -> Fold:
    return Fold(case["pe"], case["simd"], case.get("dsp", False))


def node(case: Case) -> tuple[Node, list[TensorType]]:
    op, inputs = layer(case)
    return Node("n", op, tuple(f"x{n}" for n in range(len(inputs))), "y"), inputs


def _unit(op: ops.MatVec, x: TensorType, fold: Fold, family: Family) -> wiring.Component:
    if isinstance(op, ops.Grouped):
        return Grouped(op, x, fold)
    if products_of(op, x, fold) == "constant":
        return ShiftAdd(op, x, family)
    return (PlacedMatVec if family == "xcup" and is_placed(op, x, fold) else MatVec)(op, x, fold)


def component(case: Case, family: Family) -> wiring.Component:
    """The gateware of a case for a family."""
    kind = case["kind"]
    if kind == "fifo":
        return Fifo(beats(case), case["depth"])
    if kind == "fork":
        return Fork(beats(case), case["count"])
    if kind == "width":
        make = Gather if case["to"] > case["lanes"] else Scatter
        return make(beats(case), case["to"])
    op, inputs = layer(case)
    if type(op) in JOINS:
        return JOINS[type(op)](op, inputs, case["lanes"], case["depths"])
    (x,) = inputs
    if isinstance(op, ops.MatVec):
        return _unit(op, x, fold(case), family)
    return TopK(op, x) if isinstance(op, ops.TopK) else MAKERS[kind](op, x, case["lanes"])


MAKERS = {
    "thresholds": Thresholds,
    "requantize": Requantize,
    "table": Table,
    "argmax": ArgMax,
    "window": Window,
    "upsample": Upsample,
    "pool": Pool,
    "block_quantize": BlockQuantize,
    "fix": Fix,
}
"""Components that take an operation, the type of its input and its lanes, by kind."""
