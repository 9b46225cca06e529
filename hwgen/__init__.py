"""hwgen: FPGA accelerators from quantized networks, proven bit for bit against a NumPy golden model."""

from hwgen.version import __version__

__all__ = ["__version__"]
