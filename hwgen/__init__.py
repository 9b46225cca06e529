"""hwgen: FPGA accelerators from quantized networks, proven bit for bit against a NumPy golden model.

>>> graph = hwgen.load("model.onnx")                    # a frozen integer graph
>>> codes = hwgen.golden.run(graph, x)                  # the truth, in NumPy
>>> accelerator = hwgen.compile(graph, board="ulx3s")   # Verilog, simulation, report, bitstream

Names are imported when they are first used, so that `import hwgen` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hwgen.version import __version__

if TYPE_CHECKING:
    from hwgen import formats, golden, quant, runtime
    from hwgen.compiler import Accelerator, compile, from_brevitas, load  # noqa: A004
    from hwgen.errors import HwgenError
    from hwgen.passes import freeze

_PLACES = {
    "Accelerator": "hwgen.compiler",
    "HwgenError": "hwgen.errors",
    "compile": "hwgen.compiler",
    "freeze": "hwgen.passes",
    "from_brevitas": "hwgen.compiler",
    "load": "hwgen.compiler",
}
_MODULES = ("formats", "golden", "quant", "runtime")

__all__ = [
    "Accelerator",
    "HwgenError",
    "__version__",
    "compile",
    "formats",
    "freeze",
    "from_brevitas",
    "golden",
    "load",
    "quant",
    "runtime",
]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        value = getattr(importlib.import_module(_PLACES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"hwgen.{name}")
    else:
        raise AttributeError(f"module 'hwgen' has no attribute {name!r}")
    globals()[name] = value
    return value
