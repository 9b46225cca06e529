"""The components that the cost model is fitted to, a JSON object each; bench/measure/parts.py makes them."""

from __future__ import annotations

from typing import Any

from hwgen.tools.resources import Family

Case = dict[str, Any]


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
    *_matvec("mxfp4/8", "mxfp4/8", (8, 16, 1, 8), (8, 32, 2, 4), accumulator="fp32", bias=False),
    *_matvec("int4", "uint4", (16, 16, 16, 16)),
    *_matvec("int2n", "uint2", (8, 32, 8, 32)),
    *_matvec("int6", "int5", (10, 24, 10, 24)),
    *_matvec("e2m1", "e2m1", (8, 12, 8, 12)),
    *({"kind": "thresholds", "channels": 32, "bits": b, "steps": s, "lanes": n, "y": y} for b, s, n, y in
      ((14, 14, 1, "e2m1"), (16, 62, 2, "e3m2"), (24, 252, 1, "e4m3"))),
    *({"kind": "table", "channels": c, "x": x, "y": y, "lanes": n, "by_channel": b} for c, x, y, n, b in
      ((16, "int4", "int8", 2, False), (16, "int8", "int8", 1, False), (16, "int6", "uint4", 4, False),
       (8, "uint4", "int6", 2, True), (32, "e3m2", "e4m3", 2, False))),
    *({"kind": "topk", "channels": c, "bits": b, "k": k, "give": g, "lanes": 1} for c, b, k, g in
      ((10, 12, 3, "indices"), (100, 16, 5, "indices"), (16, 10, 2, "codes"))),
    *({"kind": "upsample", "size": s, "channels": c, "x": x, "lanes": n, "factors": f} for s, c, x, n, f in
      ((8, 8, "uint4", 2, [2, 2]), (14, 16, "uint2", 16, [2, 2]), (7, 4, "int8", 1, [3, 2]))),
    *({"kind": "add", "size": 6, "channels": 16, "inputs": x, "factors": f, "lanes": n, "depths": d} for x, f, n, d in
      ((["uint4", "uint4"], [1, 1], 4, [2, 40]), (["int8", "int8"], [3, 5], 2, [2, 100]),
       (["uint4", "int4", "uint2"], [1, 2, 8], 1, [2, 2, 20]), (["e2m1", "e2m1"], [1, 1], 2, [8, 30]))),
    *({"kind": "multiply", "size": 6, "channels": 16, "inputs": x, "lanes": n, "depths": d} for x, n, d in
      ((["int4", "uint4"], 2, [2, 20]), (["int8", "int8"], 1, [40, 2]), (["uint2", "int4"], 4, [8, 8]))),
    *({"kind": "concat", "size": 6, "channels": 16, "inputs": x, "lanes": n, "depths": d} for x, n, d in
      ((["uint4", "uint4"], 4, [20, 20]), (["uint2", "uint2", "uint2"], 2, [16, 30, 16]))),
    *({"kind": "grouped", "weight": w, "x": x, "groups": g, "rows": r, "channels": c, "taps": 9, "pe": p, "simd": n}
      for w, x, g, r, c, p, n in (
          ("int4", "uint4", 16, 1, 1, 1, 4), ("int4", "uint4", 32, 1, 1, 1, 1), ("int2n", "uint4", 16, 1, 1, 1, 16),
          ("int8", "uint8", 8, 1, 1, 1, 2), ("int8", "uint8", 32, 1, 1, 1, 8), ("int4", "uint4", 4, 4, 4, 2, 2),
          ("int4n", "uint4", 4, 2, 4, 2, 8), ("e3m2", "e3m2", 8, 1, 1, 1, 2), ("e2m1", "e2m1", 16, 1, 1, 1, 4),
          ("int4n", "uint4", 16, 1, 1, 1, 1), ("int3", "uint4", 24, 1, 1, 1, 1))),
    {"kind": "requantize", "channels": 32, "bits": 20, "factor": 24, "out": 26, "lanes": 1, "offset": 38},
    {"kind": "requantize", "channels": 16, "bits": 24, "factor": 20, "out": 16, "lanes": 2, "offset": 30},
    *({"kind": "block_quantize", "channels": 32, "bits": b, "format": "mxfp4/32", "lanes": n} for b, n in
      ((26, 1), (22, 4))),
    *({"kind": "fork", "lanes": 4, "bits": 4, "beats": 64, "count": n} for n in (2, 3)),
]  # fmt: skip

ON_DSP = [dict(case, dsp=True) for case in _matvec("int4", "uint4", (16, 16, 4, 4), (33, 32, 3, 8), (24, 48, 6, 4))]
"""For families whose DSPs take narrow weights."""


def cases(family: Family) -> list[Case]:
    return CASES + (ON_DSP if family == "xcup" else [])
