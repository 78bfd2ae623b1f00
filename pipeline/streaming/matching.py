"""Which output is in force when a frame is asked for: the matching rule of streaming evaluation.

Source: Li, Wang and Ramanan, "Towards Streaming Perception" (arXiv 2005.10420).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from pipeline.core.arrays import IntArray
from pipeline.core.errors import UsageError
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import NS, Stream


@dataclass(frozen=True, eq=False)
class Matched:
    """The output in force for every frame of a stream.

    Attributes:
        stream: the stream.
        output: int64 (n_frames,), index of the output; -1 = none was there yet, a miss.
        input_frame: int64 (n_frames,), the frame that output was made from; -1 for a miss.
    """

    stream: Stream
    output: IntArray
    input_frame: IntArray

    @property
    def misses(self) -> int:
        """Frames for which nothing was there yet."""
        return int((self.output < 0).sum())

    @property
    def in_time(self) -> int:
        """Frames whose output was made from that very frame."""
        return int((self.input_frame == np.arange(len(self.input_frame))).sum())

    @cached_property
    def staleness(self) -> IntArray:
        """How many frames old the picture behind each output is, int64; frames with an output only, in order."""
        age: IntArray = (np.arange(len(self.output)) - self.input_frame)[self.output >= 0]
        return age

    @property
    def mismatch(self) -> int:
        """Sum of the staleness, in frames."""
        return int(self.staleness.sum())

    @property
    def mean_staleness(self) -> float:
        """Mean staleness in frames, of the frames that have an output; NaN where none has."""
        return float(self.staleness.mean()) if len(self.staleness) else float("nan")

    @property
    def mean_staleness_ms(self) -> float:
        """Mean staleness in ms."""
        return self.mean_staleness * self.stream.interval_s * 1e3


def match(outputs: Sequence[Output], stream: Stream, eta: Fraction = Fraction(0)) -> Matched:
    """Find the output that stands when each frame is asked for.

    Frame i is asked for at (i - eta)/fps, rounded up to a whole nanosecond as arrivals are. The last output that was
    there by then, that instant included, answers. It stays in force until the next one is there; nothing lies between.

    Args:
        outputs: in the order in which they came out; of several at one instant the last answers. May be empty.
        stream: the stream they belong to.
        eta: how many frames before its arrival a frame is asked for; below 0: after.

    Raises:
        UsageError: outputs that are not in the order of time, that are of a frame that the stream has not, or that
            were there before their picture was.
    """
    at_ns = np.array([output.at_ns for output in outputs], np.int64)
    frames = np.array([output.input_frame for output in outputs], np.int64)
    _check(at_ns, frames, stream)
    # (frame - eta) NS / fps in whole numbers, rounded up.
    per_frame, whole = NS * stream.fps.denominator, stream.fps.numerator * eta.denominator
    asked_ns = [-((eta.numerator - frame * eta.denominator) * per_frame // whole) for frame in range(stream.n_frames)]
    output = np.searchsorted(at_ns, asked_ns, side="right") - 1
    padded = np.append(frames, -1)
    return Matched(stream, output, padded[output])


def _check(at_ns: IntArray, frames: IntArray, stream: Stream) -> None:
    outside = (frames < 0) | (frames >= stream.n_frames)
    if outside.any():
        k = int(np.argmax(outside))
        raise UsageError(
            f"{stream.name}: wanted outputs of frames 0..{stream.n_frames - 1}, found frame {frames[k]} in output {k}"
        )
    backwards = np.diff(at_ns) < 0
    if backwards.any():
        k = int(np.argmax(backwards)) + 1
        raise UsageError(
            f"{stream.name}: wanted outputs in the order of time, found output {k} at {at_ns[k]} ns after one at "
            f"{at_ns[k - 1]} ns; sort them by the time at which they came out"
        )
    for k, (at, frame) in enumerate(zip(at_ns.tolist(), frames.tolist(), strict=True)):
        if at < stream.arrival_ns(frame):
            raise UsageError(
                f"{stream.name}: wanted outputs after their picture, found output {k} at {at} ns, of frame {frame}, "
                f"which arrives at {stream.arrival_ns(frame)} ns; the frame rate or the clock is another"
            )
