"""Requantization by multiply, shift, round and clip, in pipeline stages that are left out where they do nothing."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Const, Module, Mux, Signal, Value

from hwgen import ops
from hwgen.gateware.beat import lane_shape
from hwgen.gateware.elementwise import Elementwise, by_fold
from hwgen.gateware.pipeline import carry_frame, counter, range_shape, register, rom
from hwgen.ir import TensorType


@dataclass(frozen=True)
class Lane:
    """Parameters of the channels that one lane serves, in turn: integer arrays of shape (folds,)."""

    multiplier: np.ndarray
    offset: np.ndarray
    shift: np.ndarray

    def bounds(self, low: int, high: int) -> tuple[int, int]:
        """Bounds of x * multiplier + offset; Python integers, which do not overflow."""
        pairs = zip(self.multiplier.tolist(), self.offset.tolist(), strict=True)
        ends = [end * m + b for m, b in pairs for end in (low, high)]
        return min(ends), max(ends)


def round_up(mode: str, guard: Value, sticky: Value, odd: Value, negative: Value) -> Value:
    """Whether to add one to the floor of a shifted value.

    guard: the highest bit shifted out; sticky: any lower one set; odd: of the floor; negative: of the value.
    """
    return {
        "half_even": guard & (sticky | odd),
        "half_away": guard & (sticky | ~negative),
        "half_zero": guard & (sticky | negative),
        "half_up": guard,
        "down": Const(0, 1),
        "up": guard | sticky,
        "zero": (guard | sticky) & negative,
        "away": (guard | sticky) & ~negative,
    }[mode]


class Requantize(Elementwise):
    """code[c] = clip(round((x[c] * multiplier[c] + offset[c]) / 2**shift[c]) + zero_point, low, high).

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels.
    Ports: `i`, a stream of x; `o`, a stream of codes of as many lanes. One clock enable freezes the whole unit while
    its output beat waits.
    Pipeline: parameters (only where a lane serves channels of different ones), product (unless all multipliers are 1),
    sum (unless all offsets are 0), shift and round (unless no shift does anything), clip. Latency: beats - 1 + depth.
    Interval: one beat a clock.
    """

    def __init__(self, op: ops.Requantize, x: TensorType, lanes: int):
        self.range = ops.integer_range(x)
        fields = [np.broadcast_to(field, (x.channels,)) for field in (op.multiplier, op.offset, op.shift)]
        table = by_fold(np.stack(fields, axis=-1), x, lanes)
        self.lanes = [Lane(*table[:, lane].T) for lane in range(lanes)]
        self.folds = len(table)
        self.multiplies = bool((op.multiplier != 1).any())
        self.negates = bool((np.abs(op.multiplier) == 1).all())
        self.adds = bool((op.offset != 0).any())
        self.shifts = bool(op.shift.any())
        super().__init__(op, x, lanes, depth=(self.folds > 1) + self.multiplies + self.adds + 2 * self.shifts + 1)

    def elaborate(self, platform):
        m = Module()
        enable = carry_frame(m, self.i, self.o, self.depth)
        fold, _, _ = counter(m, enable & self.i.valid, self.folds, "fold")
        for lane, parameters in enumerate(self.lanes):
            code = self._lane(m, enable, self.i.p.lanes[lane], fold, parameters, lane)
            m.d.comb += self.o.p.lanes[lane].eq(code)
        return m

    def _lane(self, m, enable, x, fold, parameters, lane):
        shifts = sorted(set(parameters.shift.tolist()))
        choice = np.searchsorted(shifts, parameters.shift)
        table = np.stack([parameters.multiplier, parameters.offset, choice], axis=-1)
        fields = self._parameters(m, enable, fold, table, lane)
        if self.folds > 1:
            x = register(m, enable, x, f"x_{lane}")
        multiplier, offset, chosen = fields
        if self.multiplies:
            low, high = Lane(parameters.multiplier, 0 * parameters.offset, parameters.shift).bounds(*self.range)
            product = Signal(range_shape(low, high), name=f"times_{lane}")
            m.d.comb += product.eq(Mux(multiplier < 0, -x, x) if self.negates else x * multiplier)
            x = register(m, enable, product, f"product_{lane}")
            offset, chosen = (
                self._later(m, enable, v, f"{n}_{lane}_0") for n, v in zip("bs", (offset, chosen), strict=True)
            )
        low, high = parameters.bounds(*self.range)
        if self.adds:
            total = Signal(range_shape(low, high), name=f"plus_{lane}")
            m.d.comb += total.eq(x + offset)
            x = register(m, enable, total, f"sum_{lane}")
            chosen = self._later(m, enable, chosen, f"s_{lane}_1")
        if self.shifts:
            whole, up = self._shift(m, enable, x, chosen, shifts, parameters, lane)
            x = register(m, enable, whole + up + self.op.zero_point, f"rounded_{lane}")
        else:
            x = x + self.op.zero_point
        clipped = Signal(lane_shape(self.output), name=f"clip_{lane}")
        m.d.comb += clipped.eq(Mux(x < self.op.low, self.op.low, Mux(x > self.op.high, self.op.high, x)))
        return register(m, enable, clipped, f"code_{lane}")

    def _parameters(self, m, enable, fold, table, lane):
        """Multiplier, offset and the chosen shift's number: constants, or of the channel that comes next."""
        fields = []
        for column, name in enumerate(("multiplier", "offset", "shift")):
            (value,) = rom(m, enable, fold, table[:, column : column + 1], f"{name}_{lane}")
            fields.append(value)
        return fields

    def _later(self, m, enable, value, name):
        return value if isinstance(value, Const) else register(m, enable, value, name)

    def _shift(self, m, enable, x, chosen, shifts, parameters, lane):
        """The floor of x / 2**shift and whether to round it up, both registered."""
        low, high = parameters.bounds(*self.range)
        whole = Signal(range_shape(low >> shifts[0], high >> shifts[0]), name=f"floor_{lane}")
        guard, sticky = Signal(name=f"guard_{lane}"), Signal(name=f"sticky_{lane}")
        negative = x < 0
        with m.Switch(chosen):
            for number, shift in enumerate(shifts):
                with m.Case(number) if number + 1 < len(shifts) else m.Default():
                    m.d.comb += whole.eq(x.shift_right(shift))
                    if shift:
                        # Bits above the value are copies of its sign.
                        highest = x[shift - 1] if shift <= len(x) else negative
                        m.d.comb += [guard.eq(highest), sticky.eq(x[: shift - 1].any())]
        up = round_up(self.op.rounding, guard, sticky, whole[0], negative)
        return register(m, enable, whole, f"whole_{lane}"), register(m, enable, up, f"up_{lane}")
