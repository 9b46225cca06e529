"""A test bench for components with one input and one output stream: random stalls, frame delimiters, beat times."""

from dataclasses import dataclass

import numpy as np
from amaranth.sim import Simulator

from hwgen.ir import Beats


@dataclass(frozen=True)
class Outcome:
    """Codes of shape (frames, codes), and the cycle in which each beat was accepted at the input and the output."""

    codes: np.ndarray
    taken: list[int]
    given: list[int]


def _beats(frames: np.ndarray, beats: Beats) -> list[dict]:
    lanes = np.asarray(frames).reshape(-1, beats.beats, beats.lanes)

    def fields(lane: np.ndarray) -> dict:
        if not beats.shared:
            return {"lanes": lane.tolist()}
        return {"lanes": (lane & ((1 << beats.bits) - 1)).tolist(), "shared": int(lane[0] >> beats.bits)}

    return [
        {**fields(lane), "first": int(n == 0), "last": int(n == beats.beats - 1)}
        for frame in lanes
        for n, lane in enumerate(frame)
    ]


class Bench:
    """A component with its simulator, which is built once; each stream starts from the reset state."""

    def __init__(self, dut) -> None:
        self.dut = dut
        self.simulator = Simulator(dut)
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self._testbench)
        self.run = None

    async def _testbench(self, ctx) -> None:
        await self.run(ctx)

    def stream(self, frames: np.ndarray, *, valid: float = 1.0, ready: float = 1.0, seed: int = 0) -> Outcome:
        """Send `frames` (frames, codes) through; `valid` and `ready` are probabilities in each cycle."""
        dut = self.dut
        source, total = _beats(frames, dut.input), len(frames) * dut.output.beats
        rng = np.random.default_rng(seed)
        given: list[int] = []
        taken: list[int] = []
        got: list[list[int]] = []

        async def run(ctx):
            cycle, offered = 0, False
            while len(got) < total:
                offered = len(taken) < len(source) and (offered or rng.random() < valid)
                ctx.set(dut.i.valid, offered)
                if offered:
                    ctx.set(dut.i.payload, source[len(taken)])
                ctx.set(dut.o.ready, rng.random() < ready)
                sampled = await ctx.tick().sample(dut.i.ready, dut.o.valid, dut.o.ready, dut.o.payload)
                can, has, takes, beat = sampled[2:]
                if offered and can:
                    taken.append(cycle)
                    offered = False
                if has and takes:
                    index = len(got) % dut.output.beats
                    assert (beat.first, beat.last) == (index == 0, index == dut.output.beats - 1), f"beat {len(got)}"
                    above = beat.shared << dut.output.bits if dut.output.shared else 0
                    got.append([lane | above if above else lane for lane in beat.lanes])
                    given.append(cycle)
                cycle += 1
                assert cycle < 20000 + 100 * total, f"only {len(got)} of {total} beats came out"

        if self.run:
            self.simulator.reset()
        self.run = run
        self.simulator.run()
        return Outcome(np.array(got).reshape(len(frames), -1), taken, given)


def stream(dut, frames: np.ndarray, *, valid: float = 1.0, ready: float = 1.0, seed: int = 0) -> Outcome:
    """Send `frames` (frames, codes) through `dut` once; `valid` and `ready` are probabilities in each cycle."""
    return Bench(dut).stream(frames, valid=valid, ready=ready, seed=seed)


STALLS = ((1.0, 1.0), (0.5, 0.6), (1.0, 0.4), (0.3, 1.0))


def random_codes(fmt, shape, rng) -> np.ndarray:
    """Random codes of `fmt`, with the extreme ones drawn more often."""
    codes = fmt.codes()
    drawn = rng.choice(codes, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice(codes[[0, -1]], shape), drawn)


def check(dut, want: np.ndarray, frames: np.ndarray, stalls=STALLS) -> None:
    """The component gives `want` (frames, codes) whatever the stalls, and keeps its promises.

    Without stalls the first frame takes `latency` clocks and frames follow each other every `interval` clocks.
    """
    bench = Bench(dut)
    for seed, (valid, ready) in enumerate(stalls):
        got = bench.stream(frames, valid=valid, ready=ready, seed=seed)
        np.testing.assert_array_equal(got.codes, want.reshape(len(frames), -1), err_msg=f"stalls {valid}, {ready}")
        if (valid, ready) == (1.0, 1.0):
            ends = got.given[dut.output.beats - 1 :: dut.output.beats]
            assert ends[0] - got.taken[0] == dut.latency
            assert set(np.diff(ends)) <= {dut.interval}
