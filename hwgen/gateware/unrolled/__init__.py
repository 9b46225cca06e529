"""Constant matrices as graphs of shifts and adders: what is added (`share`), in which order (`plan`), in which cells
(`cells`), and the component (`unit`). A plan stands beside the graph and never changes a number."""

from hwgen.gateware.unrolled.plan import Plan, plan
from hwgen.gateware.unrolled.unit import ShiftAdd

__all__ = ["Plan", "ShiftAdd", "plan"]
