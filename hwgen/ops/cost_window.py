"""What sliding windows cost: rows of the image to store, clocks, lanes."""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from hwgen.errors import HwgenError
from hwgen.formats import Blocked
from hwgen.ir import Fold, Op, TensorType
from hwgen.ops.real import Reshape
from hwgen.ops.upsample import Upsample
from hwgen.ops.window import Window, windows

TURN = 6
"""Clocks, more than enough, from the last beat of a row to its first use and back to the room that it leaves."""


@dataclass(frozen=True)
class LineBuffer:
    """How the windows of an image are made of a circular buffer of its rows.

    needed: for each row of windows the image rows, from the oldest one stored, that have to be there before it starts.
    freed: for each row of windows the image rows that nobody reads any more after it.
    rows: that the buffer holds. row_beats: beats in one of them. input_beats, output_beats: of a frame.
    """

    needed: tuple[int, ...]
    freed: tuple[int, ...]
    rows: int
    row_beats: int
    input_beats: int
    output_beats: int

    @property
    def depth(self) -> int:
        """Beats that the buffer holds."""
        return self.rows * self.row_beats

    @property
    def interval(self) -> int:
        """Clocks a frame: every beat in takes one, and so does every beat out, at the same time."""
        return max(self.input_beats, self.output_beats)

    def latency(self, depth: int) -> int:
        """Clocks from the first beat of the first frame, the source always valid, to the last beat of its windows.

        depth: clocks from the turn of a beat to the output. A row of windows starts a clock after the image rows that
        it needs, and behind the row before; its rows are free two clocks after its last beat's turn.
        """
        room, rows, end, clock, known = deque([0] * self.rows), 0, 0, -1, 0
        for oldest, needed, freed in zip(self.oldest, self.needed, self.freed, strict=True):
            known = max(known, oldest + needed)
            while rows < known:
                clock, rows = max(clock + 1, room.popleft()) + self.row_beats - 1, rows + 1
            end = max(end, clock + 1) + self.output_beats // len(self.needed)
            room.extend([end + 1] * freed)
        return end - 1 + depth

    @property
    def oldest(self) -> tuple[int, ...]:
        """For each row of windows the oldest image row that is stored."""
        return tuple(itertools.accumulate(self.freed[:-1], initial=0))


def is_wire(op: Op, x: TensorType) -> bool:
    """Whether an operation leaves the stream of codes as it is: shapes alone, and windows in the order of the image."""
    if isinstance(op, Reshape):
        return True
    if not isinstance(op, Window) or any(op.padding) or len(x.shape) != 3:
        return False
    rows, columns, _ = x.shape
    if math.prod(op.positions(rows, columns)) * op.taps != rows * columns:
        return False
    order = windows(np.arange(rows * columns).reshape(1, rows, columns, 1), op)
    return bool((order.ravel() == np.arange(rows * columns)).all())


def line_buffer(op: Window, x: TensorType, lanes: int) -> LineBuffer:
    """The buffer for windows over images `x` whose pixels come in beats of `lanes` codes.

    It has as many rows as it takes for a source and a sink of even pace to go on without a pause, also from one frame
    to the next: with H rows of the image in the time of Y rows of windows, row y of windows can start

        lag = max over y of (rows known at its start - y * H / Y)

    rows after the frame did, and ends (y + 1) * H / Y rows later, until when the oldest row that it reads stays.
    Raises HwgenError if the lanes do not divide the channels, or the window does not fit the image.
    """
    height, width, channels = x.shape
    if channels % lanes:
        raise HwgenError(f"lanes of windows must divide the channels of a pixel: {lanes} lanes, {channels} channels")
    down, across = op.positions(height, width)
    span = (op.kernel[0] - 1) * op.dilation[0] + 1
    starts = [y * op.stride[0] - op.padding[0] for y in range(down)]
    oldest = [min(max(start, 0), height) for start in starts] + [height]
    # A row that nobody reads is waited for too, since it can only be freed once it is there.
    known = [max(min(start + span, height), after) for start, after in zip(starts, oldest[1:], strict=True)]
    # No window leaves before its frame has begun, even if it is padding altogether.
    known[0] = max(known[0], 1)
    beats = channels // lanes
    incoming, outgoing = height * width * beats, down * across * op.taps * beats
    pace = Fraction(height, down)
    lag = max(rows - y * pace for y, rows in enumerate(known))
    stay = max((y + 1) * pace - first for y, first in enumerate(oldest[:-1]))
    turn = Fraction(TURN * height, max(incoming, outgoing))
    return LineBuffer(
        needed=tuple(rows - first for rows, first in zip(known, oldest, strict=False)),
        freed=tuple(after - first for first, after in itertools.pairwise(oldest)),
        rows=math.ceil(lag + stay + turn),
        row_beats=width * beats,
        input_beats=incoming,
        output_beats=outgoing,
    )


def row_buffer(op: Upsample, x: TensorType, lanes: int) -> LineBuffer:
    """The buffer of rows of images `x` that are repeated; "windows" are rows of the larger image.

    One row is read while the next one comes, and more where rows are so short that the turn of a row takes longer.
    Raises HwgenError if the lanes do not divide the channels.
    """
    height, width, channels = x.shape
    if channels % lanes:
        raise HwgenError(f"lanes of images must divide the channels of a pixel: {lanes} lanes, {channels} channels")
    down, across = op.factors
    row_beats = width * channels // lanes
    spare = (down * across - 1) * row_beats
    incoming = height * row_beats
    return LineBuffer(
        needed=(1,) * (height * down),
        freed=(*(0,) * (down - 1), 1) * height,
        rows=2 if spare >= TURN else 3 + TURN // (row_beats * down * across),
        row_beats=row_beats,
        input_beats=incoming,
        output_beats=incoming * down * across,
    )


def upsample_lanes(op: Upsample, x: TensorType, lanes: int, interval: int) -> int:
    """The fewest lanes, a multiple of the `lanes` of the stream before, that keep the interval; else all channels."""
    whole = math.gcd(x.channels, x.format.block.size) if isinstance(x.format, Blocked) else x.channels
    choices = [n for n in range(lanes, whole + 1, lanes) if whole % n == 0]
    return next((n for n in choices if row_buffer(op, x, n).interval <= interval), choices[-1])


def window_lanes(op: Window, x: TensorType, lanes: int, fold: Fold | None, interval: int) -> int:
    """Lanes of windows over images `x`, a divisor of its channels.

    fold: that of the matrix unit that reads them, whose SIMD lanes they then have, as far as a pixel has so many; or
    None, and they have the fewest lanes, a multiple of the `lanes` of the stream before, that keep the `interval`,
    or all channels if none does.
    """
    channels = x.channels
    whole = math.gcd(channels, x.format.block.size) if isinstance(x.format, Blocked) else channels
    if fold:
        return math.gcd(fold.simd, whole)
    choices = [n for n in range(lanes, whole + 1, lanes) if whole % n == 0]
    return next((n for n in choices if line_buffer(op, x, n).interval <= interval), choices[-1])
