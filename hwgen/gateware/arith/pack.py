"""LUTs of UltraScale+ placed by hand, two functions in one LUT6_2 wherever five inputs are enough for both.

Yosys maps every function to a LUT of its own, so that a multiplexer of three inputs takes as much as one of six. Rows
of such multiplexers share inputs with their neighbours: two go into one cell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from amaranth.hdl import Const, Module, Signal, Value

from hwgen.gateware.arith.cells import lut, lut_pair

LUT_INPUTS, SHARED_INPUTS = 6, 5


@lru_cache(maxsize=512)
def pair_up(inputs: tuple[frozenset[int], ...]) -> tuple[tuple[int, ...], ...]:
    """Functions, by the names of their inputs, as the indices of those that share a cell: one or two each.

    First those that have inputs in common, then what is left, the largest first with the largest that fits.
    """
    left = dict.fromkeys(n for n, names in enumerate(inputs) if len(names) <= SHARED_INPUTS)
    using: dict[int, list[int]] = {}
    for n in left:
        for name in inputs[n]:
            using.setdefault(name, []).append(n)
    cells: list[tuple[int, ...]] = [(n,) for n, names in enumerate(inputs) if len(names) > SHARED_INPUTS]
    for n in tuple(left):
        if n not in left:
            continue
        near = {other for name in inputs[n] for other in using[name] if other in left and other != n}
        fits = [other for other in near if len(inputs[n] | inputs[other]) <= SHARED_INPUTS]
        if fits:
            best = min(fits, key=lambda other: (-len(inputs[n] & inputs[other]), -len(inputs[other]), other))
            cells.append((n, best))
            del left[n], left[best]
    rest = sorted(left, key=lambda n: (-len(inputs[n]), n))
    while rest:
        first = rest.pop(0)
        second = next((n for n in rest if len(inputs[first] | inputs[n]) <= SHARED_INPUTS), None)
        if second is not None:
            rest.remove(second)
        cells.append((first,) if second is None else (first, second))
    return tuple(cells)


@dataclass(frozen=True, eq=False)
class _Function:
    """`truth[row]`, bit n of the row being input n."""

    name: str
    inputs: tuple[Value, ...]
    truth: tuple[int, ...]
    out: Signal


class Packer:
    """Collects functions of one bit and places them when all are known.

    Functions of one group must not depend on each other: any two of them may share a cell, which is no loop then.
    The same bit must be the same object wherever it is an input: take `list(value)` once.
    """

    def __init__(self, m: Module, *, pairs: bool = True):
        self.m, self.pairs = m, pairs
        self._groups: dict[str, list[_Function]] = {}

    def lut(self, group: str, name: str, inputs: Sequence[Value], function: Callable[..., int]) -> Value:
        """The truth of `function` of 0 to 6 `inputs` of one bit, called with one integer 0 or 1 for each.

        Inputs that are constant or make no difference take no pins, and a function of none or of one input as it is
        takes no cell.
        """
        used, truth = _reduced(inputs, function)
        assert len(used) <= LUT_INPUTS, f"a LUT has at most 6 inputs, not {len(used)}"
        if not used:
            return Const(truth[0], 1)
        if truth == (0, 1):
            return used[0]
        out = Signal(name=name)
        self._groups.setdefault(group, []).append(_Function(name, used, truth, out))
        return out

    def place(self) -> None:
        """Put all functions into cells; once, at the end."""
        for functions in self._groups.values():
            if self.pairs:
                cells = pair_up(tuple(frozenset(map(id, one.inputs)) for one in functions))
            else:
                cells = tuple((n,) for n in range(len(functions)))
            for members in cells:
                self._cell([functions[n] for n in members])

    def _cell(self, members: Sequence[_Function]) -> None:
        first = members[0]
        if len(members) == 1:
            self.m.d.comb += first.out.eq(lut(self.m, f"{first.name}_lut", first.inputs, _of(first, first.inputs)))
            return
        second = members[1]
        # By identity: `in` would compare values, and build gates.
        inputs = list({id(bit): bit for bit in (*first.inputs, *second.inputs)}.values())
        name = f"{first.name}_{second.name}_lut"
        five, six = lut_pair(self.m, name, inputs, _of(first, inputs), _of(second, inputs))
        self.m.d.comb += [first.out.eq(five), second.out.eq(six)]


def _of(one: _Function, inputs: Sequence[Value]) -> Callable[..., int]:
    """`one` as a function of `inputs`, which hold all of its own."""
    place = {id(bit): n for n, bit in enumerate(inputs)}
    places = [place[id(bit)] for bit in one.inputs]
    return lambda *bits: one.truth[sum(bits[p] << n for n, p in enumerate(places))]


def _reduced(inputs: Sequence[Value], function: Callable[..., int]) -> tuple[tuple[Value, ...], tuple[int, ...]]:
    """(inputs that make a difference, truth table over them)."""
    unique = list({id(bit): bit for bit in inputs if not isinstance(bit, Const)}.values())
    place = {id(bit): n for n, bit in enumerate(unique)}

    def row(number: int) -> int:
        bits = [bit.value if isinstance(bit, Const) else (number >> place[id(bit)]) & 1 for bit in inputs]
        return int(bool(function(*bits)))

    truth = [row(number) for number in range(1 << len(unique))]
    for n in reversed(range(len(unique))):
        step = 1 << n
        low = [value for number, value in enumerate(truth) if not number & step]
        if low == [value for number, value in enumerate(truth) if number & step]:
            del unique[n]
            truth = low
    return tuple(unique), tuple(truth)
