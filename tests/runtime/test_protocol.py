from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hwgen.errors import HwgenError
from hwgen.runtime import protocol
from hwgen.runtime.protocol import DamagedError, Packet


def bitwise_crc(data: bytes) -> int:
    """CRC-16/CCITT-FALSE by its definition, one bit at a time."""
    crc = 0xFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = (crc >> 15) ^ (byte >> bit & 1)
            crc = (crc << 1 & 0xFFFF) ^ (0x1021 if top else 0)
    return crc


def test_crc_has_the_catalogued_check_value() -> None:
    assert protocol.crc16(b"123456789") == 0x29B1
    assert protocol.crc16(b"") == 0xFFFF


@given(st.binary(max_size=64))
def test_crc_agrees_with_its_definition_and_leaves_zero(data: bytes) -> None:
    crc = protocol.crc16(data)
    assert crc == bitwise_crc(data)
    assert protocol.crc16(data + crc.to_bytes(2, "big")) == 0


@given(st.binary(max_size=64))
@example(b"\xc0\xdb\xdc\xdd\xdb\xdc\xc0")
def test_slip_hides_every_end_and_is_undone(data: bytes) -> None:
    line = protocol.slip(data)
    assert line[:1] == line[-1:] == protocol.END
    assert protocol.END not in line[1:-1]
    assert protocol.unslip(line[1:-1]) == data


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=5), st.data())
def test_packets_survive_any_cut_of_the_line(payloads: list[bytes], data: st.DataObject) -> None:
    packets = [Packet(protocol.RUN, number, payload) for number, payload in enumerate(payloads)]
    line = b"".join(protocol.encode(packet) for packet in packets)
    splitter, found = protocol.Splitter(), []
    while line:
        size = data.draw(st.integers(1, len(line)))
        found += splitter.feed(line[:size])
        line = line[size:]
    assert [protocol.decode(piece) for piece in found] == packets


@given(st.binary(max_size=30), st.integers(0), st.integers(1, 255))
def test_one_changed_byte_is_always_noticed(payload: bytes, place: int, change: int) -> None:
    line = bytearray(protocol.encode(Packet(protocol.RUN, 7, payload)))
    line[place % len(line)] ^= change
    for piece in protocol.Splitter().feed(protocol.END + line + protocol.END):
        with pytest.raises(DamagedError):
            protocol.decode(piece)


def test_what_is_no_packet_is_named() -> None:
    with pytest.raises(DamagedError, match="ESC is followed by 01"):
        protocol.decode(b"\x01\xdb\x01")
    with pytest.raises(DamagedError, match="ESC is followed by END"):
        protocol.decode(b"\x01\xdb")
    with pytest.raises(DamagedError, match="3 bytes, and the shortest has 4"):
        protocol.decode(b"\x01\x02\x03")
    with pytest.raises(DamagedError, match=r"CRC 0000, computed [0-9a-f]{4}"):
        protocol.decode(b"\x01\x02\x00\x00")


def test_info_of_another_version_or_length_is_refused() -> None:
    assert protocol.parse_info(b"\x01" + bytes(8) + b"\x00\x00\x00\x05" + b"\x00\x00\x01\x00").output_bytes == 256
    with pytest.raises(HwgenError, match="speaks protocol version 02, this hwgen 01"):
        protocol.parse_info(b"\x02" + bytes(16))
    with pytest.raises(HwgenError, match="version none"):
        protocol.parse_info(b"")
    with pytest.raises(HwgenError, match="INFO has 3 bytes, not 17"):
        protocol.parse_info(b"\x01\x02\x03")


def test_the_documented_exchange_is_what_goes_over_the_line() -> None:
    text = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    host, board = (bytes.fromhex(line[7:]) for line in text.splitlines() if line.startswith(("host  ", "board  ")))
    assert host == protocol.encode(Packet(protocol.INFO, 5))
    reply = protocol.decode(board.strip(protocol.END))
    assert (reply.kind, reply.sequence) == (protocol.INFO | protocol.REPLY, 5)
    assert protocol.parse_info(reply.payload) == protocol.Info(1, "c0db0123456789ab", 8, 12)
