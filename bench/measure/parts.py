"""Components to measure the cost model on: made of random numbers from a seed, each described by one JSON object."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from amaranth.lib import wiring

from hwgen import ops
from hwgen.formats import Blocked, Int, get, scalar
from hwgen.gateware.argmax import ArgMax
from hwgen.gateware.block_quantize import BlockQuantize
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.fix import Fix
from hwgen.gateware.matvec import MatVec
from hwgen.gateware.matvec_placed import PlacedMatVec
from hwgen.gateware.pool import Pool
from hwgen.gateware.requantize import Requantize
from hwgen.gateware.thresholds import Thresholds
from hwgen.gateware.width import Gather, Scatter
from hwgen.gateware.window import Window
from hwgen.ir import Beats, Fold, Node, Op, TensorType
from hwgen.ops.cost import is_placed
from hwgen.passes.blocks import scales_of
from hwgen.tools.resources import Family

Case = dict[str, Any]


def _blocks(name: str) -> Blocked:
    """A block format with a window of scales, blocks of 8 or 16 numbers."""
    element, _, size = name.partition("/")
    return Blocked(replace(get(element), scale=scales_of(-6, 5), size=int(size)))


def _format(name: str) -> Any:
    return _blocks(name) if "/" in name else scalar(name)


def layer(case: Case) -> tuple[Op, TensorType]:
    """The operation of a case, and the type of its input."""
    rng = np.random.default_rng(case.get("seed", 1))
    kind = case["kind"]
    if kind == "matvec":
        weight, x = _format(case["weight"]), _format(case["x"])
        shape = (case["out"], case["in"])
        if "/" in case["weight"]:
            codes = weight.encode(rng.normal(size=shape))
        else:
            every = weight.codes()
            codes = rng.choice(every[weight.is_number(every)], shape)
        bias = rng.integers(-50, 50, case["out"]) if case.get("bias", True) else np.zeros(1, int)
        op = ops.MatVec(codes, weight, bias, input_format=x, multiplier=case.get("multiplier", "exact"))
        return op, TensorType((case["in"],), x)
    if kind == "thresholds":
        x = TensorType((case["channels"],), Int(case["bits"]))
        low, high = ops.integer_range(x)
        rows = 1 if case.get("shared") else case["channels"]
        table = np.sort(rng.integers(low // 2, high // 2, (rows, case["steps"])), axis=1)
        bits = case["steps"].bit_length()
        return ops.Thresholds(table, 0, Int(bits, is_signed=False)), x
    if kind == "requantize":
        x = TensorType((case["channels"],), Int(case["bits"]))
        rows = case["channels"] if case.get("by_channel", True) else 1
        factor = rng.integers(1 << (case["factor"] - 1), 1 << case["factor"], rows) if case["factor"] else [1]
        full = case["bits"] + case["factor"]
        shift = [full - case["out"] - 1] * rows if case["factor"] else [case["bits"] - case["out"]]
        offset = rng.integers(-20, 20, rows) if case.get("offset") else [0]
        fmt = Int(case["out"])
        return ops.Requantize(factor, offset, shift[:rows], "half_even", fmt.min, fmt.max, fmt), x
    if kind == "argmax":
        return ops.ArgMax(), TensorType((case["channels"],), Int(case["bits"]))
    if kind in ("window", "pool"):
        image = TensorType((case["size"], case["size"], case["channels"]), scalar(case["x"]))
        pad = case.get("pad", 0)
        window = ops.Window((case["kernel"],) * 2, (case.get("stride", 1),) * 2, (pad,) * 4, pad=0)
        if kind == "window":
            return window, image
        return ops.Pool(case["reduce"], window.taps), window.infer(image)
    if kind == "block_quantize":
        return ops.BlockQuantize(_blocks(case["format"]), 0), TensorType((case["channels"],), Int(case["bits"]))
    if kind == "fix":
        return ops.Fix(-10, Int(case["out"])), TensorType((case["channels"],), scalar("fp32"))
    raise ValueError(kind)


def beats(case: Case) -> Beats:
    """The stream of a queue or a converter of widths."""
    return Beats(case["lanes"], case["bits"], True, case["beats"])


def fold(case: Case) -> Fold:
    return Fold(case["pe"], case["simd"], case.get("dsp", False))


def node(case: Case) -> tuple[Node, TensorType]:
    op, x = layer(case)
    return Node("n", op, ("x",), "y"), x


def component(case: Case, family: Family) -> wiring.Component:
    """The gateware of a case for a family."""
    kind = case["kind"]
    if kind == "fifo":
        return Fifo(beats(case), case["depth"])
    if kind == "width":
        make = Gather if case["to"] > case["lanes"] else Scatter
        return make(beats(case), case["to"])
    op, x = layer(case)
    if isinstance(op, ops.MatVec):
        placed = family == "xcup" and is_placed(op, x, fold(case))
        return (PlacedMatVec if placed else MatVec)(op, x, fold(case))
    makers = {
        "thresholds": Thresholds,
        "requantize": Requantize,
        "argmax": ArgMax,
        "window": Window,
        "pool": Pool,
        "block_quantize": BlockQuantize,
        "fix": Fix,
    }
    return makers[kind](op, x, case["lanes"])


def _matvec(weight: str, x: str, *sizes: tuple[int, int, int, int], **more: Any) -> list[Case]:
    return [
        {"kind": "matvec", "weight": weight, "x": x, "out": o, "in": i, "pe": p, "simd": s, **more}
        for o, i, p, s in sizes
    ]


CASES: list[Case] = [
    *_matvec("int4", "uint4", (16, 16, 1, 4), (32, 32, 2, 8), (24, 48, 4, 4), (16, 32, 8, 2), (32, 64, 1, 16)),
    *_matvec("int4n", "uint4", (64, 288, 4, 4), (10, 512, 1, 1)),
    *_matvec("int3", "uint3", (16, 24, 4, 4), (64, 32, 2, 4)),
    *_matvec("int4n", "uint2", (32, 16, 4, 8), (12, 64, 2, 2)),
    *_matvec("int2", "uint4", (16, 32, 2, 8)),
    *_matvec("int2n", "uint2", (32, 64, 4, 8), (16, 72, 2, 12), (64, 64, 1, 16)),
    *_matvec("bipolar", "bipolar", (32, 64, 4, 16), (16, 64, 2, 32), (64, 128, 1, 8)),
    *_matvec("bipolar", "uint2", (32, 64, 4, 8)),
    *_matvec("int8", "uint8", (16, 16, 1, 4), (32, 24, 4, 2), (16, 32, 2, 8), (10, 64, 1, 1)),
    *_matvec("int5", "int5", (16, 32, 2, 4)),
    *_matvec("e4m3", "e4m3", (16, 16, 1, 2), (16, 16, 2, 4), (10, 32, 1, 1)),
    *_matvec("e3m2", "e3m2", (16, 16, 2, 4)),
    *_matvec("e2m1", "e2m1", (16, 32, 2, 8)),
    *_matvec("e4m3", "e4m3", (16, 16, 2, 4), (16, 16, 1, 1), multiplier="lmul"),
    *_matvec("mxfp4/8", "mxfp4/8", (16, 32, 1, 8), (16, 32, 4, 2), (8, 64, 2, 4)),
    *_matvec("mxint8/8", "mxint8/8", (16, 32, 1, 4), (8, 32, 2, 2)),
    *_matvec("mxfp6e3m2/8", "mxfp6e3m2/8", (16, 32, 2, 4)),
    *({"kind": "thresholds", "channels": c, "bits": b, "steps": s, "lanes": n} for c, b, s, n in
      ((32, 12, 15, 1), (64, 10, 3, 2), (16, 14, 15, 4), (128, 9, 3, 1), (64, 8, 1, 4), (32, 16, 7, 1),
       (64, 9, 3, 1), (32, 10, 3, 4), (64, 12, 15, 1), (48, 8, 3, 2))),
    *({"kind": "thresholds", "channels": 32, "bits": b, "steps": s, "lanes": n, "shared": True} for b, s, n in
      ((12, 15, 1), (10, 3, 4))),
    *({"kind": "requantize", "channels": c, "bits": b, "factor": f, "out": o, "lanes": n, "offset": f > 0}
      for c, b, f, o, n in ((32, 12, 0, 4, 1), (32, 16, 12, 8, 1), (64, 20, 16, 8, 2), (16, 14, 8, 4, 2))),
    {"kind": "requantize", "channels": 32, "bits": 18, "factor": 12, "out": 8, "lanes": 1, "by_channel": False},
    *({"kind": "argmax", "channels": c, "bits": b, "lanes": n} for c, b, n in ((10, 12, 1), (10, 16, 2), (16, 12, 4))),
    *({"kind": "window", "size": s, "channels": c, "x": x, "kernel": k, "pad": p, "lanes": n, "stride": t}
      for s, c, x, k, p, n, t in (
          (12, 8, "uint2", 3, 0, 2, 1), (16, 16, "uint4", 3, 1, 4, 1), (28, 1, "uint8", 3, 0, 1, 1),
          (14, 16, "uint4", 2, 0, 1, 2), (10, 32, "uint2", 3, 0, 16, 1), (28, 4, "uint4", 5, 2, 4, 1))),
    *({"kind": "pool", "size": 12, "channels": c, "x": x, "kernel": 2, "stride": 2, "lanes": n, "reduce": r}
      for c, x, n, r in ((8, "uint4", 1, "max"), (16, "uint2", 8, "max"), (16, "uint4", 2, "sum"))),
    *({"kind": "fifo", "lanes": n, "bits": b, "beats": 64, "depth": d}
      for n, b, d in ((8, 4, 16), (1, 4, 32), (16, 2, 2), (4, 8, 64), (32, 2, 8))),
    *({"kind": "width", "lanes": n, "bits": b, "beats": 64, "to": t}
      for n, b, t in ((4, 12, 1), (1, 4, 8), (8, 4, 2), (2, 2, 16), (16, 2, 4))),
    *({"kind": "block_quantize", "channels": 32, "bits": b, "format": f, "lanes": n}
      for b, f, n in ((16, "mxfp4/8", 1), (20, "mxint8/16", 2), (14, "mxfp6e3m2/8", 2))),
    *({"kind": "fix", "channels": 16, "out": o, "lanes": n} for o, n in ((16, 1), (12, 2))),
]  # fmt: skip

ON_DSP = [dict(case, dsp=True) for case in _matvec("int4", "uint4", (16, 16, 4, 4), (33, 32, 3, 8), (24, 48, 6, 4))]
"""For families whose DSPs take narrow weights."""


def cases(family: Family) -> list[Case]:
    return CASES + (ON_DSP if family == "xcup" else [])
