"""MAC arrays as cores: how matrices become beats of their streams, and what must come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwgen import golden
from hwgen.errors import HwgenError
from hwgen.formats import Block, Codes, Format
from hwgen.gateware.dotproduct.array import MacArray
from hwgen.gateware.dotproduct.block import element_of
from hwgen.ip import PRODUCTS, Core, draw


@dataclass(frozen=True)
class Operand:
    """Rows of A, or columns of B, along the reduction: codes (rows, blocks, lanes), scales (rows, blocks) or None."""

    codes: Codes
    scales: Codes | None

    def padded(self, rows: int, fmt: Block | Format) -> Operand:
        """The same with rows of zeros up to a multiple of `rows`; raises HwgenError for a format without zero."""
        more = -len(self.codes) % rows
        if not more:
            return self
        element = element_of(fmt)
        values = element.decode(element.codes())
        if not (values == 0).any():
            raise HwgenError(f"{len(self.codes)} rows of {element.name} do not fill tiles of {rows}: it has no zero")
        zero = int(element.codes()[np.flatnonzero(values == 0)[0]])
        codes = np.pad(self.codes, ((0, more), (0, 0), (0, 0)), constant_values=zero)
        return Operand(codes, None if self.scales is None else np.pad(self.scales, ((0, more), (0, 0))))


@dataclass
class Beats:
    """Payloads of one stream, as integers."""

    found: list[int] = field(default_factory=list)

    def add(self, *parts: tuple[Any, int]) -> None:
        """One beat of (code or array of codes, bits of each), the first in the lowest bits."""
        total = place = 0
        for codes, bits in parts:
            for code in np.ravel(codes):
                total |= (int(code) & ((1 << bits) - 1)) << place
                place += bits
        self.found.append(total)


def schedule(m_tiles: int, n_tiles: int, k_tiles: int) -> Iterator[tuple[int, int, int, bool, bool]]:
    """(row tile, column tile, part of the reduction, whether A's tile is new, whether it is done with) in order.

    A tile of A stays for all columns if it holds the whole reduction; else it comes again for each.
    """
    for m in range(m_tiles):
        for n in range(n_tiles):
            for k in range(k_tiles):
                whole = k_tiles == 1
                yield m, n, k, not whole or n == 0, not whole or n == n_tiles - 1


def beats(array: MacArray, a: Operand, b: Operand) -> tuple[list[int], list[int]]:
    """Payloads of the streams `a` and `b` that make `array` compute A * B, zeros around where tiles are not full."""
    a, b = a.padded(array.rows, array.a_format), b.padded(array.cols, array.b_format)
    blocks = a.codes.shape[1]
    a_bits, b_bits = element_of(array.a_format).bits, element_of(array.b_format).bits
    parts = [range(start, min(start + array.depth, blocks)) for start in range(0, blocks, array.depth)]
    rows, columns = Beats(), Beats()
    order = schedule(len(a.codes) // array.rows, len(b.codes) // array.cols, len(parts))
    for m, n, k, fresh, release in order:
        for block in parts[k]:
            last = block == parts[k][-1]
            for row in range(m * array.rows, (m + 1) * array.rows) if fresh else ():
                rows.add(
                    (a.codes[row, block], a_bits),
                    *_scale(a, row, block, array.a_format),
                    (last, 1),
                    (_ends(k, parts), 1),
                )
            chosen = slice(n * array.cols, (n + 1) * array.cols)
            columns.add(
                (b.codes[chosen, block], b_bits), *_scale(b, chosen, block, array.b_format), (last, 1), (release, 1)
            )
    return rows.found, columns.found


def _ends(k: int, parts: list[range]) -> bool:
    return k == len(parts) - 1


def _scale(one: Operand, rows: int | slice, block: int, fmt: Block | Format) -> list[tuple[Any, int]]:
    return [(one.scales[rows, block], fmt.scale.bits)] if one.scales is not None and isinstance(fmt, Block) else []


def expected(array: MacArray, a: Operand, b: Operand, window: tuple[int, int] | None) -> list[tuple[int, int]]:
    """(payload, mask of the bits that mean something) of each beat of `o` for A * B."""
    a, b = a.padded(array.rows, array.a_format), b.padded(array.cols, array.b_format)
    total, nan, saturated = _golden(array, a, b, window)
    width = len(array.sums[0][0].total)
    found = []
    for m in range(0, len(a.codes), array.rows):
        for n in range(0, len(b.codes), array.cols):
            for row in range(m, m + array.rows):
                columns = range(n, n + array.cols)
                beat, mask = Beats(), Beats()
                flags = [([one[row, c] for c in columns], 1) for one in (nan, saturated)]
                beat.add(([total[row, c] for c in columns], width), *flags, (row == m + array.rows - 1, 1))
                known = [0 if nan[row, c] else -1 for c in columns]
                mask.add((known, width), ([1] * (2 * array.cols + 1), 1))
                found.append((beat.found[0] & mask.found[0], mask.found[0]))
    return found


def _golden(array: MacArray, a: Operand, b: Operand, window: tuple[int, int] | None) -> tuple[Any, Any, Any]:
    """(totals, nan, saturated), each (rows, columns): integers in units of 2**lsb, or FP32 codes."""
    sides: list[Any] = [one.codes if one.scales is None else (one.scales, one.codes) for one in (a, b)]
    kind, other = array.a_format, array.b_format
    multiplier = "exact" if array.multiplier == "dsp" else array.multiplier
    if array.accumulator == "fp32" and array.scaled:
        singles = golden.block_dot(sides[0], sides[1], kind, other, "fp32", None, multiplier)
        return _fp32_codes(singles)
    if array.scaled:
        exact = golden.block_dot(sides[0], sides[1], kind, other, "fixed", window, multiplier)
    else:
        flat = [one.codes.reshape(len(one.codes), -1) for one in (a, b)]
        exact = golden.dot(flat[0], flat[1].T, element_of(kind), element_of(other), multiplier)
    shift = exact.exponent - (array.lsb or 0)
    whole = exact.integers()
    return (whole << shift if shift >= 0 else whole >> -shift), exact.nan, exact.saturated


def _fp32_codes(singles: Any) -> tuple[Any, Any, Any]:
    nan = np.isnan(singles)
    return singles.view(np.uint32).astype(np.int64), nan, np.zeros_like(nan)


def random_operand(
    fmt: Block | Format, rows: int, blocks: int, lanes: int, rng: np.random.Generator, spread: int
) -> Operand:
    """Random codes; power-of-two scales within `spread` of one (few NaN), others anywhere."""
    element = element_of(fmt)
    codes = draw(element, rows * blocks, lanes, rng).reshape(rows, blocks, lanes)
    if not isinstance(fmt, Block):
        return Operand(codes, None)
    scales = draw(fmt.scale, rows * blocks, 1, rng).reshape(rows, blocks)
    if fmt.power_scale:
        near = fmt.scale.bias + rng.integers(-spread, spread + 1, (rows, blocks))
        scales = np.where(fmt.scale.is_number(scales), near, scales)
    return Operand(codes, scales)


def mac_core(
    array: MacArray, window: tuple[int, int] | None, shapes: tuple[tuple[int, int, int], ...], seed: int = 1
) -> Core:
    """A MAC array with vectors of A * B for each (rows of A, columns of B, blocks along the reduction) of `shapes`."""
    if array.accumulator == "fp32" and not array.scaled:
        raise HwgenError("FP32 sums are of blocks; sums of plain formats are exact: use the accumulator 'fixed'")
    rng = np.random.default_rng(seed)
    # Some exponents leave the window now and then, so that the flag is seen.
    spread = 8 if window is None else (window[1] - window[0] + 3) // 4
    a_beats: list[int] = []
    b_beats: list[int] = []
    o_beats: list[tuple[int, int]] = []
    for m, n, k in shapes:
        a = random_operand(array.a_format, m, k, array.lanes, rng, spread)
        b = random_operand(array.b_format, n, k, array.lanes, rng, spread)
        rows, columns = beats(array, a, b)
        a_beats += rows
        b_beats += columns
        o_beats += expected(array, a, b, window)
    vectors = {
        "inputs": {"a": [str(beat) for beat in a_beats], "b": [str(beat) for beat in b_beats]},
        "outputs": {"o": [[str(beat), str(mask)] for beat, mask in o_beats]},
    }
    return Core(
        "mac_array", array, "stream", array.latency, 1, _ports(array), _arithmetic(array), vectors, len(o_beats)
    )


def _ports(array: MacArray) -> tuple[tuple[str, str, int, str], ...]:
    width = {name: len(getattr(array, name).payload.as_value()) for name in ("a", "b", "o")}
    return (
        ("clk", "clock", 1, "rising edge"),
        ("rst", "reset", 1, "synchronous"),
        ("a", "input", width["a"], "{final, last, scale, codes of one block}: rows first, then blocks"),
        ("b", "input", width["b"], "{release, last, scales, codes of one block of each column}"),
        ("o", "output", width["o"], "{last, saturated, nan, total} of each column: one row of sums"),
    )


def _arithmetic(array: MacArray) -> tuple[str, ...]:
    products = PRODUCTS.get(array.multiplier, array.multiplier)
    unit = f"2^{array.lsb}" if array.lsb is not None else "FP32 codes"
    return (
        f"C = A * B on {array.rows} x {array.cols} units of {array.lanes} lanes, {array.a_format.name} by "
        f"{array.b_format.name}; each unit takes a block a clock.",
        f"Products: {products}. Sums over blocks: {array.accumulator}, totals in {unit}.",
        f"A tile has up to {array.depth} blocks along the reduction; `last` ends it. A's `final` ends the reduction,",
        "B's `release` lets go of A's tile. Fields are listed from the highest bits down; lane 0 is the lowest.",
    )
