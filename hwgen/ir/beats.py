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
    shared: bits that all codes of a beat have in common, above their own `bits`: the scale of a block. They travel
    once, above the lanes: `{last, first, shared, lanes}`.
    """

    lanes: int
    bits: int
    signed: bool
    beats: int
    shared: int = 0

    def __post_init__(self) -> None:
        if min(self.lanes, self.bits, self.beats) < 1:
            raise HwgenError(f"a stream needs at least one lane, bit and beat, not {self}")
        if self.bits + self.shared > 63:
            raise HwgenError(f"a stream lane holds at most 63 bits, not {self.bits + self.shared}")
        if self.shared < 0 or (self.shared and self.signed):
            raise HwgenError(f"codes that share bits are unsigned and share 1 or more, not {self}")

    @property
    def codes(self) -> int:
        """Codes in one frame."""
        return self.lanes * self.beats

    @property
    def data_bits(self) -> int:
        """Bits of one beat without the frame delimiters."""
        return self.lane_bits + self.shared

    @property
    def lane_bits(self) -> int:
        """Bits of one beat's lanes."""
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
        frames * bytes_per_frame bytes. Raises HwgenError on a wrong shape, a code that does not fit its bits, or
        codes of one beat that differ in the bits they share.
        """
        frames = np.asarray(codes, dtype=np.int64).reshape(-1, self.codes)
        width = self.bits + self.shared
        low, high = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if self.signed else (0, (1 << width) - 1)
        if frames.size and (frames.min() < low or frames.max() > high):
            raise HwgenError(f"codes {frames.min()}..{frames.max()} do not fit a {width}-bit lane ({low}..{high})")
        lanes = frames.reshape(-1, self.lanes)
        bits = (lanes[:, :, None] >> np.arange(self.bits)) & 1
        flat = bits.astype(np.uint8).reshape(-1, self.lane_bits)
        if self.shared:
            above = lanes >> self.bits
            if (differ := above != above[:, :1]).any():
                beat, lane = (int(n) for n in np.argwhere(differ)[0])
                raise HwgenError(
                    f"beat {beat}: lane {lane} has {above[beat, lane]} in its shared bits, lane 0 {above[beat, 0]}"
                )
            scale = (above[:, :1] >> np.arange(self.shared)) & 1
            flat = np.concatenate([flat, scale.astype(np.uint8)], axis=1)
        return np.packbits(flat, axis=1, bitorder="little").tobytes()

    def unpack(self, data: bytes) -> Codes:
        """Codes of shape (frames, codes) from bytes that `pack` made; raises HwgenError on a partial frame."""
        if len(data) % self.bytes_per_frame:
            raise HwgenError(f"{len(data)} bytes are not whole frames of {self.bytes_per_frame} bytes")
        raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, self.bytes_per_beat)
        bits = np.unpackbits(raw, axis=1, bitorder="little", count=self.data_bits).astype(np.int64)
        lanes = bits[:, : self.lane_bits].reshape(-1, self.lanes, self.bits)
        above = (bits[:, self.lane_bits :] << np.arange(self.bits, self.bits + self.shared)).sum(axis=1, keepdims=True)
        codes: Codes = (lanes << np.arange(self.bits)).sum(axis=2) + above
        if self.signed:
            codes = codes - ((codes >> (self.bits - 1)) << self.bits)
        return codes.reshape(-1, self.codes)

    def to_json(self) -> dict[str, int | bool]:
        return {
            "lanes": self.lanes,
            "bits": self.bits,
            "signed": self.signed,
            "beats": self.beats,
            "shared": self.shared,
        }
