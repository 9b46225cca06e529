"""Units of operations on each number alone: what they share."""

import numpy as np
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hwgen.gateware import timing
from hwgen.gateware.beat import beats_of, signature
from hwgen.ir import Op, TensorType


class Elementwise(wiring.Component):
    """One beat of `op` for each beat of x, `depth` clocks later.

    Parameters: `op`; `x`, the type of its input tensor; `lanes`, which divide the channels; `depth`, clocks.
    Ports: `i`, a stream of x; `o`, a stream of codes of as many lanes.
    Latency: beats - 1 + depth. Interval: one beat a clock.
    """

    def __init__(self, op: Op, x: TensorType, lanes: int, depth: int):
        self.op, self.depth = op, depth
        self.input, self.output = beats_of(x, lanes), beats_of(op.infer(x), lanes)
        self.interval = self.input.beats
        self.latency = self.interval - 1 + depth
        super().__init__({"i": In(signature(self.input)), "o": Out(signature(self.output))})

    def timing(self, sink: timing.Push) -> timing.Push:
        return timing.pipeline(self.depth, sink)


def by_fold(table: np.ndarray, x: TensorType, lanes: int) -> np.ndarray:
    """(channel fold, lane, n) of what each channel of x has, (channels or 1, n); one fold if all are the same.

    Raises HwgenError if lanes do not divide the channels.
    """
    beats_of(x, lanes)
    table = np.broadcast_to(table, (x.channels, table.shape[1])).reshape(-1, lanes, table.shape[1])
    return table[:1] if (table == table[0]).all() else table
