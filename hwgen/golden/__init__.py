"""The golden model: what hardware must compute, bit for bit. Codes in, codes out, integers only.

Networks: `run`, `trace`, `encode`, `predict`, `finish` (hwgen.golden.network). Arithmetic on codes of any format:
`lmul` and `product` (hwgen.formats.multiply) and `dot` (hwgen.golden.sums), whose sums are `Exact`; `block_dot`
(hwgen.golden.block) of blocks that carry scales, `dynamic_dot`
(hwgen.golden.dynamic) of tensors that share an exponent; `operand` keeps codes ready that are used again.
"""

from hwgen.formats.multiply import lmul, product
from hwgen.golden.block import block_dot, to_blocks
from hwgen.golden.dynamic import dynamic_dot
from hwgen.golden.exact import Exact
from hwgen.golden.levels import proven_line
from hwgen.golden.network import encode, finish, input_codes, predict, run, trace
from hwgen.golden.operands import Operand, operand
from hwgen.golden.sums import dot

__all__ = [
    "Exact",
    "Operand",
    "block_dot",
    "dot",
    "dynamic_dot",
    "encode",
    "finish",
    "input_codes",
    "lmul",
    "operand",
    "predict",
    "product",
    "proven_line",
    "run",
    "to_blocks",
    "trace",
]
