"""Random frozen networks: layers of a few nodes each, of random shapes and parameters, and branches of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hwgen import ops
from hwgen.errors import HwgenError
from hwgen.formats import ROUNDING, Bipolar, Blocked, Format, Int, Minifloat
from hwgen.formats.grid import ladder
from hwgen.ir import Graph, Node, Op, TensorType, Value
from hwgen.ops.cost_window import line_buffer
from hwgen.ops.join import aligned, product_of
from tests.fuzz.numbers import Rng, blocks, choice, codes_of, integer, minifloat, scalar, sparse

MOST_NUMBERS = 220
"""Numbers of one tensor of windows."""
MOST_CODES = 2000


@dataclass
class Net:
    """A graph that grows from the input; `last` is the tensor that the next layer reads."""

    rng: Rng
    x: TensorType
    nodes: list[Node] = field(default_factory=list)
    types: dict[str, TensorType] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    last: str = "x"

    def __post_init__(self) -> None:
        self.types["x"] = self.x

    @property
    def kind(self) -> TensorType:
        return self.types[self.last]

    @property
    def format(self) -> Format:
        return self.kind.codes_format

    def add(self, op: Op, *tensors: str) -> str:
        """Add a node that reads `tensors`, or the last one; its output is the last one then. Raises HwgenError."""
        read = tensors or (self.last,)
        kind = op.infer(*(self.types[tensor] for tensor in read))
        if kind.format is None:
            raise HwgenError("real numbers")
        if kind.size > MOST_CODES:
            raise HwgenError(f"{kind.size} codes are too many")
        name = f"{op.kind.lower()}{self.counts[op.kind]}"
        self.counts[op.kind] += 1
        self.nodes.append(Node(name, op, read, f"{name}.out"))
        self.types[f"{name}.out"] = kind
        self.last = f"{name}.out"
        return self.last

    def graph(self) -> Graph:
        return Graph("fuzz", (Value("x", self.x),), tuple(self.nodes), (self.last,))


def size(rng: Rng, most: int = 8) -> int:
    return int(min(most, choice(rng, 1, 1, 2, 2, 3, 4, 4, 5, 6, 7, 8, 9, 12)))


def start(rng: Rng) -> TensorType:
    """The input's type."""
    shape = [size(rng, 12)]
    kind = rng.random()
    if kind < 0.1:
        shape = [size(rng, 3), *shape]
    elif kind < 0.75:
        rows, columns = (int(n) for n in rng.integers(1, 7, 2))
        rows = 1 if rng.random() < 0.2 else rows
        shape = [rows, columns, size(rng, 6)]
    fmt = scalar(rng)
    if rng.random() < 0.15:
        block = int(choice(rng, 1, 2, 4, 8))
        shape[-1] = block * int(rng.integers(1, max(2, 9 // block)))
        fmt = blocks(rng, block)
    zero = int(rng.integers(-3, 4)) if isinstance(fmt, Int) and rng.random() < 0.2 else 0
    return TensorType(tuple(shape), fmt, zero_point=zero)


def weight_format(net: Net) -> Format:
    """A format of weights that the last tensor's codes can be multiplied by."""
    rng, fmt = net.rng, net.format
    if isinstance(fmt, Blocked):
        return choice(rng, blocks(rng, fmt.block.size), integer(rng), minifloat(rng), integer(rng))
    kind = rng.random()
    if kind < 0.6:
        return integer(rng)
    if kind < 0.75:
        return Bipolar()
    return minifloat(rng)


def matvec(net: Net) -> None:
    """A matrix product over the channels, with a bias; by L-Mul now and then."""
    rng, x = net.rng, net.kind
    fmt, multiplier = weight_format(net), "exact"
    if isinstance(x.format, Minifloat) and rng.random() < 0.3:
        fmt, multiplier = x.format, choice(rng, "lmul", "mitchell", "lmul_formula_trunc")
    out = size(rng, 9)
    weight = sparse(codes_of(fmt, (out, x.channels), rng), fmt, rng)
    if rng.random() < 0.1 and isinstance(fmt, Int):
        weight &= -2  # a common power of two
        weight = np.clip(weight, *fmt.code_range)
    given = None if isinstance(x.format, Int) and rng.random() < 0.5 else x.format
    if isinstance(x.format, Blocked) and rng.random() < 0.15:
        net.add(ops.MatVec(weight, fmt, input_format=given, accumulator="fp32"))
        lsb = int(rng.integers(-8, 2))
        net.add(ops.Fix(lsb, Int(int(rng.integers(4, 30)))))
        return
    net.add(ops.MatVec(weight, fmt, bias(rng, out), input_format=given, multiplier=multiplier))


def bias(rng: Rng, out: int) -> np.ndarray:
    reach = int(choice(rng, 0, 3, 30, 30, 1000, 1 << 20))
    return rng.integers(-reach, reach + 1, out)


def window(net: Net, *, fits: bool = False) -> ops.Window:
    """A window that fits the last tensor's images; `fits`: no padding, as wide as the image."""
    rng, (rows, columns, channels) = net.rng, net.kind.shape
    if fits:
        return ops.Window((rows, columns))
    kernel = tuple(int(min(n + 2, choice(rng, 1, 1, 2, 2, 3, 3, 4, 5))) for n in (rows, columns))
    if rows == 1 and rng.random() < 0.8:
        kernel = (1, kernel[1])
    stride = (int(choice(rng, 1, 1, 1, 2, 2, 3)), int(choice(rng, 1, 1, 1, 2, 2, 3)))
    dilation = (int(choice(rng, 1, 1, 1, 2, 3)), int(choice(rng, 1, 1, 1, 2, 3)))
    padding = (0, 0, 0, 0)
    if rng.random() < 0.6:
        padding = tuple(int(n) for n in rng.integers(0, choice(rng, 2, 2, 3, 4), 4))
    pad = int(codes_of(net.format, (1, 1), rng)[0, 0]) if not isinstance(net.format, Blocked) else 0
    made = ops.Window(kernel, stride, padding, dilation, pad=pad)
    if np.prod(made.positions(rows, columns)) * made.taps * channels > MOST_NUMBERS * 4:
        raise HwgenError("too many numbers")
    line_buffer(made, net.kind, 1)
    return made


def conv(net: Net) -> None:
    """A convolution, sometimes in groups: weights that are 0 where an output does not see an input."""
    net.add(window(net, fits=bool(net.rng.random() < 0.1)))
    matvec(net)


def grouped(net: Net) -> None:
    """A convolution of the channels in groups, or of each by itself, by weights of their own."""
    rng, channels = net.rng, net.kind.channels
    groups = int(choice(rng, channels, channels, *(d for d in range(1, channels + 1) if channels % d == 0)))
    made = window(net)
    net.add(made)
    fmt = weight_format(net)
    rows = 1 if rng.random() < 0.6 else size(rng, 4)
    weight = codes_of(fmt, (rows * groups, made.taps * channels // groups), rng)
    given = None if isinstance(net.format, Int) and rng.random() < 0.5 else net.format
    addends = bias(rng, len(weight))
    weight = sparse(weight, fmt, rng)
    net.add(ops.Grouped(weight, fmt, addends, input_format=given, groups=groups, taps=made.taps))


def pool(net: Net) -> None:
    rng = net.rng
    made = window(net, fits=bool(rng.random() < 0.25))
    fmt = net.format if isinstance(net.format, Minifloat) else None
    net.add(made)
    net.add(ops.Pool("sum" if isinstance(net.format, Int) and rng.random() < 0.5 else "max", made.taps, fmt))


def upsample(net: Net) -> None:
    net.add(ops.Upsample((int(net.rng.integers(1, 4)), int(net.rng.integers(1, 4)))))


def flatten(net: Net) -> None:
    net.add(ops.Reshape((net.kind.size,)))


def table(net: Net) -> None:
    rng, fmt = net.rng, net.format
    to = scalar(rng)
    rows = 1 if rng.random() < 0.6 else net.kind.channels
    entries = codes_of(to, (rows, 1 << fmt.bits), rng)
    net.add(ops.Table(entries, to, zero_point=zero_point(to, rng)))


def cut(net: Net) -> None:
    """Some of the channels."""
    size = net.format.block.size if isinstance(net.format, Blocked) else 1
    start, stop = sorted(int(n) for n in net.rng.integers(0, net.kind.channels // size + 1, 2))
    net.add(ops.Slice(start * size, stop * size))


def decode(net: Net) -> None:
    net.add(ops.Decode(net.format))


def zero_point(fmt: Format, rng: Rng) -> int:
    return int(rng.integers(-4, 5)) if isinstance(fmt, Int) and rng.random() < 0.15 else 0


def thresholds(net: Net) -> None:
    """Steps with plateaus, also at both ends of the input's range and outside of what is met."""
    rng = net.rng
    to = choice(rng, integer(rng, 5), integer(rng, 4), Bipolar(), minifloat(rng))
    rungs = ladder(to)
    first = int(rng.integers(0, max(1, len(rungs) - 1))) if rng.random() < 0.3 else 0
    steps = len(rungs) - 1 - first
    if rng.random() < 0.3 and steps > 1:
        steps = int(rng.integers(1, steps + 1))
    low, high = ops.integer_range(net.kind)
    channels = net.kind.channels if rng.random() < 0.7 else 1
    narrow = int(choice(rng, 1, 1, 4))
    drawn = rng.integers(low // narrow, high // narrow + 2, (channels, steps))
    if rng.random() < 0.4:
        # Plateaus: few different numbers.
        few = rng.integers(low // narrow, high // narrow + 2, (channels, 2))
        drawn = np.take_along_axis(few, rng.integers(0, 2, (channels, steps)), axis=1)
    drawn = np.where(rng.random(drawn.shape) < 0.08, choice(rng, low, high + 1), drawn)
    net.add(
        ops.Thresholds(
            np.sort(np.clip(drawn, low, high + 1), axis=1), int(rungs[first]), to, scale_of(rng), zero_point(to, rng)
        )
    )


def scale_of(rng: Rng) -> tuple[float, ...]:
    return (float(choice(rng, 1, 1, 1, 0.5, 3, 0.25, 6)),)


def requantize(net: Net) -> None:
    rng, channels = net.rng, net.kind.channels
    to = integer(rng)
    low, high = ops.integer_range(net.kind)
    reach = max(abs(low), abs(high)).bit_length()

    def each(draw: Callable[[int], np.ndarray]) -> np.ndarray:
        return draw(channels if rng.random() < 0.5 else 1)

    bits = int(choice(rng, 1, 3, 8, 16, 24))
    multiplier = each(lambda n: rng.integers(0 if rng.random() < 0.2 else 1, 1 << bits, n))
    base = max(0, reach + bits - to.bits - 1)
    shift = each(lambda n: np.clip(base + rng.integers(-3, 3, n), 0, 62))
    room = min(reach + bits, 55)
    offset = each(lambda n: rng.integers(-(1 << room), (1 << room) + 1, n) if rng.random() < 0.6 else np.zeros(n, int))
    bounds = sorted(int(n) for n in rng.integers(to.min, to.max + 1, 2)) if rng.random() < 0.3 else (to.min, to.max)
    zero = zero_point(to, rng)
    net.add(ops.Requantize(multiplier, offset, shift, choice(rng, *ROUNDING), *bounds, to, scale_of(rng), zero))


def block_quantize(net: Net) -> None:
    rng, channels = net.rng, net.kind.channels
    sizes = [n for n in (1, 2, 4, 8, 3) if channels % n == 0]
    fmt = blocks(rng, int(choice(rng, *sizes)))
    # At least one of the numbers' bits asks for a scale that there is.
    ends = [
        fmt.block.emax + int(np.frexp(float(end))[1]) for end in (2.0**fmt.block.scale.lsb, fmt.block.scale.extremes[1])
    ]
    lsb = int(rng.integers(ends[0] - net.format.bits, ends[1] + 1))
    net.add(ops.BlockQuantize(fmt, lsb, choice(rng, *ROUNDING)))


def quantize(net: Net) -> None:
    """Bring an integer back to few bits."""
    net_kind = net.rng.random()
    if net_kind < 0.5:
        thresholds(net)
    elif net_kind < 0.85:
        requantize(net)
    else:
        block_quantize(net)


def branch(net: Net, tensor: str, layers: int) -> str:
    net.last = tensor
    for _ in range(layers):
        layer(net, joins=False)
    return net.last


def join(net: Net) -> None:
    """Two or three branches from one tensor that meet in a sum, a product, or side by side."""
    rng, fork = net.rng, net.last
    how = choice(rng, "add", "add", "concat", "multiply")
    count = 2 if how == "multiply" or rng.random() < 0.8 else 3
    ends = []
    for place in range(count):
        ends.append(branch(net, fork, int(choice(rng, 0, 1, 1, 2)) if place else int(rng.integers(1, 3))))
    kinds = [net.types[end] for end in ends]
    if how == "concat":
        to = integer(rng, 4)
        net.add(ops.Concat(), *(alike(net, end, to) for end in ends))
        return
    shapes = {kind.shape for kind in kinds}
    if len(shapes) > 1:
        ends = [matched(net, end, kinds[0].shape) for end in ends]
    found = tuple(net.types[end] for end in ends)
    net.add(aligned(found) if how == "add" else product_of(found), *ends)


def alike(net: Net, tensor: str, to: Int) -> str:
    """The tensor in codes of `to` of scale 1, as tensors side by side have to be."""
    net.last = tensor
    if not isinstance(net.format, Int):
        net.add(ops.Decode(net.format))
    low, high = ops.integer_range(net.kind)
    steps = np.sort(net.rng.integers(low, high + 2, (1, to.max - to.min)), axis=1)
    return net.add(ops.Thresholds(steps, to.min, to))


def matched(net: Net, tensor: str, shape: tuple[int, ...]) -> str:
    """The tensor with as many channels as `shape` has, by a matrix product."""
    net.last = tensor
    rng, kind = net.rng, net.kind
    if kind.shape != shape and not isinstance(kind.format, Blocked):
        fmt = integer(rng)
        weight = codes_of(fmt, (shape[-1], kind.channels), rng)
        net.add(ops.MatVec(weight, fmt, bias(rng, shape[-1]), input_format=kind.format))
        if rng.random() < 0.7:
            quantize(net)
    return net.last


def layer(net: Net, *, joins: bool = True) -> None:
    """One layer of those that suit the last tensor; tries others where one is refused."""
    rng, kind = net.rng, net.kind
    images = len(kind.shape) == 3
    small = isinstance(kind.format, Int | Bipolar | Minifloat) and kind.format.bits <= 8
    choices: list[Callable[[Net], None]] = [matvec, matvec, matvec, cut]
    if images:
        choices += [conv, conv, conv, grouped, grouped, pool, pool, upsample]
    if len(kind.shape) > 1:
        choices.append(flatten)
    if isinstance(kind.format, Minifloat | Blocked):
        choices.append(decode)
    if small:
        choices.append(table)
    if isinstance(kind.format, Int):
        choices += [thresholds, requantize, block_quantize] if not small else [thresholds]
    if joins:
        choices += [join, join]
    for _ in range(8):
        kept = len(net.nodes), net.last, dict(net.types), net.counts.copy()
        try:
            made = choice(rng, *choices)
            made(net)
            wide = isinstance(net.format, Int) and net.format.bits > 8
            if wide and rng.random() < 0.85:
                quantize(net)
            return
        except HwgenError:
            del net.nodes[kept[0] :]
            net.last, net.types, net.counts = kept[1:]
    raise HwgenError("nothing suits")


def network(rng: Rng) -> Net:
    """A network of one to four layers; raises HwgenError where nothing suits what was drawn."""
    net = Net(rng, start(rng))
    for _ in range(int(choice(rng, 1, 1, 2, 2, 3, 4))):
        layer(net)
    ending(net)
    return net


def ending(net: Net) -> None:
    """Now and then the network ends with what gives indices."""
    rng, channels = net.rng, net.kind.channels
    if len(net.kind.scale) > 1 or isinstance(net.format, Blocked | Minifloat):
        return
    kind = rng.random()
    if kind < 0.1:
        net.add(ops.ArgMax())
    elif kind < 0.2:
        net.add(ops.TopK(int(rng.integers(1, channels + 1)), choice(rng, "indices", "codes")))
