"""The packets between host and board: SLIP framing, header, CRC. The same text for humans: docs/protocol.md."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

from hwgen.errors import HwgenError

VERSION = 1

# Types. A reply has the type of its request with REPLY set; a refusal has the type ERROR and a code as its payload.
INFO = 0x01
RUN = 0x02
REPLY = 0x80
ERROR = 0xFF

# Codes of ERROR.
CORRUPT = 1
LENGTH = 2
UNKNOWN = 3
BUSY = 4
TIMEOUT = 5
OUTPUT = 6
ERROR_TEXT = {
    CORRUPT: "the request arrived damaged",
    LENGTH: "the request has a length that its type does not have",
    UNKNOWN: "the board does not know this type of request",
    BUSY: "the board still works on two earlier requests",
    TIMEOUT: "the accelerator did not finish the frame in time and was reset",
    OUTPUT: "the accelerator marked the ends of its output frame wrongly and was reset",
}

# SLIP, RFC 1055.
END = b"\xc0"
ESC = b"\xdb"
ESC_END = b"\xdb\xdc"
ESC_ESC = b"\xdb\xdd"


class DamagedError(HwgenError):
    """Bytes between two ENDs that are not a packet: the message says what is wrong with them."""


@dataclass(frozen=True)
class Packet:
    """One request or reply; `kind` and `sequence` are bytes (0..255)."""

    kind: int
    sequence: int
    payload: bytes = b""


@dataclass(frozen=True)
class Info:
    """What a board says of itself; `graph_id` is 16 hex digits, the sizes are bytes of one frame."""

    version: int
    graph_id: str
    input_bytes: int
    output_bytes: int


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE: polynomial 0x1021, start value 0xFFFF, no reflection, no final inversion."""
    return binascii.crc_hqx(data, 0xFFFF)


def slip(data: bytes) -> bytes:
    """`data` with END and ESC escaped, an END before it and one behind (RFC 1055)."""
    return END + data.replace(ESC, ESC_ESC).replace(END, ESC_END) + END


def unslip(data: bytes) -> bytes:
    """The bytes that were escaped as `data` (no ENDs in it); raises DamagedError for an escape that does not exist."""
    head, *rest = data.split(ESC)
    plain = [head]
    for piece in rest:
        escaped = {ESC_END[1:]: END, ESC_ESC[1:]: ESC}.get(piece[:1])
        if escaped is None:
            raise DamagedError(f"a damaged packet: ESC is followed by {piece[:1].hex() or 'END'}")
        plain += [escaped, piece[1:]]
    return b"".join(plain)


def encode(packet: Packet) -> bytes:
    """The bytes of `packet` on the line."""
    body = bytes([packet.kind, packet.sequence]) + packet.payload
    return slip(body + crc16(body).to_bytes(2, "big"))


def decode(data: bytes) -> Packet:
    """The packet whose bytes between two ENDs are `data`; raises DamagedError when they are none (length, CRC)."""
    body = unslip(data)
    if len(body) < 4:
        raise DamagedError(f"a damaged packet: {len(body)} bytes, and the shortest has 4")
    if crc16(body):
        raise DamagedError(f"a damaged packet: CRC {body[-2:].hex()}, computed {crc16(body[:-2]):04x}")
    return Packet(body[0], body[1], body[2:-2])


@dataclass
class Splitter:
    """Collects bytes as they arrive and gives out what stands between ENDs, empty stretches left out."""

    _rest: bytes = field(default=b"")

    def feed(self, data: bytes) -> list[bytes]:
        *whole, self._rest = (self._rest + data).split(END)
        return [piece for piece in whole if piece]

    def clear(self) -> None:
        self._rest = b""


def parse_info(payload: bytes) -> Info:
    """Read the payload of an INFO reply; raises HwgenError for another version of the protocol or a wrong length."""
    if payload[:1] != bytes([VERSION]):
        raise HwgenError(f"the board speaks protocol version {payload[:1].hex() or 'none'}, this hwgen {VERSION:02x}")
    if len(payload) != 17:
        raise HwgenError(f"the board's INFO has {len(payload)} bytes, not 17")
    sizes = [int.from_bytes(payload[at : at + 4], "big") for at in (9, 13)]
    return Info(payload[0], payload[1:9].hex(), sizes[0], sizes[1])
