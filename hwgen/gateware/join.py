"""Where branches meet: a queue for each of the streams, then their sum, or one behind the other."""

import functools
import operator
from types import SimpleNamespace

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.formats import Blocked, Int
from hwgen.formats.grid import grid_range
from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, payload, signature
from hwgen.gateware.decode import decode, scaled
from hwgen.gateware.fifo import Fifo
from hwgen.gateware.pipeline import carry_frame, counter, range_shape, register
from hwgen.ir import TensorType
from hwgen.ops import Add, Concat, Multiply


class Join(wiring.Component):
    """What sums and concatenations share: inputs `i0`, `i1`, ... with a queue each, and an output `o`.

    Parameters: `op`; `inputs`, the types of the tensors; `lanes`, which divide the channels of each; `depths`, beats
    that wait at each input for those of the others (hwgen.gateware.branches tells how many have to).
    """

    def __init__(self, op: Add | Concat | Multiply, inputs: list[TensorType], lanes: int, depths: list[int]):
        self.op, self.types = op, inputs
        self.inputs = [beats_of(x, lanes) for x in inputs]
        self.input, self.output = self.inputs[0], beats_of(op.infer(*inputs), lanes)
        self.queues = [Fifo(beats, depth) for beats, depth in zip(self.inputs, depths, strict=True)]
        self.interval = self.output.beats
        self.latency = self.interval - 1 + 2 + self.depth
        ports = {f"i{n}": In(signature(beats)) for n, beats in enumerate(self.inputs)}
        super().__init__({**ports, "o": Out(signature(self.output))})

    def begin(self, m):
        """(the queues' outputs, what is taken of them, the output's lanes to drive, the clock enable).

        Our own output comes first in the module, so that it is its wires that are called after the port, and not those
        of the queues: simulations watch them by name.
        """
        given = SimpleNamespace(
            valid=Signal(name="given"), ready=self.o.ready, p=Signal(payload(self.output), name="beat")
        )
        taken = SimpleNamespace(
            valid=Signal(name="there"), ready=Signal(name="taken"), p=Signal(payload(self.input), name="meeting")
        )
        m.d.comb += [self.o.payload.eq(given.p), self.o.valid.eq(given.valid)]
        enable = carry_frame(m, taken, given, self.depth)
        for n, queue in enumerate(self.queues):
            m.submodules[f"queue{n}"] = queue
            wiring.connect(m, wiring.flipped(getattr(self, f"i{n}")), queue.i)
        return [queue.o for queue in self.queues], taken, given.p, enable


class Lanewise(Join):
    """Sums and products: a beat leaves the queues when there is one in each, and its lanes meet each other."""

    def timing(self, sink: timing.Push) -> list[timing.Push]:
        return timing.join([queue.size for queue in self.queues], [1] * len(self.queues), self.depth, sink)

    def elaborate(self, platform):
        m = Module()
        queues, taken, beat, enable = self.begin(m)
        m.d.comb += [
            taken.valid.eq(functools.reduce(operator.and_, [queue.valid for queue in queues])),
            taken.p.eq(queues[0].payload),
        ]
        m.d.comb += [queue.ready.eq(enable & taken.valid) for queue in queues]
        scales = [
            register(m, enable, queue.p.shared, f"scale_{n}") if isinstance(fmt, Blocked) else None
            for n, (queue, fmt) in enumerate(zip(queues, self.op.formats, strict=True))
        ]
        for lane in range(self.output.lanes):
            codes = [queue.p.lanes[lane] for queue in queues]
            m.d.comb += beat.lanes[lane].eq(self._lane(m, enable, codes, scales, lane))
        return m


class Sum(Lanewise):
    """y = sum over n of factors[n] * worth(x[n]), exact.

    A beat leaves the queues when there is one in each. Parameters, ports: see Join. One clock enable freezes the unit
    while its output beat waits; what comes in goes on to queue up.
    Pipeline: elements (where inputs are blocks, whose scales shift them next), products (unless all inputs are integers
    and all factors 1), then a tree of adders, a register a level: depth clocks behind the queues, which take 2.
    Latency: beats + 1 + depth. Interval: one beat a clock.
    """

    def __init__(self, op: Add, inputs: list[TensorType], lanes: int, depths: list[int]):
        self.scales = any(isinstance(fmt, Blocked) for fmt in op.formats)
        self.multiplies = any(f != 1 for f in op.factors) or not all(isinstance(fmt, Int) for fmt in op.formats)
        self.depth = self.scales + self.multiplies + (len(inputs) - 1).bit_length()
        super().__init__(op, inputs, lanes, depths)

    def _lane(self, m, enable, codes, scales, lane):
        terms = []
        for n, (code, scale, (low, high)) in enumerate(zip(codes, scales, self.op.ends, strict=True)):
            value = Signal(range_shape(low, high), name=f"term_{lane}_{n}")
            m.d.comb += value.eq(self._worth(m, enable, code, scale, f"{lane}_{n}", n) * self.op.factors[n])
            held = register(m, enable, value, f"product_{lane}_{n}") if self.multiplies else value
            terms.append((held, low, high))
        level = 0
        while len(terms) > 1:
            added = []
            for n in range(0, len(terms), 2):
                pair = terms[n : n + 2]
                low, high = sum(one[1] for one in pair), sum(one[2] for one in pair)
                value = Signal(range_shape(low, high), name=f"sum_{lane}_{level}_{n}")
                m.d.comb += value.eq(sum((one[0] for one in pair[1:]), start=pair[0][0]))
                added.append((register(m, enable, value, f"total_{lane}_{level}_{n}"), low, high))
            terms, level = added, level + 1
        return terms[0][0]

    def _worth(self, m, enable, code, scale, name, n):
        """What a code is worth on its format's grid; a clock later where blocks are among the inputs."""
        fmt = self.op.formats[n]
        element = fmt.block.element if isinstance(fmt, Blocked) else fmt
        worth = decode(element, code).worth
        worth = register(m, enable, worth, f"element_{name}") if self.scales else worth
        return worth if scale is None else scaled(fmt, worth, scale)


