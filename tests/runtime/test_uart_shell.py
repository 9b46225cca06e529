"""The real shell in simulation, spoken to byte by byte and through the real driver."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hwgen.errors import HwgenError, ToolFailedError
from hwgen.runtime import connect, protocol
from hwgen.runtime.protocol import Packet
from hwgen.tools import verilator, yosys
from hwgen.tools.board_sim import BoardSim, board_sim, build_board_sim, build_uart_board_sim, shell_sources
from tests.runtime.conftest import BUILD, GRAPH_ID, INPUT, OUTPUT, one_at_a_time, write_manifest

ACCEL = Path(__file__).with_name("accel.sv")
FRAME = np.arange(12).reshape(1, 12) - 5
HANG = np.array([[-16] * 3 + [0] * 9])
MISFRAME = np.array([[-15] * 3 + [0] * 9])


class Line:
    """The host's end of the line, without the driver."""

    def __init__(self, board: BoardSim) -> None:
        self.file = os.open(board.pty, os.O_RDWR | os.O_NOCTTY)
        self.splitter = protocol.Splitter()
        self.packets: list[Packet] = []

    def send(self, data: bytes) -> None:
        assert os.write(self.file, data) == len(data)

    def receive(self, timeout: float = 10.0) -> Packet | None:
        while not self.packets:
            if not select.select([self.file], [], [], timeout)[0]:
                return None
            self.packets += [protocol.decode(piece) for piece in self.splitter.feed(os.read(self.file, 4096))]
        return self.packets.pop(0)

    def ask(self, data: bytes) -> Packet | None:
        self.send(data)
        return self.receive()


@pytest.fixture
def line(board: BoardSim) -> Iterator[Line]:
    line = Line(board)
    yield line
    os.close(line.file)


def run(sequence: int, codes: np.ndarray = FRAME) -> bytes:
    return protocol.encode(Packet(protocol.RUN, sequence, INPUT.pack(codes)))


def answer(sequence: int, codes: np.ndarray = FRAME) -> Packet:
    return Packet(protocol.RUN | protocol.REPLY, sequence, OUTPUT.pack(codes + 1))


def refusal(sequence: int, code: int) -> Packet:
    return Packet(protocol.ERROR, sequence, bytes([code]))


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (15, 4, 18, 4), (8, 8, 4, 1), (9, 1, 17, 2), (256, 98, 64, 100)])
def test_the_shell_lints_clean(shape: tuple[int, int, int, int]) -> None:
    names = ("IN_BITS", "IN_BEATS", "OUT_BITS", "OUT_BEATS")
    sources = [path for path in shell_sources() if path.stem != "uart_top"]
    verilator.lint(sources, "uart_shell", args=[f"-G{name}={value}" for name, value in zip(names, shape, strict=True)])


def test_the_top_lints_clean() -> None:
    args = ["-GIN_BITS=15", "-GIN_BEATS=4", "-GOUT_BITS=18", "-GOUT_BEATS=4"]
    verilator.lint([*shell_sources(), ACCEL], "uart_top", args=args)


@pytest.mark.slow
def test_info_tells_version_network_and_sizes(line: Line) -> None:
    reply = line.ask(protocol.encode(Packet(protocol.INFO, 0xC0)))
    assert reply is not None
    assert (reply.kind, reply.sequence) == (protocol.INFO | protocol.REPLY, 0xC0)
    info = protocol.parse_info(reply.payload)
    assert (info.graph_id, info.input_bytes, info.output_bytes) == (GRAPH_ID, 8, 12)


@pytest.mark.slow
def test_every_sequence_number_and_many_frames(line: Line) -> None:
    random = np.random.default_rng(1)
    for sequence in range(256):
        codes = random.integers(-14, 16, (1, 12))
        assert line.ask(run(sequence, codes)) == answer(sequence, codes)


