"""The golden model: what hardware must compute, bit for bit. Codes in, codes out, integers only.

Networks: `run`, `trace`, `encode`, `predict`, `finish` (hwgen.golden.network). Arithmetic on codes of any format:
`lmul` and `product` (hwgen.formats.multiply) and `dot` (hwgen.golden.dot), whose sums are `Exact`.
"""

from hwgen.formats.multiply import lmul, product
from hwgen.golden.dot import dot
from hwgen.golden.exact import Exact
from hwgen.golden.network import encode, finish, input_codes, predict, proven_line, run, trace

__all__ = [
    "Exact",
    "dot",
    "encode",
    "finish",
    "input_codes",
    "lmul",
    "predict",
    "product",
    "proven_line",
    "run",
    "trace",
]
