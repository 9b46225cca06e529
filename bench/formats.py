"""Speed of encoding against ml_dtypes and torchao on one thread, in one run.

    python bench/formats.py

Each figure is the best of several rounds that take turns, so that a noisy machine slows all of them alike; only the
ratios mean something. Blocks are written as bytes, as torchao's are.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import ml_dtypes
import numpy as np
import torch
from torchao.prototype.mx_formats.mx_tensor import to_mx

from hwgen import formats

ROUNDS = 15
SIZES = (1 << 16, 1 << 20)
ML_DTYPES = {
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
    "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn,
    "e2m1": ml_dtypes.float4_e2m1fn,
}
TORCHAO = {
    "mxfp8e4m3": torch.float8_e4m3fn,
    "mxfp8e5m2": torch.float8_e5m2,
    "mxfp6e3m2": "fp6_e3m2",
    "mxfp6e2m3": "fp6_e2m3",
    "mxfp4": torch.float4_e2m1fn_x2,
}


def seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of one call of each, the best of ROUNDS rounds in turn."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def row(name: str, size: int, spent: dict[str, float]) -> None:
    ours, theirs = spent["ours"], spent["theirs"]
    print(f"{name:12} {size:9} {1e9 * ours / size:9.2f} {1e9 * theirs / size:9.2f} {theirs / ours:9.2f}")


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print(f"{'format':12} {'numbers':>9} {'ours ns':>9} {'theirs ns':>9} {'x faster':>9}")
    for size in SIZES:
        x = (8 * rng.standard_normal(size)).astype(np.float32)
        for name, dtype in ML_DTYPES.items():
            fmt = formats.scalar(name)
            # ml_dtypes does not saturate: the clip that it needs is not counted against it.
            clipped = np.clip(x, *(np.float32(end) for end in fmt.extremes))
            row(
                name,
                size,
                seconds({"ours": lambda f=fmt, v=x: f.encode(v), "theirs": lambda d=dtype, v=clipped: v.astype(d)}),
            )
        blocks = x.reshape(-1, 32)
        tensor = torch.from_numpy(blocks)
        for name, kind in TORCHAO.items():
            block = formats.get(name)
            assert isinstance(block, formats.Block)
            row(
                name,
                size,
                seconds(
                    {
                        "ours": lambda f=block, v=blocks: f.encode(v, dtype=np.uint8),
                        "theirs": lambda k=kind, v=tensor: to_mx(v, k, 32),
                    }
                ),
            )


if __name__ == "__main__":
    main()
