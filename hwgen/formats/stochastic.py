"""Stochastic rounding with random bits that hardware can repeat: one linear feedback shift register for each lane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hwgen.errors import HwgenError

WIDTH = 32
# x^32 + x^22 + x^2 + x + 1 is primitive: a register that is not zero runs through all 2^32 - 1 others.
TAPS = (32, 22, 2, 1)
# Lane l starts at seed + l * SPREAD modulo 2^32: the odd number next to 2^32 over the golden ratio, so that no two
# lanes start alike.
SPREAD = 0x9E3779B9
MAX_BITS = 24


@dataclass(frozen=True)
class Stochastic:
    """Rounding with random numbers: a number x between two codes, counted in steps, becomes floor(x + r * 2**-bits).

    x is what the code holds: the signed number for integers and fixed point, the magnitude for minifloats.
    `bits` of one random number r, 1 to 24. `lanes`: element i of the flattened tensor takes number i // lanes of lane
    i % lanes. Lane l is a register of 32 bits that starts at (seed + l * 0x9E3779B9) modulo 2^32, or at 1 if that is 0.
    One step shifts left by one and puts the xor of bits 31, 21, 1 and 0 into bit 0 (x^32 + x^22 + x^2 + x + 1).
    Every number takes `bits` steps and is then the low `bits` bits.
    """

    bits: int = 8
    seed: int = 1
    lanes: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= MAX_BITS:
            raise HwgenError(f"stochastic rounding takes 1 to {MAX_BITS} random bits, not {self.bits}")
        if not 0 <= self.seed < 1 << WIDTH:
            raise HwgenError(f"the seed of stochastic rounding has {WIDTH} bits, which {self.seed} has not")
        if self.lanes < 1:
            raise HwgenError(f"stochastic rounding has 1 lane or more, not {self.lanes}")

    def start(self, lane: int) -> int:
        """The register of a lane ahead of its first number; never 0."""
        return (self.seed + lane * SPREAD) % (1 << WIDTH) or 1

    def numbers(self, count: int) -> npt.NDArray[np.int64]:
        """The first `count` random numbers, in the order of the elements, shape (count,), each below 2**bits."""
        beats = -(-count // self.lanes)
        # Row k is the bit that step k shifts in, of all lanes; the rows before are the registers, oldest bit first.
        total = WIDTH + beats * self.bits
        row = np.zeros((total, self.lanes), dtype=np.uint8)
        for lane in range(self.lanes):
            row[:WIDTH, lane] = [(self.start(lane) >> (WIDTH - 1 - k)) & 1 for k in range(WIDTH)]
        known, jump = WIDTH, 1
        while known < total:
            # Over GF(2), p(x)^2 = p(x^2): the recurrence also holds with all its distances doubled.
            while 2 * jump * WIDTH <= known:
                jump *= 2
            new = min(jump, total - known)
            for tap in TAPS:
                first = known - tap * jump
                row[known : known + new] ^= row[first : first + new]
            known += new
        steps = row[WIDTH:].reshape(beats, self.bits, self.lanes).astype(np.int64)
        weights = np.int64(1) << np.arange(self.bits - 1, -1, -1, dtype=np.int64)
        return np.asarray(np.einsum("nbl,b->nl", steps, weights).reshape(-1)[:count])


Rounding = str | Stochastic


def as_stochastic(rounding: Rounding) -> Stochastic | None:
    """The random numbers that a rounding asks for; "stochastic" by name is 8 bits, seed 1 and one lane."""
    if isinstance(rounding, Stochastic):
        return rounding
    return Stochastic() if rounding == "stochastic" else None