@pytest.mark.slow
def test_a_damaged_byte_anywhere_never_reaches_the_accelerator(line: Line) -> None:
    good = run(9)
    for place in range(1, len(good) - 1):
        bad = bytearray(good)
        bad[place] ^= 0x10
        reply = line.ask(bytes(bad))
        assert reply is not None
        assert (reply.kind, reply.payload) == (protocol.ERROR, bytes([protocol.CORRUPT]))
        assert line.ask(run(place)) == answer(place)


@pytest.mark.slow
def test_a_truncated_packet_is_refused_and_the_next_one_answered(line: Line) -> None:
    good = run(1)
    for size in range(2, len(good) - 1):
        reply = line.ask(good[:size] + run(2))
        assert reply is not None
        assert reply.kind == protocol.ERROR
        assert reply.payload == bytes([protocol.LENGTH if size < 5 else protocol.CORRUPT])
        assert line.receive() == answer(2)


def mangled(line: bytes, random: np.random.Generator) -> bytes:
    """A packet with a few bytes changed, left out, doubled or cut off, none of it at its ends."""
    body = bytearray(line[1:-1])
    for _ in range(random.integers(1, 4)):
        place = int(random.integers(len(body)))
        match random.integers(4):
            case 0:
                body[place] = int(random.integers(256))
            case 1:
                del body[place]
            case 2:
                body.insert(place, body[place])
            case _:
                del body[place + 1 :]
    return protocol.END + bytes(body) + protocol.END


@pytest.mark.slow
def test_mangled_packets_never_get_a_wrong_answer(line: Line) -> None:
    random = np.random.default_rng(4)
    for turn in range(300):
        codes, bad = random.integers(-14, 16, (1, 12)), random.integers(-14, 16, (1, 12))
        line.send(mangled(run(0, bad), random))
        expected = answer(1 + turn % 255, codes)
        reply = line.ask(run(1 + turn % 255, codes))
        while reply != expected:
            assert reply is not None
            # Whatever is left of the packet is refused, unless the mangling changed nothing.
            assert reply.kind == protocol.ERROR or reply == answer(0, bad)
            reply = line.receive()


@pytest.mark.slow
def test_requests_of_wrong_length_or_type_are_refused(line: Line) -> None:
    def ask(kind: int, payload: bytes) -> Packet | None:
        return line.ask(protocol.encode(Packet(kind, 3, payload)))

    assert ask(protocol.RUN, bytes(7)) == refusal(3, protocol.LENGTH)
    assert ask(protocol.RUN, bytes(9)) == refusal(3, protocol.LENGTH)
    assert ask(protocol.RUN, bytes(300)) == refusal(3, protocol.LENGTH)
    assert ask(protocol.RUN, b"") == refusal(3, protocol.LENGTH)
    assert ask(protocol.INFO, b"x") == refusal(3, protocol.LENGTH)
    assert ask(0x03, b"") == refusal(3, protocol.UNKNOWN)
    assert ask(protocol.RUN | protocol.REPLY, bytes(8)) == refusal(3, protocol.UNKNOWN)
    assert line.ask(run(4)) == answer(4)


@pytest.mark.slow
def test_noise_between_packets_costs_nothing_but_an_error(line: Line) -> None:
    line.send(protocol.END * 20 + os.urandom(500).replace(protocol.END, b"!") + protocol.ESC)
    reply = line.ask(run(5))
    assert reply is not None
    assert reply.kind == protocol.ERROR
    assert line.receive() == answer(5)


@pytest.mark.slow
def test_a_broken_stop_bit_spoils_the_packet(board: BoardSim, line: Line) -> None:
    line.send(run(6)[:5])
    time.sleep(0.2)
    board.break_byte()
    reply = line.ask(run(6)[5:])
    assert reply is not None
    assert (reply.kind, reply.payload) == (protocol.ERROR, bytes([protocol.CORRUPT]))
    assert line.ask(run(7)) == answer(7)


@pytest.mark.slow
def test_an_accelerator_that_hangs_is_reset(line: Line) -> None:
    for sequence in range(3):
        assert line.ask(run(sequence, HANG)) == refusal(sequence, protocol.TIMEOUT)
        assert line.ask(run(sequence)) == answer(sequence)


