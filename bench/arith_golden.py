"""The speed of golden arithmetic: exact matrix products of codes against float32 `numpy @` of the same shape.

    python bench/arith_golden.py [--json] [--write]

Codes come as uint8 (int8) arrays; "weights kept" has the right-hand matrix made an operand once, as a network has its
weights. Both sides run on one BLAS thread, since threads that wait for a busy core make the ratios noise; set
OPENBLAS_NUM_THREADS for more. Each figure is the best of several rounds that take turns, so that a noisy machine slows
all of them alike; only the ratios mean something. 0.5 means twice as fast as float32. --write: into docs/results.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

# Read when NumPy loads its BLAS.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from measure import results

from hwgen import golden
from hwgen.formats import Block, Format, get, scalar
from hwgen.formats.multiply import CODE_MULTIPLIERS

ROUNDS = 5
GOAL_ROUNDS = 25
"""Rounds of the format that has a goal."""
GOAL = 4.0
SHAPES = ((1024, 1024, 1024), (512, 512, 512), (256, 784, 256), (64, 4096, 64), (1, 4096, 1024))
"""(M, K, N); the goal is for the first three, products of whole batches, from codes, and for all with kept weights."""
BATCHES = 3
SMALL = (128, 256, 128)
"""For L-Mul, whose products are looked up one by one."""
BLOCK_SHAPE = (256, 1024, 256)
FORMATS = ("e4m3", "e5m2", "e3m2", "e2m3", "e2m1", "int8")
BLOCKS = ("mxfp8e4m3", "mxfp4", "mxint8", "nvfp4")

Call = Callable[[], object]


def best(calls: dict[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of each call: the best of so many rounds, taken in turn."""
    found = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name] = min(found[name], time.perf_counter() - start)
    return found


def codes(fmt: Format, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Codes of normally distributed numbers, as wide as the format's own."""
    numbers = rng.standard_normal(shape) * float(fmt.extremes[1]) / 4
    return fmt.encode(numbers).astype(np.int8 if fmt.signed else np.uint8)


def floats(a: np.ndarray, b: np.ndarray, a_format: Format, b_format: Format) -> Call:
    x, y = a_format.decode(a).astype(np.float32), b_format.decode(b).astype(np.float32)
    return lambda: x @ y


def scalar_ratios(rng: np.random.Generator) -> dict[str, dict[str, float]]:
    out = {}
    for name in FORMATS:
        fmt = scalar(name)
        for m, k, n in SHAPES:
            a, b = codes(fmt, (m, k), rng), codes(fmt, (k, n), rng)
            kept = golden.operand(b, fmt)
            found = best(
                {
                    "float32": floats(a, b, fmt, fmt),
                    "codes": lambda a=a, b=b, fmt=fmt: golden.dot(a, b, fmt, fmt),
                    "weights kept": lambda a=a, kept=kept, fmt=fmt: golden.dot(a, kept, fmt, fmt),
                },
                GOAL_ROUNDS if name == "e4m3" else ROUNDS,
            )
            out[f"{name} {m}x{k}x{n}"] = {key: found[key] / found["float32"] for key in ("codes", "weights kept")}
    return out


def lmul_ratios(rng: np.random.Generator) -> dict[str, dict[str, float]]:
    m, k, n = SMALL
    out = {}
    for name in ("e4m3", "e5m2"):
        fmt = scalar(name)
        a, b = codes(fmt, (m, k), rng), codes(fmt, (k, n), rng)
        calls: dict[str, Call] = {
            variant: lambda variant=variant, a=a, b=b, fmt=fmt: golden.dot(a, b, fmt, fmt, variant)
            for variant in (*CODE_MULTIPLIERS, "lmul_formula")
        }
        found = best({"float32": floats(a, b, fmt, fmt), **calls})
        out[f"{name} {m}x{k}x{n}"] = {key: found[key] / found["float32"] for key in calls}
    return out


def block_ratios(rng: np.random.Generator) -> dict[str, dict[str, float]]:
    m, k, n = BLOCK_SHAPE
    out = {}
    for name in BLOCKS:
        fmt = get(name)
        assert isinstance(fmt, Block)
        a, b = (fmt.encode(golden.to_blocks(rng.standard_normal((rows, k)), fmt.size)) for rows in (m, n))
        x, y = (fmt.decode(*side).reshape(-1, k).astype(np.float32) for side in (a, b))
        window = (-24, 8) if fmt.power_scale else None
        found = best(
            {
                "float32": lambda x=x, y=y: x @ y.T,
                "fixed": lambda a=a, b=b, fmt=fmt, window=window: golden.block_dot(a, b, fmt, fmt, window=window),
                "fp32": lambda a=a, b=b, fmt=fmt: golden.block_dot(a, b, fmt, fmt, accumulator="fp32"),
            }
        )
        out[f"{name} {m}x{k}x{n}"] = {key: found[key] / found["float32"] for key in ("fixed", "fp32")}
    return out


def show(title: str, table: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(table.values())))
    print(f"\n{title}: time as a multiple of float32 `numpy @`")
    print(f"{'':28}" + "".join(f"{column:>20}" for column in columns))
    for row, figures in table.items():
        print(f"{row:28}" + "".join(f"{figures[column]:>20.2f}" for column in columns))


def main() -> None:
    rng = np.random.default_rng(0)
    tables = {
        "exact products": scalar_ratios(rng),
        "L-Mul": lmul_ratios(rng),
        "blocks": block_ratios(rng),
    }
    if "--json" in sys.argv:
        print(json.dumps(tables, indent=2))
        return
    for title, table in tables.items():
        show(title, table)
    if "--write" in sys.argv:
        results.write("golden", tables)
    batches = ["x".join(map(str, shape)) for shape in SHAPES[:BATCHES]]
    e4m3 = {row: figures for row, figures in tables["exact products"].items() if row.startswith("e4m3 ")}
    worst = {
        "from codes, whole batches": max(e4m3[f"e4m3 {shape}"]["codes"] for shape in batches),
        "weights kept, every shape": max(figures["weights kept"] for figures in e4m3.values()),
    }
    print()
    for name, ratio in worst.items():
        state = "met" if ratio <= GOAL else "MISSED"
        print(f"exact E4M3 {name}: {ratio:.2f} x float32 at worst   goal {GOAL:g} x: {state}")


if __name__ == "__main__":
    main()
