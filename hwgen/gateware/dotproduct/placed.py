"""Dot products of minifloats in cells of UltraScale+ placed by hand: half the LUTs of what synthesis makes.

- Shifters are rows of multiplexers, two outputs in one LUT6_2 wherever five inputs are enough for both. The last row of
  a coarse shifter has few sources for each output, so that several select bits and the sign fit into it: it gives the
  product's complement where the product is negative, for nothing.
- A tree adds three numbers with one LUT6_2 and one carry bit for each bit of the sum. Of the ones that make complements
  negative numbers an adder takes two along: one for nothing, one for a LUT. A third operand whose sign was not applied
  is complemented inside the adder.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from amaranth.hdl import Cat, Const

from hwgen.gateware.arith.pack import LUT_INPUTS, Packer, pair_up
from hwgen.gateware.arith.tree import ternary_cells
from hwgen.gateware.dotproduct.add import fit, shape_of
from hwgen.gateware.dotproduct.lane import Form, Product
from hwgen.gateware.dotproduct.pipe import At, Pipe, Segment


@dataclass(frozen=True)
class Shifter:
    """What a shifter of one lane must do.

    width: bits of the significand; most: the greatest shift; drop: low bits of the result that no product reaches;
    bits: of the result. signed: whether the result is complemented where the product is negative.
    """

    width: int
    most: int
    drop: int
    bits: int
    signed: bool


def sources(width: int, done: int, stage: int, most: int, place: int) -> list[tuple[int, int]]:
    """(select, bit of the input) that output `place` of a stage chooses among; it has `stage` select bits from `done`
    on, and the whole shift is at most `most`."""
    choices = range(min((1 << stage) - 1, most >> done) + 1)
    found = [(choice, place - (choice << done)) for choice in choices]
    return [(choice, bit) for choice, bit in found if 0 <= bit < width]


def reach(width: int, done: int, stage: int, most: int) -> int:
    """Bits of a stage's output."""
    return width + (min((1 << stage) - 1, most >> done) << done)


@lru_cache(maxsize=256)
def plan(shifter: Shifter) -> tuple[int, ...]:
    """Select bits of each stage, the lowest first, in the fewest cells; of those with as many, in the fewest stages."""
    found = []
    for stages in _compositions(shifter.most.bit_length()):
        cost = _cells(shifter, stages)
        if cost is not None:
            found.append((cost, len(stages), stages))
    return min(found)[2]


def _compositions(bits: int) -> list[tuple[int, ...]]:
    if bits == 0:
        return [()]
    return [(first, *rest) for first in range(1, min(4, bits) + 1) for rest in _compositions(bits - first)]


def _cells(shifter: Shifter, stages: tuple[int, ...]) -> int | None:
    """Cells of a shifter, None where an output has more inputs than a LUT."""
    width, done, total = shifter.width, 0, 0
    for number, stage in enumerate(stages or (0,)):
        last = number == max(len(stages) - 1, 0)
        end = reach(width, done, stage, shifter.most)
        places = range(shifter.drop, min(end, shifter.drop + shifter.bits)) if last else range(end)
        extra = frozenset(range(-stage - int(last and shifter.signed), 0))
        chosen = [{bit for _, bit in sources(width, done, stage, shifter.most, place)} for place in places]
        functions = [extra | bits for bits in chosen if bits]
        if any(len(one) > LUT_INPUTS for one in functions):
            return None
        total += len(pair_up(tuple(one for one in functions if len(one) > 1)))
        width, done = end, done + stage
    return total


@dataclass(frozen=True, eq=False)
class Term:
    """A value in low..high, to be complemented where `flip` is high, if there is one."""

    value: At
    low: int
    high: int
    flip: At | None = None


@dataclass
class Sum:
    """Terms to be added up, and single bits of the lowest weight that belong to the sum."""

    terms: list[Term]
    ones: list[At] = field(default_factory=list)


def levels(terms: int, ones: int) -> int:
    """Levels of the tree over so many terms and single bits."""
    count = 0
    while terms > 1 or ones:
        groups = terms // 3 or 1
        places = 2 * groups + max(3 - terms, 0)
        terms, ones, count = terms - (2 * groups if terms > 2 else terms - 1), max(ones - places, 0), count + 1
    return count


def segments(one: Form, lanes: int, sum_bits: int) -> list[Segment]:
    """The parts of `placed_dot` for products of this form, for placing registers."""
    parts = [Segment("product", 4, one.width + 4)]
    parts += [Segment(f"shift{n}", 1) for n in range(_stages(one))]
    count = levels(lanes, lanes if one.signed else 0)
    return parts + [Segment(f"add{n}", 2, sum_bits) for n in range(count)]


def _shifter(one: Form, *, signed: bool) -> Shifter:
    return Shifter(one.width, one.greatest_shift, one.drop, one.greatest.bit_length(), signed)


