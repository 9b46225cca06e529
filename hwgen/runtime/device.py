"""A connected accelerator: requests in, replies out, with the line's faults repaired or named."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError
from hwgen.ir.beats import Codes
from hwgen.runtime import protocol
from hwgen.runtime.link import Link
from hwgen.runtime.manifest import Manifest
from hwgen.runtime.protocol import DamagedError, Info, Packet

# The board computes one frame while it receives the next; a third request would be refused as BUSY.
WINDOW = 2


@dataclass
class Stats:
    """Counts since the connection was opened.

    `requests` sent, repeats included; `replies` accepted; `retries`; and what caused those: `timeouts`,
    `damaged_replies`, `damaged_requests` (as the board says), `busy`. `strays`: replies to no request that waits.
    """

    requests: int = 0
    replies: int = 0
    retries: int = 0
    timeouts: int = 0
    damaged_replies: int = 0
    damaged_requests: int = 0
    busy: int = 0
    strays: int = 0


@dataclass(frozen=True)
class _Waiting:
    """A request on its way: its place in the batch and how often it has been repeated."""

    place: int
    repeats: int


class Device:
    """A connected accelerator; `hwgen.runtime.connect` makes it. A context manager.

    `timeout`: seconds without any reply after which a request is repeated; `retries`: repeats of one request after
    which it is given up with an error.
    """

    def __init__(
        self, name: str, link: Link, manifest: Manifest, resources: contextlib.ExitStack, timeout: float, retries: int
    ) -> None:
        self.name = name
        self.manifest = manifest
        self.stats = Stats()
        self._link = link
        self._resources = resources
        self._timeout = timeout
        self._retries = retries
        self._splitter = protocol.Splitter()
        # A board may still answer a host that vanished: numbers that start anywhere seldom meet those.
        self._sequence = os.urandom(1)[0]

    def info(self) -> Info:
        """What the board says of itself; raises HwgenError when it does not answer."""
        return protocol.parse_info(self._exchange(protocol.INFO, [b""])[0])

    def run(self, x: npt.ArrayLike) -> Codes:
        """Compute frames: integer codes of shape (frames, input codes) to codes of shape (frames, output codes).

        Raises HwgenError on another shape, on values that are no integers or do not fit their bits, and when the
        board fails: no answer, a line that spoils every repeat, an accelerator that does not finish.
        """
        codes = np.asarray(x)
        beats_in, beats_out = self.manifest.input, self.manifest.output
        if codes.ndim != 2 or codes.shape[1] != beats_in.codes:
            raise HwgenError(f"{self.name}: input must have shape (frames, {beats_in.codes}), not {codes.shape}")
        if not np.issubdtype(codes.dtype, np.integer):
            raise HwgenError(f"{self.name}: input must be integer codes, not {codes.dtype}")
        packed, size = beats_in.pack(codes), beats_in.bytes_per_frame
        frames = [packed[at : at + size] for at in range(0, len(packed), size)]
        replies = self._exchange(protocol.RUN, frames)
        for reply in replies:
            if len(reply) != beats_out.bytes_per_frame:
                raise HwgenError(
                    f"{self.name}: the board's output frame has {len(reply)} bytes, not {beats_out.bytes_per_frame}"
                )
        return beats_out.unpack(b"".join(replies))

    def check(self) -> None:
        """Compare the board with the manifest; raises HwgenError with both ids when it holds another network."""
        info, manifest = self.info(), self.manifest
        if info.graph_id != manifest.graph_id:
            raise HwgenError(
                f"{self.name} holds another network: its id is {info.graph_id}, "
                f"{manifest.path} says {manifest.graph_id}"
            )
        sizes = (manifest.input.bytes_per_frame, manifest.output.bytes_per_frame)
        if (info.input_bytes, info.output_bytes) != sizes:
            raise HwgenError(
                f"{self.name}: the board's frames have {info.input_bytes} bytes in and {info.output_bytes} out, "
                f"{manifest.path} says {sizes[0]} and {sizes[1]}"
            )

    def close(self) -> None:
        """Close the port and end the simulated board, if there is one; a second call does nothing."""
        self._resources.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, kind: int, payloads: Sequence[bytes]) -> list[bytes]:
        """Send every payload as a request of this kind, WINDOW at a time, and return the replies' payloads in order."""
        replies: dict[int, bytes] = {}
        todo = deque(_Waiting(place, 0) for place in range(len(payloads)))
        waiting: dict[int, _Waiting] = {}
        deadline = 0.0
        while todo or waiting:
            # A repeat goes alone, so that a board that was busy with the other request is free.
            while todo and len(waiting) < (1 if todo[0].repeats else WINDOW):
                request = todo.popleft()
                waiting[self._send(kind, payloads[request.place])] = request
                deadline = time.monotonic() + self._timeout
            for piece in self._splitter.feed(self._link.read(deadline - time.monotonic())):
                sequence, reply = self._judge(kind, piece, waiting)
                if sequence is None:
                    continue
                deadline = time.monotonic() + self._timeout
                if isinstance(reply, str):
                    todo.appendleft(self._repeat(waiting, sequence, reply))
                else:
                    replies[waiting.pop(sequence).place] = reply
            if waiting and time.monotonic() >= deadline:
                self.stats.timeouts += 1
                todo.appendleft(self._repeat(waiting, next(iter(waiting)), self._silence()))
        return [replies[place] for place in range(len(payloads))]

    def _send(self, kind: int, payload: bytes) -> int:
        # Every repeat has a number of its own, so that a late reply to an earlier attempt is known as such.
        self._sequence = (self._sequence + 1) % 256
        self.stats.requests += 1
        self._link.write(protocol.encode(Packet(kind, self._sequence, payload)))
        return self._sequence

    def _judge(self, kind: int, piece: bytes, waiting: dict[int, _Waiting]) -> tuple[int | None, bytes | str]:
        """The request that a piece of the line answers, with the payload, or with the reason to repeat it.

        No request: a stray. Raises HwgenError for an answer that no repeat can mend.
        """
        try:
            packet = protocol.decode(piece)
        except DamagedError as error:
            # Replies come in the order of the requests, so it is most likely the oldest one's.
            self.stats.damaged_replies += 1
            return next(iter(waiting), None), str(error)
        if packet.sequence not in waiting or packet.kind not in (protocol.ERROR, kind | protocol.REPLY):
            self.stats.strays += 1
            return None, b""
        if packet.kind == protocol.ERROR:
            return packet.sequence, self._refusal(packet.payload)
        self.stats.replies += 1
        return packet.sequence, packet.payload

    def _refusal(self, payload: bytes) -> str:
        code = payload[0] if payload else 0
        text = protocol.ERROR_TEXT.get(code, f"the board refuses with the unknown code {code}")
        if code == protocol.BUSY:
            self.stats.busy += 1
        elif code in (protocol.CORRUPT, protocol.LENGTH):
            self.stats.damaged_requests += 1
        else:
            raise HwgenError(f"{self.name}: {text}")
        return text

    def _repeat(self, waiting: dict[int, _Waiting], sequence: int, reason: str) -> _Waiting:
        request = waiting.pop(sequence)
        if request.repeats >= self._retries:
            raise HwgenError(f"{self.name}: gave up after {self._retries} retries: {reason}")
        self.stats.retries += 1
        return _Waiting(request.place, request.repeats + 1)

    def _silence(self) -> str:
        strays = f"; {self.stats.strays} replies belonged to no waiting request" if self.stats.strays else ""
        return (
            f"no answer within {self._timeout:g} s at {self._link.baud} baud "
            f"(is the board powered, configured and at this baud rate?){strays}"
        )
