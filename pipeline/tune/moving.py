"""Tracks moved to the instant at which they are shown, exactly as a run with `compensate` moves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pipeline.core.result import HORIZON_S, STALE_S
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import NS, Stream
from pipeline.tune.tracked import Tracked


def moved(tracked: Tracked, ahead_s: float) -> Boxes:
    """The tracks' boxes so many seconds (0 or more) after their frame, at most `HORIZON_S`."""
    xyxy = tracked.motion.moved(tracked.tracks.xyxy, min(ahead_s, HORIZON_S))
    return Boxes.of_tracks(replace(tracked.tracks, xyxy=xyxy))


class MovedToDisplay:
    """Moves what a frame said to the frame that it is shown with. Implements pipeline.streaming.shown.Forecast.

    Args:
        tracked: by number of the frame that the tracks are of.
    """

    def __init__(self, tracked: Mapping[int, Tracked]) -> None:
        self._tracked = tracked

    def begin(self, stream: Stream) -> None:
        """Take the stream's times."""
        self._stream = stream

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The tracks of the output's frame, where they are when `frame` arrives; none where that is too much later."""
        ahead_s = (self._stream.arrival_ns(frame) - self._stream.arrival_ns(output.input_frame)) / NS
        return Boxes.empty() if ahead_s >= STALE_S else moved(self._tracked[output.input_frame], ahead_s)
