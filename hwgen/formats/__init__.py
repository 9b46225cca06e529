"""Number formats: what a code means."""

from hwgen.formats.base import DESCRIBED_TERMS, Codes, Format, Real, product_width
from hwgen.formats.block import SCALE_MODES, Block
from hwgen.formats.blocked import Blocked
from hwgen.formats.catalog import BLOCKS, CATALOG, AnyFormat, get, scalar
from hwgen.formats.dynamic import DynamicFixed
from hwgen.formats.fixed import AP_OVERFLOW, AP_ROUNDING, Fixed
from hwgen.formats.integer import Bipolar, Int
from hwgen.formats.minifloat import Minifloat
from hwgen.formats.rounding import ENCODE_ROUNDING, QONNX_ROUNDING, ROUNDING, check_rounding, round_real, round_shift
from hwgen.formats.stochastic import Rounding, Stochastic

__all__ = [
    "AP_OVERFLOW",
    "AP_ROUNDING",
    "BLOCKS",
    "CATALOG",
    "DESCRIBED_TERMS",
    "ENCODE_ROUNDING",
    "QONNX_ROUNDING",
    "ROUNDING",
    "SCALE_MODES",
    "AnyFormat",
    "Bipolar",
    "Block",
    "Blocked",
    "Codes",
    "DynamicFixed",
    "Fixed",
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
    "scalar",
]
