"""A whole board in simulation whose UART is a pseudo-terminal, so that the real host driver talks to the real shell."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwgen.errors import HwgenError, ToolFailedError
from hwgen.tools import verilator
from hwgen.tools.child import OnLine
from hwgen.tools.files import share

SHELL_SOURCES = ("uart_rx", "uart_tx", "uart_crc16", "uart_ram", "uart_request", "uart_reply", "uart_shell", "uart_top")


def shell_sources() -> list[Path]:
    """The Verilog files of the UART shell; its top `uart_top` still needs a module `accel`."""
    return [share("rtl", f"{name}.sv") for name in SHELL_SOURCES]


def build_board_sim(
    sources: Sequence[Path],
    top: str,
    divisor: int,
    out: Path,
    *,
    reset: str | None = None,
    reset_level: int = 1,
    idle_clocks: int = 1 << 21,
    parameters: Mapping[str, int | str] | None = None,
    on_line: OnLine | None = None,
) -> Path:
    """Build the executable of a whole board and return its path, which lies in a folder of `out` named by content.

    `top`: a module with ports `clk`, `uart_rx` and `uart_tx`; `divisor`: clocks per UART bit, at least 4. `reset`:
    the name of its reset port, if any, which resets at `reset_level`. After `idle_clocks` clocks without a byte the
    simulated time stands still until the host writes: it must exceed the shell's watchdog. `parameters`: those of
    the top, as numbers or Verilog literals. Raises HwgenError for a divisor below 4, and what
    `hwgen.tools.verilator.build` raises.
    """
    if divisor < 4:
        raise HwgenError(f"a UART needs at least 4 clocks a bit, not {divisor}")
    defines = [f"-DDIVISOR={divisor}", f"-DIDLE_CLOCKS={idle_clocks}"]
    if reset is not None:
        defines += [f"-DRESET={reset}", f"-DRESET_LEVEL={reset_level}"]
    flags = [word for define in defines for word in ("-CFLAGS", define)]
    options = [
        "--prefix",
        "Vboard",
        "-Wno-fatal",
        *flags,
        *(f"-G{name}={value}" for name, value in (parameters or {}).items()),
    ]
    return verilator.build(sources, top, Path(out), options, cpp=[share("sim", "board_pty.cpp")], on_line=on_line)


def build_uart_board_sim(
    accel: Sequence[Path],
    out: Path,
    *,
    input_beat: tuple[int, int],
    output_beat: tuple[int, int],
    graph_id: str,
    divisor: int = 8,
    watchdog: int = 1 << 20,
    on_line: OnLine | None = None,
) -> Path:
    """Build the executable of `uart_top`, the UART shell around the module `accel` of the files `accel`.

    `input_beat` and `output_beat`: data bits of a beat and beats of a frame. `graph_id`: 16 hex digits. `watchdog`:
    clocks that a frame may take. The rest is as for `build_board_sim`; the board's clock and baud rate do not count
    in simulation, so that the default `divisor` is chosen for speed.
    """
    parameters: dict[str, int | str] = {
        "DIVISOR": divisor,
        "IN_BITS": input_beat[0],
        "IN_BEATS": input_beat[1],
        "OUT_BITS": output_beat[0],
        "OUT_BEATS": output_beat[1],
        "GRAPH_ID": f"64'h{graph_id}",
        "WATCHDOG": watchdog,
    }
    sources = [*shell_sources(), *accel]
    idle = 2 * watchdog + (1 << 16)
    return build_board_sim(
        sources, "uart_top", divisor, out, reset="rst", idle_clocks=idle, parameters=parameters, on_line=on_line
    )


@dataclass(frozen=True)
class BoardSim:
    """A running simulated board: `pty` is the path to open as its serial port."""

    pty: Path
    child: subprocess.Popen[bytes]

    def press_reset(self) -> None:
        """Press the board's reset for 16 clocks (nothing happens on a board without one)."""
        self.child.send_signal(signal.SIGUSR1)

    def break_byte(self) -> None:
        """Spoil the stop bit of the next byte that goes to the board."""
        self.child.send_signal(signal.SIGUSR2)


@contextlib.contextmanager
def board_sim(executable: Path, *, timeout: float = 10.0) -> Iterator[BoardSim]:
    """Run the executable of `build_board_sim` and end it with the block, whatever happens.

    The child also ends by itself when this program dies, for it watches the pipe between them. `timeout`: seconds
    to wait for its start. Raises HwgenError when there is no such file, ToolFailedError when it does not start.
    """
    executable = Path(executable)
    if not os.access(executable, os.X_OK) or executable.is_dir():
        raise HwgenError(f"cannot simulate the board: {executable} is not an executable file")
    child = subprocess.Popen([executable.resolve()], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield BoardSim(Path(_first_line(child, executable, timeout)), child)
    finally:
        _end(child)


def _first_line(child: subprocess.Popen[bytes], executable: Path, timeout: float) -> str:
    assert child.stdout is not None
    line = b""
    end = time.monotonic() + timeout
    while not line.endswith(b"\n"):
        left = end - time.monotonic()
        ready, _, _ = select.select([child.stdout], [], [], max(left, 0))
        if not ready:
            raise ToolFailedError(f"{executable} did not name its terminal within {timeout:g} s")
        piece = os.read(child.stdout.fileno(), 256)
        if not piece:
            raise ToolFailedError(f"{executable} ended with code {child.wait()} before it named its terminal")
        line += piece
    return line.decode().strip()


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    child.stdout.close()
    try:
        child.wait(timeout=2.0)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
