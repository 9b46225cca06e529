import numpy as np
import pytest
from amaranth.hdl import signed
from amaranth.sim import Simulator

from hwgen.errors import HwgenError
from hwgen.gateware.dotproduct.accumulate import FixedAccumulator, Fp32Accumulator

SUM, EXPONENT = signed(42), signed(10)


def drive(dut, rows, *, stall=0.3, seed=3):
    """Totals of rows of (sum, exponent, nan, last): a list of dicts of the outputs."""
    rng = np.random.default_rng(seed)
    outputs = [name for name in ("total", "nan_out", "saturated") if hasattr(dut, name)]
    found = []

    async def run(ctx):
        position = 0
        while position < len(rows) + dut.latency:
            moves, offered = rng.random() >= stall, position < len(rows) and rng.random() >= stall
            ctx.set(dut.enable, moves)
            ctx.set(dut.valid, offered)
            if offered:
                for name, value in zip(("sum", "exponent", "nan", "last"), rows[position], strict=True):
                    ctx.set(getattr(dut, name), int(value))
            if moves and ctx.get(dut.valid_out):
                found.append({name: ctx.get(getattr(dut, name)) for name in outputs})
            await ctx.tick()
            if moves and (offered or position >= len(rows)):
                position += 1

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(run)
    simulator.run()
    return found


def blocks(rng, count, low, high, reach=1 << 41):
    """Random blocks: sums of all sizes, exponents in low..high, few NaN, totals of 1 to 6 blocks."""
    size = 2.0 ** rng.uniform(0, np.log2(reach), count)
    sums = np.where(rng.random(count) < 0.1, 0, rng.choice([-1, 1], count) * size.astype(np.int64))
    exponents = rng.integers(low, high + 1, count)
    last = rng.random(count) < 0.3
    last[-1] = True
    return list(zip(sums, exponents, rng.random(count) < 0.02, last, strict=True))


def totals(rows):
    """The rows of each total."""
    group = []
    for row in rows:
        group.append(row)
        if row[3]:
            yield group
            group = []


def test_fixed_sums_are_exact_inside_the_window_and_flagged_outside():
    rng = np.random.default_rng(1)
    rows = blocks(rng, 400, -14, 14)
    got = drive(FixedAccumulator(SUM, EXPONENT, (-10, 10), 64), rows)
    for group, found in zip(totals(rows), got, strict=True):
        assert found["nan_out"] == any(row[2] for row in group)
        assert found["saturated"] == any(row[0] != 0 and not -10 <= row[1] <= 10 for row in group)
        assert found["total"] == sum(int(row[0]) << (min(max(row[1], -10), 10) + 10) for row in group)


def fp32(total, exponent):
    """total * 2**exponent in FP32, rounded once: the integer has 53 bits or fewer."""
    with np.errstate(over="ignore", under="ignore"):
        return np.float32(np.ldexp(float(total), int(exponent)))


@pytest.mark.parametrize(("low", "high"), [(-20, -10), (-195, -165), (60, 110), (-60, 60)])
def test_fp32_sums_are_those_of_numpy(low, high):
    rng = np.random.default_rng(2)
    rows = blocks(rng, 300, low, high)
    # Blocks that cancel the one before, ties, and powers of two.
    rows += [(1 << 40, high, 0, 0), (-(1 << 40), high, 0, 1), (3, high, 0, 0), (-3, high, 0, 0), (1, low, 0, 1)]
    rows += [((1 << 24) + n, low, 0, n % 2) for n in range(12)] + [(1, high, 0, 0), (1, high - 24, 0, 1)]
    got = drive(Fp32Accumulator(SUM, EXPONENT), rows)
    for group, found in zip(totals(rows), got, strict=True):
        want = np.float32(0)
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for row in group:
                want = want + (np.float32(np.nan) if row[2] else fp32(row[0], row[1]))
        code = int(np.float32(want).view(np.uint32))
        assert found["total"] == (0x7FC00000 if np.isnan(want) else code), group
        assert found["nan_out"] == np.isnan(want)


def test_an_empty_window_and_no_blocks_are_refused():
    with pytest.raises(HwgenError, match=r"a window is \(least, greatest\) exponent, not \(3, 2\)"):
        FixedAccumulator(SUM, EXPONENT, (3, 2), 4)
    with pytest.raises(HwgenError, match=r"a sum over blocks has 1 block or more, not 0"):
        FixedAccumulator(SUM, EXPONENT, (0, 2), 0)
