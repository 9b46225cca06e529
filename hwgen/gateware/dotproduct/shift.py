"""Shifts to fixed point in stages of multiplexers, cut so that each fits in six-input cells."""

from dataclasses import dataclass
from functools import lru_cache

from amaranth.hdl import Cat, Const, Mux, Value

CELL_INPUTS = 6


@dataclass(frozen=True)
class ShiftPlan:
    """Select bits handled by each stage, the lowest first, and the LUTs of all stages but an absorbed last one."""

    stages: tuple[int, ...]
    cells: int


def _compositions(bits: int) -> list[tuple[int, ...]]:
    if bits == 0:
        return [()]
    return [(first, *rest) for first in (1, 2, 3) if first <= bits for rest in _compositions(bits - first)]


@lru_cache(maxsize=256)
def plan_shift(width: int, greatest: int, absorbed_inputs: int | None = None) -> ShiftPlan:
    """The cheapest stages for shifting `width` bits left by 0..`greatest`.

    absorbed_inputs: the last stage goes into the cells of an adder, which have so many inputs left; None: it has cells
    of its own. Each output bit of a stage of k select bits chooses among the bits of its input that are a multiple of
    the stage's step away, so that a narrow field takes few inputs even with many select bits.
    """
    plans = []
    for stages in _compositions(greatest.bit_length()):
        cells, field, done, fits = 0, width, 0, True
        for number, k in enumerate(stages):
            step = 1 << done
            sources = min(-(-field // step), 1 << k)
            inputs = sources + k
            done += k
            field = min(field + step * ((1 << k) - 1), width + greatest)
            last = number == len(stages) - 1
            if last and absorbed_inputs is not None:
                fits = fits and inputs <= absorbed_inputs
            else:
                cells += field * (1 if inputs <= CELL_INPUTS else 2 if inputs <= CELL_INPUTS + 2 else 4)
        if fits:
            plans.append(ShiftPlan(stages, cells))
    # Single select bits always fit.
    return min(plans, key=lambda plan: (plan.cells, len(plan.stages)))


def shift_stage(value: Value, select: Value, plan: ShiftPlan, number: int, limit: int) -> Value:
    """Stage `number` of `plan`: `value` shifted by its part of `select`, cut to `limit` bits."""
    first = sum(plan.stages[:number])
    bits = list(value)
    for place in range(first, first + plan.stages[number]):
        bits = _shift_by(bits, select[place], 1 << place, limit)
    return Cat(*bits)


def _shift_by(bits: list[Value], choice: Value, step: int, limit: int) -> list[Value]:
    """`bits` or, where `choice` is high, `bits` shifted left.

    Beyond the ends it is an AND: of a multiplexer with zero synthesis would make a synchronous reset of a register
    behind it, whose gating with the clock enable takes cells.
    """
    out = []
    for place in range(min(len(bits) + step, limit)):
        if place < step:
            out.append(bits[place] & ~choice if place < len(bits) else Const(0, 1))
        elif place < len(bits):
            out.append(Mux(choice, bits[place - step], bits[place]))
        else:
            out.append(bits[place - step] & choice)
    return out
