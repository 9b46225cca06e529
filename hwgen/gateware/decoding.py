"""Codes to the integers that they are worth."""

from amaranth.hdl import Module, Signal

from hwgen import ops
from hwgen.formats import Blocked
from hwgen.formats.grid import grid_range
from hwgen.gateware.decode import decode, scaled
from hwgen.gateware.elementwise import Elementwise
from hwgen.gateware.pipeline import carry_frame, range_shape, register
from hwgen.ir import TensorType


class Decode(Elementwise):
    """What codes are worth in units of their format's grid; see hwgen.ops.Decode.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels, and a block.
    Ports: `i`, a stream of x; `o`, a stream of integers of as many lanes. One clock enable freezes the whole unit while
    its output beat waits.
    Pipeline: element, and where codes are blocks' their scale: depth = 1 or 2. Latency: beats - 1 + depth. Interval:
    one beat a clock.
    """

    def __init__(self, op: ops.Decode, x: TensorType, lanes: int):
        super().__init__(op, x, lanes, depth=2 if isinstance(op.format, Blocked) else 1)

    def elaborate(self, platform):
        m = Module()
        fmt = self.op.format
        enable = carry_frame(m, self.i, self.o, self.depth)
        scale = register(m, enable, self.i.p.shared, "scale") if isinstance(fmt, Blocked) else None
        for lane in range(self.input.lanes):
            m.d.comb += self.o.p.lanes[lane].eq(self._lane(m, enable, self.i.p.lanes[lane], scale, lane))
        return m

    def _lane(self, m, enable, code, scale, lane):
        fmt = self.op.format
        if scale is None:
            return register(m, enable, decode(fmt, code).worth, f"worth_{lane}")
        element = register(m, enable, decode(fmt.block.element, code).worth, f"element_{lane}")
        worth = Signal(range_shape(*grid_range(fmt)), name=f"scaled_{lane}")
        m.d.comb += worth.eq(scaled(fmt, element, scale))
        return register(m, enable, worth, f"worth_{lane}")
