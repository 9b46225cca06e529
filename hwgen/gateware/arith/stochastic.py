"""Random numbers for stochastic rounding: one linear feedback shift register a lane, as `hwgen.formats.Stochastic`."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.formats import Stochastic

WIDTH = 32
FED_BACK = (31, 21, 1, 0)
"""The bits whose xor is shifted in: x^32 + x^22 + x^2 + x + 1."""


def stepped(state: int, steps: int) -> int:
    """The register after some steps."""
    for _ in range(steps):
        bit = 0
        for tap in FED_BACK:
            bit ^= state >> tap
        state = (state << 1 | bit & 1) & ((1 << WIDTH) - 1)
    return state


class Lfsr(wiring.Component):
    """A random number a lane, a new one after each enabled clock.

    Parameter: `stochastic`: bits of a number, seed and lanes. Each lane's register of 32 bits takes `bits` steps for a
    number, which is then its low bits; the first number stands at the output from the start.
    Ports: `random`, an array of lanes; `enable`, which moves all registers on. Latency: 0. Interval: 1.
    """

    def __init__(self, stochastic: Stochastic):
        self.stochastic = stochastic
        self.latency, self.interval = 0, 1
        super().__init__({"random": Out(data.ArrayLayout(stochastic.bits, stochastic.lanes)), "enable": In(1)})

    def elaborate(self, platform):
        m = Module()
        count = self.stochastic.bits
        for lane in range(self.stochastic.lanes):
            start = stepped(self.stochastic.start(lane), count)
            state = Signal(WIDTH, name=f"state_{lane}", init=start)
            # Newest first, each new bit a signal: those after it are made of it.
            bits: list[Value] = list(state)
            for step in range(count):
                bit = Signal(name=f"bit_{lane}_{step}")
                m.d.comb += bit.eq(Cat(bits[tap] for tap in FED_BACK).xor())
                bits.insert(0, bit)
            with m.If(self.enable):
                m.d.sync += state.eq(Cat(bits[:WIDTH]))
            m.d.comb += self.random[lane].eq(state[:count])
        return m
