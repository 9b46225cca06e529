"""Gateware: Amaranth components, and the accelerator that they make of a frozen graph."""

from hwgen.gateware.top import Accelerator, Design, Stage, accelerator_of, build

__all__ = ["Accelerator", "Design", "Stage", "accelerator_of", "build"]