@pytest.mark.slow
def test_an_output_frame_with_wrong_ends_is_refused(line: Line) -> None:
    assert line.ask(run(1, MISFRAME)) == refusal(1, protocol.OUTPUT)
    assert line.ask(run(2)) == answer(2)


@pytest.mark.slow
def test_two_requests_queue_and_the_third_is_busy(line: Line) -> None:
    # The first one hangs until the watchdog (2000 clocks), while the others arrive (14 bytes of 88 clocks each).
    line.send(run(1, HANG) + run(2) + run(3))
    assert [line.receive(), line.receive(), line.receive()] == [
        refusal(1, protocol.TIMEOUT),
        answer(2),
        refusal(3, protocol.BUSY),
    ]
    assert line.ask(run(4)) == answer(4)


@pytest.mark.slow
def test_reset_in_mid_frame(board: BoardSim, line: Line) -> None:
    line.send(run(1)[:8])
    time.sleep(0.2)
    board.press_reset()
    time.sleep(0.2)
    # What comes after the reset is no packet; the next END starts afresh.
    reply = line.ask(run(1)[8:])
    assert reply is not None
    assert reply.kind == protocol.ERROR
    assert line.ask(run(2)) == answer(2)


@pytest.mark.slow
def test_a_host_that_vanishes_in_mid_frame_is_forgotten(
    board: BoardSim, board_executable: Path, tmp_path: Path
) -> None:
    manifest = write_manifest(tmp_path)
    first = Line(board)
    first.send(run(1) + run(2)[:9] + protocol.ESC)
    os.close(first.file)
    with connect(f"serial:{board.pty}", manifest) as device:
        assert (device.run(FRAME) == FRAME + 1).all()


@pytest.mark.slow
def test_the_driver_runs_many_frames_without_a_retry(board_executable: Path, tmp_path: Path) -> None:
    folder = write_manifest(tmp_path, board_sim=os.path.relpath(board_executable, tmp_path))
    codes = np.random.default_rng(2).integers(-14, 16, (1000, 12))
    with connect(f"sim:{folder}") as device:
        assert (device.run(codes) == codes + 1).all()
        assert device.run(codes[:0]).shape == (0, 12)
        assert device.info().graph_id == GRAPH_ID
        assert (device.stats.requests, device.stats.retries, device.stats.strays) == (1002, 0, 0)


@pytest.mark.slow
def test_the_driver_repairs_a_bad_line(board: BoardSim, tmp_path: Path) -> None:
    codes = np.random.default_rng(3).integers(-14, 16, (40, 12))
    with connect(f"serial:{board.pty}", write_manifest(tmp_path), timeout=0.5, retries=5) as device:
        for row in codes:
            board.break_byte()
            assert (device.run(row[None]) == row + 1).all()
        board.press_reset()
        assert (device.run(codes) == codes + 1).all()
        stats = device.stats
        assert stats.retries >= 30
        assert stats.retries <= stats.timeouts + stats.damaged_requests + stats.damaged_replies + stats.busy


@pytest.mark.slow
def test_the_driver_names_an_accelerator_that_hangs(board: BoardSim, tmp_path: Path) -> None:
    with connect(f"serial:{board.pty}", write_manifest(tmp_path)) as device:
        with pytest.raises(HwgenError, match="the accelerator did not finish the frame in time and was reset"):
            device.run(np.vstack([FRAME, HANG, FRAME]))
        assert (device.run(FRAME) == FRAME + 1).all()
        with pytest.raises(HwgenError, match="marked the ends of its output frame wrongly"):
            device.run(MISFRAME)


@pytest.mark.slow
def test_another_network_is_an_error_with_both_ids(board: BoardSim, tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, hash="0123456789abcdef")
    with pytest.raises(HwgenError, match=r"another network: its id is c0db0123456789ab, .* says 0123456789abcdef"):
        connect(f"serial:{board.pty}", manifest)


