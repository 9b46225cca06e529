"""A serial port: bytes out, bytes in, and one clear error for everything that can happen to it."""

from __future__ import annotations

import contextlib
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from hwgen.errors import HwgenError, ToolMissingError

if TYPE_CHECKING:
    import serial


def _pyserial() -> ModuleType:
    try:
        import serial
    except ImportError as error:
        raise ToolMissingError(
            "pyserial is not installed, and serial ports need it; install it with: pip install 'hwgen[runtime]'"
        ) from error
    return serial


class Link:
    """An open serial port, 8N1 without flow control.

    `path`: the device; `baud`: bits per second; `timeout`: seconds that a write may block. Raises HwgenError when
    the port cannot be opened, and from every method once it is gone; ToolMissingError without pyserial.
    """

    def __init__(self, path: str, baud: int, timeout: float) -> None:
        self.path = path
        self.baud = baud
        self._module = _pyserial()
        try:
            self._port: serial.Serial = self._module.Serial(
                path, baud, timeout=timeout, write_timeout=timeout, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise HwgenError(f"cannot open the serial port {path} at {baud} baud: {error}") from error
        # Without this an FTDI adapter holds short replies back for 16 ms. It is a wish: ports of other kinds refuse it.
        if hasattr(self._port, "set_low_latency_mode"):
            with contextlib.suppress(ValueError, OSError):
                self._port.set_low_latency_mode(True)

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
        except self._module.SerialTimeoutException as error:
            raise HwgenError(f"{self.path} takes no bytes: nothing seems to read the other end") from error
        except OSError as error:
            raise self._gone(error) from error

    def read(self, timeout: float) -> bytes:
        """The bytes that have arrived; waits for the first one for at most `timeout` seconds, then returns b""."""
        try:
            self._port.timeout = max(timeout, 0.0)
            first = self._port.read(1)
            return bytes(first + self._port.read(self._port.in_waiting) if first else first)
        except (OSError, TypeError) as error:
            # pyserial raises TypeError when the port was closed under its feet.
            raise self._gone(error) from error

    def discard(self) -> None:
        """Forget the bytes that arrived before now."""
        try:
            self._port.reset_input_buffer()
        except OSError as error:
            raise self._gone(error) from error

    def close(self) -> None:
        self._port.close()

    def _gone(self, error: Exception) -> HwgenError:
        return HwgenError(f"the serial port {self.path} is gone (unplugged, or closed): {error}")

    def __enter__(self) -> Link:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
