"""Which frames of a video become pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pipeline.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Every:
    """Which frames become pictures: one in every `frames` frames, or the first of every `seconds` of media time."""

    frames: int = 0
    seconds: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Every:
        """`every=2.5s` or `every=25`. Raises UsageError."""
        found = re.fullmatch(r"every=(\d+(?:\.\d+)?)(s?)", text.strip())
        number = float(found[1]) if found else 0.0
        if found and found[2] and number > 0:
            return cls(seconds=number)
        if found and not found[2] and number.is_integer() and number > 0:
            return cls(frames=int(number))
        raise UsageError(f"images: wanted every=1s (media time) or every=25 (frames), found {text!r}")

    def turn(self, frame: int, time_s: float) -> int:
        """A number that grows with the frames; the first frame of each number becomes a picture."""
        # A little more than the quotient, which is 0.99999 of a whole number as often as it is one.
        return frame // self.frames if self.frames else int(time_s / self.seconds + 1e-6)