@pytest.mark.slow
def test_a_board_that_is_unplugged_is_named(board: BoardSim, tmp_path: Path) -> None:
    with connect(f"serial:{board.pty}", write_manifest(tmp_path)) as device:
        board.child.kill()
        board.child.wait()
        with pytest.raises(HwgenError, match=r"the serial port .* is gone"):
            device.run(FRAME)


@pytest.mark.slow
def test_one_lane_and_one_beat(tmp_path: Path) -> None:
    """The narrowest frames: every counter of the shell has its least width."""
    source = tmp_path / "accel.sv"
    source.write_text(ACCEL.read_text().replace("LANES = 3", "LANES = 1").replace("BEATS = 4", "BEATS = 1"))
    with one_at_a_time(BUILD / "narrow"):
        executable = build_uart_board_sim(
            [source], BUILD / "narrow", input_beat=(5, 1), output_beat=(6, 1), graph_id=GRAPH_ID, divisor=4
        )
    shapes = {
        "input": {**INPUT.to_json(), "lanes": 1, "beats": 1},
        "output": {**OUTPUT.to_json(), "lanes": 1, "beats": 1},
    }
    codes = np.arange(-14, 16)[:, None]
    with connect(f"sim:{write_manifest(tmp_path, board_sim=str(executable), **shapes)}") as device:
        assert (device.run(codes) == codes + 1).all()


@pytest.mark.slow
def test_an_idle_board_sleeps_and_wakes(board: BoardSim, line: Line) -> None:
    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{board.child.pid}/stat").read_text().split()[13:15]))

    assert line.ask(run(1)) == answer(1)
    time.sleep(1.0)
    before = ticks()
    time.sleep(1.0)
    assert ticks() - before <= 2
    assert line.ask(run(2)) == answer(2)


@pytest.mark.slow
def test_the_board_ends_with_the_block_and_with_its_parent(board_executable: Path) -> None:
    with pytest.raises(ZeroDivisionError), board_sim(board_executable) as running:
        raise ZeroDivisionError
    assert running.child.returncode == 0
    script = (
        "import sys, os, pathlib, hwgen.tools.board_sim as b\n"
        f"with b.board_sim(pathlib.Path({str(board_executable)!r})) as board:\n"
        "    print(board.child.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    child = Path(f"/proc/{killed.stdout.strip()}/exe")
    end = time.monotonic() + 10
    while child.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not child.exists()


def test_a_board_that_cannot_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(HwgenError, match="at least 4 clocks a bit, not 3"):
        build_board_sim([], "board", 3, tmp_path)
    with pytest.raises(HwgenError, match="nothing is not an executable file"), board_sim(tmp_path / "nothing"):
        pass
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nexit 3\n")
    script.chmod(0o755)
    with pytest.raises(ToolFailedError, match="ended with code 3 before it named"), board_sim(script):
        pass
    script.write_text("#!/bin/sh\nexec cat\n")
    with (
        pytest.raises(ToolFailedError, match=r"did not name its terminal within 0\.1 s"),
        board_sim(script, timeout=0.1),
    ):
        pass


@pytest.mark.slow
def test_yosys_puts_both_buffers_into_block_ram(tmp_path: Path) -> None:
    """The whole shell with frames of 64 and 32 bytes; the figures are ceilings for growth, not promises."""
    top = tmp_path / "top.sv"
    top.write_text(
        """
        module top(input wire clk, rst, uart_rx, m_ready, s_valid, input wire [17:0] s, output wire [17:0] m,
                   output wire uart_tx, accel_rst, m_valid, s_ready, output wire [3:0] status);
            uart_shell #(.DIVISOR(12), .IN_BITS(16), .IN_BEATS(32), .OUT_BITS(16), .OUT_BEATS(16)) shell (
                .clk, .rst, .uart_rx, .uart_tx, .accel_rst, .m_payload(m), .m_valid, .m_ready, .s_payload(s), .s_valid,
                .s_ready, .status);
        endmodule
        """
    )
    total = yosys.synthesise(
        [*shell_sources()[:-1], top], "top", "ice40", tmp_path / "out", timeout=300
    ).statistics.total
    assert total.bram == 2
    assert total.lut is not None
    assert total.lut < 500
