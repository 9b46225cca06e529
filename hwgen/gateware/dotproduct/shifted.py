"""Dot products of minifloats: products of significands, shifted to fixed point in stages, and a tree of adders."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Const, Value

from hwgen.gateware.dotproduct.add import Signed, complement_if, levels, signed_tree
from hwgen.gateware.dotproduct.lane import Product
from hwgen.gateware.dotproduct.pipe import At, Pipe, Segment
from hwgen.gateware.dotproduct.shift import plan_shift, shift_stage

# Inputs of a six-input cell that an adder leaves to the logic before one operand: one is the other operand's, one tells
# whether to subtract.
ABSORBED = 4


def any_of(values: Sequence[Value]) -> Value:
    found = Const(0, 1)
    for value in values:
        if not (isinstance(value, Const) and value.value == 0):
            found = found | value
    return found


def segments(width: int, greatest_shift: int, lanes: int, sum_bits: int) -> list[Segment]:
    """The parts of `shifted_dot`, for placing registers."""
    stages = _stages(width, greatest_shift)
    parts = [Segment("product", 3, width)]
    parts += [Segment(f"shift{n}", 1) for n in range(stages - 1)]
    if levels(lanes) == 0 and stages:
        parts.append(Segment("shift", 1))
    for level in range(levels(lanes)):
        parts.append(Segment(f"add{level}", 2 if level == 0 else 1, sum_bits - levels(lanes) + level + 1))
    parts.append(Segment("sign", 1, sum_bits))
    return parts


def _stages(width: int, greatest_shift: int) -> int:
    if not greatest_shift:
        return 0
    return max(len(plan_shift(width, greatest_shift, spare).stages) for spare in (None, ABSORBED))


def shifted_dot(pipe: Pipe, products: Sequence[Callable[[], Product]]) -> tuple[Signed, At]:
    """(sum, nan) of the lanes' products.

    Of two lanes that meet in an adder the second one's last multiplexers go into the adder's cells; so they are kept
    small, with more stages before them if need be. Signs are not applied to products: an adder adds or subtracts.
    """
    made = [product() for product in products]
    width, most = len(made[0].significand), made[0].greatest_shift
    stages = _stages(width, most)
    terms = []
    for lane, one in enumerate(made):
        spare = ABSORBED if lane % 2 else None
        significand = pipe.made(one.significand, 0, f"product_{lane}")
        shift = pipe.made(one.shift, 0, f"shift_{lane}") if most else At(Const(0, 1), 0)
        plan = plan_shift(width, most, spare)
        # All but the last stage have segments of their own; a plan with fewer stages skips the first of them.
        value = significand
        for number in range(len(plan.stages)):
            segment = 1 + number + stages - len(plan.stages)
            limit = one.greatest.bit_length() + one.drop
            last = number == len(plan.stages) - 1
            moved = shift_stage(pipe.use(value, segment), pipe.use(shift, segment), plan, number, limit)
            value = pipe.made(moved[one.drop :] if last else moved, segment, f"shifted_{lane}_{number}")
        sign = pipe.made(one.sign, 0, f"sign_{lane}")
        terms.append(Signed(value, sign, 0, one.greatest))
    total = signed_tree(pipe, max(stages, 1), terms, "sum")
    nan = pipe.made(any_of([one.nan for one in made]), 0, "nan")
    return total, nan


def without_sign(pipe: Pipe, segment: int, total: Signed, shape) -> At:
    """The sum itself, in `shape`."""
    value, sign = pipe.use(total.value, segment), pipe.use(total.sign, segment)
    if isinstance(sign, Const):
        return pipe.made(value if sign.value == 0 else -value, segment, "total")
    whole = complement_if(value, sign) + sign
    return pipe.made(whole[: shape.width].as_signed() if shape.signed else whole[: shape.width], segment, "total")
