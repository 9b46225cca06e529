"""A constant matrix, unrolled: a pipelined graph of shifts and adders with shared sums, a vector a clock."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen import ops
from hwgen.formats import Bipolar, Int
from hwgen.formats.grid import grid_range
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, lane_shape, signature
from hwgen.gateware.decode import decode
from hwgen.gateware.dotproduct.pipe import At, Pipe
from hwgen.gateware.pipeline import carry_frame, split
from hwgen.gateware.unrolled.cells import add
from hwgen.gateware.unrolled.plan import Plan, plan
from hwgen.ir import Fold, TensorType
from hwgen.tools.resources import Family

LEVELS: dict[str, int] = {"xcup": 3}
"""Adders between two registers, where there may be more than one."""


class ShiftAdd(wiring.Component):
    """acc[o] = bias[o] + sum over i of weight[o, i] * x[i], exact: MatVec where PE = out and SIMD = in.

    Every weight is a sum of shifted inputs; what several outputs add is added once (hwgen.gateware.unrolled.plan).
    Weights and inputs count units of their formats' grids, so minifloats and K-hot weights are shifted integers.

    Parameters: `op`; `x`, the type of its input tensor; `family`, whose cells may be used: on "xcup" adders have three
    operands, in placed cells. None: adders of two operands, for any device.
    Ports: `i`, a stream of vectors, one a beat; `o`, a stream of the vectors of their sums. One clock enable freezes
    the whole unit while its output beat waits.
    Pipeline: a register behind the decoder (minifloats only), and behind every `LEVELS` levels of adders, one where
    the family is not named there. Latency: positions - 1 + depth. Interval: one vector a clock.
    """

    def __init__(self, op: ops.MatVec, x: TensorType, family: Family | None = None):
        out, inner = op.weight.shape
        self.op, self.x, self.placed = op, x, family == "xcup"
        self.interval = op.cycles(x, Fold(out, inner))
        self.input, self.output = beats_of(x, inner), beats_of(op.infer(x), out)
        self.plan = self._plan()
        self.decodes = not isinstance(x.codes_format, Int | Bipolar)
        self.registers = self._registers(LEVELS.get(family or "", 1))
        self.depth = sum(self.registers)
        self.latency = self.interval - 1 + self.depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def _plan(self) -> Plan:
        weights, bias, arity = self.op.worth, self.op.bias, 3 if self.placed else 2
        fmt, inner = self.x.codes_format, self.op.weight.shape[1]
        if isinstance(fmt, Bipolar):
            # One bit is worth 2 * bit - 1.
            return plan(2 * weights, bias - weights.sum(axis=1), [(0, 1)] * inner, arity)
        return plan(weights, bias, [grid_range(fmt)] * inner, arity)

    def _registers(self, every: int) -> tuple[bool, ...]:
        """Whether there is a register behind each segment: the decoder, if any, and each level of adders."""
        levels = max(self.plan.levels, 1 - self.decodes)
        return (True,) * self.decodes + tuple((levels - 1 - level) % every == 0 for level in range(levels))

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.pipeline(self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, self.depth)
        pipe = Pipe(m, enable, self.registers)
        values = self._inputs(m, pipe)
        for number, adder in enumerate(self.plan.adders):
            segment = self.decodes + adder.level - 1
            operands = [pipe.use(values[one.value], segment) for one in adder.operands]
            values.append(At(add(m, adder, operands, f"sum_{number}", placed=self.placed), segment))
        for lane, output in zip(self.o.p.lanes, self.plan.outputs, strict=True):
            if isinstance(output, int):
                m.d.comb += lane.eq(output)
            else:
                value = pipe.use(values[output.value], len(self.registers))
                m.d.comb += lane.eq(value.shift_left(output.shift))
        return m

    def _inputs(self, m, pipe: Pipe) -> list[At]:
        codes = split(self.i.p.as_value()[: self.input.data_bits], lane_shape(self.input), self.input.lanes)
        fmt = self.x.codes_format
        if isinstance(fmt, Bipolar):
            return [pipe.made(code, 0, f"x_{n}") for n, code in enumerate(codes)]
        return [pipe.made(decode(fmt, code).worth, 0, f"x_{n}") for n, code in enumerate(codes)]
