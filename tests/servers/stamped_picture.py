"""A grey picture that says when it was made and what it shows, in blocks that survive an encoder.

32 blocks in two rows at the top: 24 bits of the monotonic clock in milliseconds, which all processes of a machine
share, then 8 bits of any number. It needs nothing but Python, since the system's Python draws it.
"""

from __future__ import annotations

import time
from typing import Any

COLUMNS = 16
TIME_BITS = 24
NUMBER_BITS = 8


def now_ms() -> int:
    """The monotonic clock as it stands in the blocks."""
    return time.monotonic_ns() // 1_000_000 % (1 << TIME_BITS)


def draw(width: int, height: int, number: int) -> bytes:
    """Grey picture of this moment (rows of `width` bytes; `width` a multiple of 16) with `number` (0 to 255) in it."""
    block = width // COLUMNS
    bits = f"{now_ms():0{TIME_BITS}b}{number:0{NUMBER_BITS}b}"
    rows = []
    for first in range(0, len(bits), COLUMNS):
        row = b"".join((b"\xeb" if bit == "1" else b"\x10") * block for bit in bits[first : first + COLUMNS])
        rows.append(row * block)
    below = height - block * len(rows)
    ramp = bytes(60 + 120 * x // width for x in range(width))
    return b"".join(rows) + ramp * below


def read(image: Any) -> tuple[int, int]:
    """Milliseconds and number of a picture: uint8 (h, w, 3) array."""
    block = image.shape[1] // COLUMNS
    bits = 0
    for row in range((TIME_BITS + NUMBER_BITS) // COLUMNS):
        for column in range(COLUMNS):
            middle = image[
                row * block + block // 4 : (row + 1) * block - block // 4,
                column * block + block // 4 : (column + 1) * block - block // 4,
            ]
            bits = bits << 1 | int(middle.mean() > 128)
    return bits >> NUMBER_BITS, bits & (1 << NUMBER_BITS) - 1


def age_ms(image: Any) -> int:
    """Milliseconds since the picture was made."""
    return (now_ms() - read(image)[0]) % (1 << TIME_BITS)
