"""A stream of pictures in exact time: when each arrives, and which is the newest."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pipeline.core.errors import UsageError

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Stream:
    """Pictures that arrive at a steady rate, the first at 0 ns.

    Instants are whole nanoseconds; arrivals lie between them where the rate does not divide a second, so every
    comparison is made in whole numbers, without rounding.

    Attributes:
        name: name of the sequence.
        fps: pictures per second, exactly (30000/1001 is a Fraction).
        n_frames: number of pictures.
        width_px, height_px: their size.

    Raises:
        UsageError: a rate or number of pictures that is not above 0.
    """

    name: str
    fps: Fraction
    n_frames: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.fps <= 0 or self.n_frames < 1:
            raise UsageError(
                f"{self.name}: wanted pictures at a rate above 0, found {self.n_frames} at {float(self.fps):g} per s"
            )

    def arrival_ns(self, frame: int) -> int:
        """The first whole nanosecond at which a frame is there."""
        return -(-frame * NS * self.fps.denominator // self.fps.numerator)

    def newest(self, at_ns: int) -> int:
        """The newest frame that is there at an instant (from 0 ns on); beyond the end it counts on."""
        return at_ns * self.fps.numerator // (NS * self.fps.denominator)

    @property
    def interval_s(self) -> float:
        """Seconds from frame to frame."""
        return float(1 / self.fps)

    @property
    def end_ns(self) -> int:
        """The instant at which the frame after the last would arrive: the stream is over."""
        return self.arrival_ns(self.n_frames)
