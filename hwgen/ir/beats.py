"""How a frame of codes travels on a stream: beats of lanes, packed bits, and the files and bytes that carry them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

Codes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Beats:
    """The shape of one stream: every frame is `beats` beats of `lanes` codes of `bits` bits.

    Lane 0 stands in the least significant bits and carries the lowest index of the frame.
    On the wire the payload is `{last, first, lanes}`: the two frame delimiters stand above the codes.
    """

    lanes: int
    bits: int
    signed: bool
    beats: int

    def __post_init__(self) -> None:
        if min(self.lanes, self.bits, self.beats) < 1:
            raise HwgenError(f"a stream needs at least one lane, bit and beat, not {self}")
        if self.bits > 63:
            raise HwgenError(f"a stream lane holds at most 63 bits, not {self.bits}")

    @property
    def codes(self) -> int:
        """Codes in one frame."""
        return self.lanes * self.beats

    @property
    def data_bits(self) -> int:
        """Bits of one beat without the frame delimiters."""
        return self.lanes * self.bits

    @property
    def payload_bits(self) -> int:
        """Bits of one beat with `first` and `last`."""
        return self.data_bits + 2

    @property
    def bytes_per_beat(self) -> int:
        """Bytes that carry one beat's codes (no delimiters), little endian, the last byte padded with zeros."""
        return (self.data_bits + 7) // 8

    @property
    def bytes_per_frame(self) -> int:
        return self.bytes_per_beat * self.beats

    def pack(self, codes: npt.ArrayLike) -> bytes:
        """Bytes of whole frames.

        `codes`: integers of shape (frames, codes). Each beat takes `bytes_per_beat` bytes, so the result has
        frames * bytes_per_frame bytes. Raises HwgenError on a wrong shape or a code that does not fit its bits.
        """
        frames = np.asarray(codes, dtype=np.int64).reshape(-1, self.codes)
        low, high = (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1) if self.signed else (0, (1 << self.bits) - 1)
        if frames.size and (frames.min() < low or frames.max() > high):
            raise HwgenError(f"codes {frames.min()}..{frames.max()} do not fit a {self.bits}-bit lane ({low}..{high})")
        lanes = frames.reshape(-1, self.lanes, 1)
        bits = (lanes >> np.arange(self.bits)) & 1
        flat = bits.astype(np.uint8).reshape(-1, self.data_bits)
        return np.packbits(flat, axis=1, bitorder="little").tobytes()

    def unpack(self, data: bytes) -> Codes:
        """Codes of shape (frames, codes) from bytes that `pack` made; raises HwgenError on a partial frame."""
        if len(data) % self.bytes_per_frame:
            raise HwgenError(f"{len(data)} bytes are not whole frames of {self.bytes_per_frame} bytes")
        raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, self.bytes_per_beat)
        bits = np.unpackbits(raw, axis=1, bitorder="little", count=self.data_bits).astype(np.int64)
        codes: Codes = (bits.reshape(-1, self.bits) << np.arange(self.bits)).sum(axis=1)
        if self.signed:
            codes = codes - ((codes >> (self.bits - 1)) << self.bits)
        return codes.reshape(-1, self.codes)

    def to_json(self) -> dict[str, int | bool]:
        return {"lanes": self.lanes, "bits": self.bits, "signed": self.signed, "beats": self.beats}
