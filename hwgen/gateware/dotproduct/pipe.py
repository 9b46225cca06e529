"""Pipelines whose registers are chosen after their logic: segments of logic, with or without a register behind each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from amaranth.hdl import Const, Module, Shape, Signal, Value

from hwgen.errors import HwgenError
from hwgen.tools.resources import Family

# Estimated delays in ns of one LUT with its routing and of one bit of a carry chain. UltraScale+ is the middle of what
# its data sheets allow for (speed grade -1); ECP5 is what nextpnr reports (speed grade -6).
DELAYS: dict[Family, tuple[float, float]] = {"xcup": (0.45, 0.03), "ecp5": (0.95, 0.07), "ice40": (1.2, 0.14)}
# Clock to output, setup and the routing to the first LUT.
OVERHEAD: dict[Family, float] = {"xcup": 0.35, "ecp5": 1.2, "ice40": 1.5}


@dataclass(frozen=True)
class Segment:
    """Logic between two places for registers: levels of LUTs and bits of carry chains, one after the other."""

    name: str
    luts: int
    carry: int = 0

    def delay(self, family: Family) -> float:
        lut, carry = DELAYS[family]
        return self.luts * lut + self.carry * carry


def choose_registers(segments: Sequence[Segment], levels: int, family: Family) -> tuple[bool, ...]:
    """Where `levels` registers go so that the slowest stretch between them is quickest; one flag for each segment.

    The last register stands behind the last segment. Raises HwgenError for more registers than there are segments.
    """
    count = len(segments)
    if not 0 <= levels <= count:
        raise HwgenError(f'pipeline has 0 to {count} registers here, one behind each part, or is "auto"; not {levels}')
    if levels == 0:
        return (False,) * count
    # best[n][k]: the least slowest stretch of the first n segments cut into k, and where the last stretch begins.
    best: list[dict[int, tuple[float, int]]] = [{0: (0.0, 0)}]
    for end in range(1, count + 1):
        here: dict[int, tuple[float, int]] = {}
        for cuts in range(1, min(end, levels) + 1):
            here[cuts] = min(
                (max(best[start][cuts - 1][0], _stretch(segments[start:end], family)), start)
                for start in range(end)
                if cuts - 1 in best[start]
            )
        best.append(here)
    flags = [False] * count
    end = count
    for cuts in range(levels, 0, -1):
        flags[end - 1] = True
        end = best[end][cuts][1]
    return tuple(flags)


def _stretch(segments: Sequence[Segment], family: Family) -> float:
    return OVERHEAD[family] + sum(segment.delay(family) for segment in segments)


def slowest(segments: Sequence[Segment], registers: Sequence[bool], family: Family) -> float:
    """Estimated delay in ns of the slowest stretch between registers, the unregistered ends taken as stretches too."""
    ends = [0, *(n + 1 for n, flag in enumerate(registers) if flag)]
    if ends[-1] != len(segments):
        ends.append(len(segments))
    return max(_stretch(segments[a:b], family) for a, b in pairwise(ends))


def levels_for(segments: Sequence[Segment], megahertz: float, family: Family) -> int:
    """The fewest registers whose estimated clock reaches `megahertz`.

    Raises HwgenError where no number of them does.
    """
    for levels in range(1, len(segments) + 1):
        if slowest(segments, choose_registers(segments, levels, family), family) <= 1000 / megahertz:
            return levels
    reached = 1000 / slowest(segments, (True,) * len(segments), family)
    raise HwgenError(
        f"no pipeline reaches {megahertz:g} MHz on {family}: a register behind each part gives {reached:.0f}"
    )


@dataclass(frozen=True, eq=False)
class At:
    """A value and the segment that makes it."""

    value: Value
    segment: int


class Pipe:
    """Carries values from the segment that makes them to the segments that use them, through the registers between."""

    def __init__(self, m: Module, enable: Value, registers: Sequence[bool]):
        self.m, self.enable, self.registers = m, enable, tuple(registers)
        self._held: dict[tuple[int, int], At] = {}
        self._kept: list[At] = []

    @property
    def depth(self) -> int:
        """Clocks from the inputs to what the last segment makes."""
        return sum(self.registers)

    def made(self, value: Value, segment: int, name: str) -> At:
        """`value`, made by the logic of `segment`, as a named signal."""
        if isinstance(value, Const):
            return At(value, segment)
        signal = Signal(value.shape(), name=name)
        self.m.d.comb += signal.eq(value)
        return At(signal, segment)

    def use(self, at: At, segment: int, *, reset_less: bool = True) -> Value:
        """The value of `at` as the logic of `segment` sees it; `segment` may be one past the last for the outputs."""
        assert at.segment <= segment, "a value is used before it is made"
        for place in range(at.segment, segment):
            if not self.registers[place] or isinstance(at.value, Const):
                continue
            key = (id(at), place)
            if key not in self._held:
                held = Signal(Shape.cast(at.value.shape()), name=f"{_name(at.value)}_q", reset_less=reset_less)
                with self.m.If(self.enable):
                    self.m.d.sync += held.eq(at.value)
                self._held[key] = At(held, place + 1)
                self._kept.append(at)
            at = self._held[key]
        return at.value


def _name(value: Value) -> str:
    return value.name if isinstance(value, Signal) else "value"
