"""Adder trees: of two operands a node, or three on UltraScale+, where a LUT6_2 and a carry bit add three bits."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Module, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hwgen.errors import HwgenError
from hwgen.gateware.arith.cells import carry_chain, lut, lut_pair
from hwgen.gateware.pipeline import register

ARITIES = (2, 3)


def bounds(shape: Shape) -> tuple[int, int]:
    """(least, greatest) number of a shape."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def sum_shape(shapes: Sequence[Shape]) -> Shape:
    """The narrowest shape that holds every sum."""
    ends = [bounds(shape) for shape in shapes]
    return Shape.cast(range(sum(low for low, _ in ends), sum(high for _, high in ends) + 1))


def ternary_sum(m: Module, values: Sequence[Value], name: str) -> Signal:
    """The sum of three values in one LUT6_2 and one carry bit for each bit of it."""
    return ternary_cells(m, values, sum_shape([value.shape() for value in values]), name)


def ternary_cells(
    m: Module,
    values: Sequence[Value],
    shape: Shape,
    name: str,
    *,
    ones: Sequence[Value] = (),
    flip: Value | None = None,
) -> Signal:
    """The sum of three values, and of two bits of its lowest weight more, in `shape`, which must hold it.

    ones: the bits. One takes the place of a carry below the lowest bit, which is free. Another one comes by the chain
    from a stage before, a LUT more: the carry in of a slice would have to share its pin with the lowest stage's data.
    flip: where it is high, the third value counts as its complement, -1 - value.
    Bit i of three operands is compressed to a sum and a carry; the chain adds the sum and the carry of bit i - 1. O5
    is the carry, O6 the chain's select.
    """
    assert len(values) == 3, f"an adder of three adds three values, not {len(values)}"
    assert len(ones) <= 2, f"an adder of three has places for two bits more, not {len(ones)}"
    wide = [Signal(shape, name=f"{name}_in{index}") for index in range(3)]
    m.d.comb += [signal.eq(value) for signal, value in zip(wide, values, strict=True)]
    below = ones[0] if ones else Const(0, 1)
    turned = Const(0, 1) if flip is None else flip
    select, saved = [], [below]
    for bit in range(shape.width):
        carry, both = lut_pair(
            m,
            f"{name}_{bit}",
            [*(signal[bit] for signal in wide), saved[-1], turned],
            lambda a, b, c, _, t: a + b + (c ^ t) >= 2,
            lambda a, b, c, below, t: a ^ b ^ c ^ t ^ below,
        )
        select.append(both)
        saved.append(carry)
    before = [lut(m, f"{name}_one", [ones[1]], lambda one: not one)] if len(ones) == 2 else []
    data = [*[Const(1, 1)] * len(before), *saved[:-1]]
    total, _ = carry_chain(m, name, Cat(*before, *select), Cat(*data), Const(0, 1))
    out = Signal(shape, name=f"{name}_out")
    m.d.comb += out.eq(total[len(before) :])
    return out


def binary_sum(m: Module, values: Sequence[Value], name: str) -> Signal:
    """The sum of two values."""
    out = Signal(sum_shape([value.shape() for value in values]), name=f"{name}_out")
    m.d.comb += out.eq(values[0] + values[1])
    return out


def add_all(
    m: Module,
    values: Sequence[Value],
    *,
    arity: int = 2,
    stage: Callable[[Value, str], Value] | None = None,
    name: str = "tree",
) -> Value:
    """The exact sum of `values`, of any shapes, in a tree of adders of `arity` operands.

    `stage` puts a value through a register after each level (every value of a level, so that they stay in step).
    Adders of three operands are cells of UltraScale+.
    """
    assert values, "a tree adds one value or more"
    level = list(values)
    number = 0
    while len(level) > 1:
        sums: list[Value] = []
        for index in range(0, len(level), arity):
            group = level[index : index + arity]
            place = f"{name}_{number}_{index // arity}"
            if len(group) == 3:
                total: Value = ternary_sum(m, group, place)
            else:
                total = binary_sum(m, group, place) if len(group) == 2 else group[0]
            sums.append(stage(total, f"{place}_held") if stage else total)
        level, number = sums, number + 1
    return level[0]


def levels(count: int, arity: int = 2) -> int:
    """Levels of a tree over `count` values."""
    found = 0
    while count > 1:
        count, found = -(-count // arity), found + 1
    return found


class AdderTree(wiring.Component):
    """Adds lanes exactly.

    Parameters: `shape` of a lane; `lanes`; `arity`, 2, or 3 on UltraScale+; `pipelined`: a register after each level.
    Ports: `i`, an array of lanes; `o`, the sum; `enable`, only if pipelined, the clock enable.
    Latency: `levels(lanes, arity)` if pipelined, else 0. Interval: 1. Raises HwgenError for another arity, no lanes.
    """

    def __init__(self, shape: Shape, lanes: int, *, arity: int = 2, pipelined: bool = False):
        if arity not in ARITIES:
            raise HwgenError(f"adders of a tree have 2 or 3 operands, not {arity}")
        if lanes < 1:
            raise HwgenError(f"an adder tree has 1 lane or more, not {lanes}")
        self.arity, self.pipelined, self.lanes = arity, pipelined, lanes
        self.latency, self.interval = levels(lanes, arity) if pipelined else 0, 1
        self.shape = sum_shape([Shape.cast(shape)] * lanes)
        ports = {"i": In(data.ArrayLayout(shape, lanes)), "o": Out(self.shape)}
        super().__init__(ports | ({"enable": In(1)} if pipelined else {}))

    def elaborate(self, platform):
        m = Module()

        def held(value: Value, name: str) -> Value:
            return register(m, self.enable, value, name)

        lanes = [self.i[lane] for lane in range(self.lanes)]
        m.d.comb += self.o.eq(add_all(m, lanes, arity=self.arity, stage=held if self.pipelined else None))
        return m