class Product(Lanewise):
    """y = (worth(x0) - zero point) * (worth(x1) - zero point), exact.

    A beat leaves the queues when there is one in each. Parameters, ports: see Join. One clock enable freezes the unit
    while its output beat waits; what comes in goes on to queue up.
    Pipeline: factors, product, and where inputs are blocks their scales: depth clocks behind the queues, which take 2.
    Latency: beats + 1 + depth. Interval: one beat a clock.
    """

    def __init__(self, op: Multiply, inputs: list[TensorType], lanes: int, depths: list[int]):
        self.scales = any(isinstance(fmt, Blocked) for fmt in op.formats)
        self.depth = 2 + self.scales
        super().__init__(op, inputs, lanes, depths)

    def _lane(self, m, enable, codes, scales, lane):
        factors, bounds = [], [1, 1]
        for n, (code, fmt, zero) in enumerate(zip(codes, self.op.formats, self.op.zero_points, strict=True)):
            element = fmt.block.element if isinstance(fmt, Blocked) else fmt
            low, high = (end - zero for end in grid_range(element))
            value = Signal(range_shape(low, high), name=f"worth_{lane}_{n}")
            m.d.comb += value.eq(decode(element, code).worth - zero)
            factors.append(register(m, enable, value, f"factor_{lane}_{n}"))
            found = [a * b for a in bounds for b in (low, high)]
            bounds = [min(found), max(found)]
        product = Signal(range_shape(*bounds), name=f"times_{lane}")
        m.d.comb += product.eq(factors[0] * factors[1])
        value = register(m, enable, product, f"product_{lane}")
        if not self.scales:
            return value
        moved = Signal(range_shape(*self.op.bounds), name=f"moved_{lane}")
        worth = value
        for n, (fmt, scale) in enumerate(zip(self.op.formats, scales, strict=True)):
            if scale is not None:
                worth = scaled(fmt, worth, register(m, enable, scale, f"scale_{lane}_{n}"))
        m.d.comb += moved.eq(worth)
        return register(m, enable, moved, f"scaled_{lane}")


class Beside(Join):
    """The channels of the first tensor, then those of the next, vector by vector.

    The inputs take turns. Parameters, ports: see Join. Pipeline: a register behind the queues, which take 2 clocks:
    depth = 1. Latency: beats + 2. Interval: one output beat a clock.
    """

    depth = 1

    def __init__(self, op: Concat, inputs: list[TensorType], lanes: int, depths: list[int]):
        self.turns = [x.channels // lanes for x in inputs]
        super().__init__(op, inputs, lanes, depths)

    def timing(self, sink: timing.Push) -> list[timing.Push]:
        return timing.join([queue.size for queue in self.queues], self.turns, self.depth, sink, together=False)

    def elaborate(self, platform):
        m = Module()
        queues, taken, out, enable = self.begin(m)
        last = len(queues) - 1
        turn = Signal(range(len(queues)))
        beat, valid = self._moved(m, queues[0].p, 0), queues[0].valid
        for n, queue in enumerate(queues):
            _, _, end = counter(m, queue.valid & queue.ready, self.turns[n], f"beat_{n}")
            m.d.comb += queue.ready.eq(enable & (turn == n))
            with m.If(queue.valid & queue.ready & end):
                m.d.sync += turn.eq(0 if n == last else n + 1)
            if n:
                beat = Mux(turn == n, self._moved(m, queue.p, n), beat)
                valid = Mux(turn == n, queue.valid, valid)
        m.d.comb += [
            taken.valid.eq(valid),
            taken.p.first.eq((turn == 0) & queues[0].p.first),
            taken.p.last.eq((turn == last) & queues[last].p.last),
        ]
        codes = register(m, enable, beat, "codes")
        m.d.comb += out.lanes.eq(codes[: self.output.lane_bits])
        if self.output.shared:
            m.d.comb += out.shared.eq(codes[self.output.lane_bits :])
        return m

    def _moved(self, m, beat, n) -> Signal:
        """The codes of a beat of input `n` as those of the output."""
        factors, offsets = self.op.moves(len(self.inputs))
        moved = Signal(payload(self.output), name=f"moved_{n}")
        if self.output.shared:
            # What is added to codes of blocks is added to their scale alone.
            m.d.comb += moved.lanes.eq(beat.lanes)
            m.d.comb += moved.shared.eq(beat.shared + (offsets[n] >> self.output.bits))
        else:
            for lane in range(self.output.lanes):
                m.d.comb += moved.lanes[lane].eq(beat.lanes[lane] * factors[n] + offsets[n])
        return moved.as_value()[: self.output.data_bits]


JOINS = {Add: Sum, Concat: Beside, Multiply: Product}
"""The component of each join."""