def _stages(one: Form) -> int:
    """Stages of the longer one of both shifters, 1 at least."""
    return max(1, *(len(plan(_shifter(one, signed=signed))) for signed in (False, True)))


def placed_dot(pipe: Pipe, cells: Packer, products: Sequence[Product]) -> At:
    """The sum of the products."""
    stages = _stages(Form.of(products[0]))
    total = Sum([])
    for lane, one in enumerate(products):
        sign = None if isinstance(one.sign, Const) else pipe.made(one.sign, 0, f"sign_{lane}")
        # The third of three terms keeps its sign to itself.
        total.terms.append(_term(pipe, cells, one, sign, lane, stages, late=lane % 3 == 2))
        total.ones += [] if sign is None else [sign]
    return tree(pipe, 1 + stages, total)


def _term(pipe: Pipe, cells: Packer, one: Product, sign: At | None, lane: int, stages: int, *, late: bool) -> Term:
    shift = pipe.made(one.shift, 0, f"shift_{lane}")
    value = pipe.made(one.significand, 0, f"product_{lane}")
    shifter = _shifter(Form.of(one), signed=sign is not None and not late)
    steps = plan(shifter) or ((0,) if shifter.signed else ())
    done = 0
    for number, stage in enumerate(steps):
        segment = 1 + number + stages - len(steps)
        last = number == len(steps) - 1
        bits = list(pipe.use(value, segment))
        select = list(pipe.use(shift, segment))[done : done + stage]
        turn = [pipe.use(sign, segment)] if sign is not None and last and shifter.signed else []
        end = reach(len(bits), done, stage, shifter.most)
        places = range(shifter.drop, min(end, shifter.drop + shifter.bits)) if last else range(end)
        out = []
        for place in places:
            chosen = sources(len(bits), done, stage, shifter.most, place)
            out.append(
                cells.lut(
                    f"shift {segment}",
                    f"shift_{lane}_{number}_{place}",
                    [*(bits[bit] for _, bit in chosen), *select, *turn],
                    multiplexer([choice for choice, _ in chosen], stage),
                )
            )
        value = pipe.made(Cat(*out), segment, f"shifted_{lane}_{number}")
        done += stage
    if sign is None or late:
        return Term(value, 0, one.greatest, sign)
    signed = Cat(pipe.use(value, stages), pipe.use(sign, stages)).as_signed()
    return Term(pipe.made(signed, stages, f"term_{lane}"), -one.greatest - 1, one.greatest)


def multiplexer(choices: Sequence[int], stage: int):
    """A function of the bits to choose among, select bits and, if there is one more, of the sign."""

    def chosen(*bits: int) -> int:
        select = sum(bit << n for n, bit in enumerate(bits[len(choices) : len(choices) + stage]))
        found = next((bit for choice, bit in zip(choices, bits, strict=False) if choice == select), 0)
        return found ^ sum(bits[len(choices) + stage :])

    return chosen


def tree(pipe: Pipe, segment: int, total: Sum, name: str = "sum") -> At:
    """The sum of all terms and bits, a level of adders in each segment from `segment` on."""
    level = 0
    while len(total.terms) > 1 or total.ones or total.terms[0].flip is not None:
        total = _level(pipe, segment, total, f"{name}_{level}")
        segment, level = segment + 1, level + 1
    return total.terms[0].value


def _level(pipe: Pipe, segment: int, total: Sum, name: str) -> Sum:
    terms, out = list(total.terms), Sum([], list(total.ones))
    size = 3 if len(terms) > 2 else max(len(terms), 1)
    number = 0
    while len(terms) >= size:
        group, terms = terms[:size], terms[size:]
        out.terms.append(_add(pipe, segment, group, out.ones, f"{name}_{number}"))
        number += 1
    out.terms += terms
    return out


def _add(pipe: Pipe, segment: int, group: Sequence[Term], ones: list[At], name: str) -> Term:
    """The sum of one to three terms; takes as many of `ones` as it has places for."""
    # A term that is complemented in the adder comes last.
    ordered = sorted(group, key=lambda term: term.flip is not None)
    low = sum(-term.high - 1 if term.flip is not None else term.low for term in ordered)
    high = sum(term.high for term in ordered)
    flip = ordered[-1].flip
    assert flip is None or (len(group) == 3 and not any(term.flip for term in ordered[:-1])), "one of three turns"
    values = [pipe.use(term.value, segment) for term in ordered]
    # The lowest bit of a term that is not there is a place too.
    while len(values) < 3:
        values.append(pipe.use(ones.pop(0), segment) if len(ones) > 2 else Const(0, 1))
        high += 1
    taken = [pipe.use(ones.pop(0), segment) for _ in range(min(len(ones), 2))]
    high += len(taken)
    turned = None if flip is None else pipe.use(flip, segment)
    made = ternary_cells(pipe.m, values, shape_of(low, high), name, ones=taken, flip=turned)
    return Term(pipe.made(fit(made, low, high), segment, f"{name}_at"), low, high)
