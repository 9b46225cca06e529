"""Number formats: what a code means."""

from hwgen.formats.base import Codes, Format, Real, product_width
from hwgen.formats.catalog import CATALOG, get
from hwgen.formats.integer import Bipolar, Int
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.rounding import ENCODE_ROUNDING, QONNX_ROUNDING, ROUNDING, check_rounding, round_real, round_shift
from hwgen.formats.stochastic import Rounding, Stochastic

__all__ = [
    "CATALOG",
    "ENCODE_ROUNDING",
    "QONNX_ROUNDING",
    "ROUNDING",
    "Bipolar",
    "Codes",
    "Format",
    "Int",
    "Minifloat",
    "Real",
    "Rounding",
    "Stochastic",
    "check_rounding",
    "get",
    "product_width",
    "round_real",
    "round_shift",
]
