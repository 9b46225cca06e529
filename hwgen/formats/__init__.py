"""Number formats: what a code means."""

from hwgen.formats.base import Codes, Format, Real
from hwgen.formats.catalog import CATALOG, get
from hwgen.formats.integer import Bipolar, Int
from hwgen.formats.rounding import QONNX_ROUNDING, ROUNDING, check_rounding, round_real, round_shift

__all__ = [
    "CATALOG",
    "QONNX_ROUNDING",
    "ROUNDING",
    "Bipolar",
    "Codes",
    "Format",
    "Int",
    "Real",
    "check_rounding",
    "get",
    "round_real",
    "round_shift",
]
