"""The golden model: what hardware must compute, bit for bit. Codes in, codes out, integers only.

Networks: `run`, `trace`, `encode`, `predict`, `finish` (hwgen.golden.network).
"""

from hwgen.golden.network import encode, finish, input_codes, predict, proven_line, run, trace

__all__ = [
    "encode",
    "finish",
    "input_codes",
    "predict",
    "proven_line",
    "run",
    "trace",
]
