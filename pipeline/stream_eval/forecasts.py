"""Which forecast moves the boxes that are shown: none, the paper's, or the tracker's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from pipeline.config.build import tracker_factory
from pipeline.config.schema import Section
from pipeline.core.arrays import Float64Array
from pipeline.core.boxes import ltwh_to_xyxy, xyxy_to_ltwh
from pipeline.core.errors import UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import ForecastingTracker
from pipeline.core.result import HORIZON_S
from pipeline.stream_eval.answers import Answers
from pipeline.stream_eval.evaluate import MakeForecast
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.published_forecast import PublishedForecast
from pipeline.streaming.shown import Forecast
from pipeline.streaming.stream import Stream
from pipeline.streaming.track_forecast import TrackForecast

ForecastName = Literal["off", "published", "ours"]


def make_forecast(name: ForecastName, tracker: Section) -> MakeForecast | None:
    """What makes the forecast of a sequence.

    Args:
        name: off: boxes stay where their picture had them; published: the sAP paper's; ours: by the tracker that made
            the boxes or, where they have no tracks, by one that looks at what is shown.
        tracker: that tracker's section.

    Raises:
        UsageError: ours, of a tracker that cannot tell where its tracks are going.
    """
    if name == "off":
        return None
    if name == "published":
        return lambda answers: PublishedForecast()

    def ours(answers: Answers) -> Forecast:
        if answers.motion is not None:
            return MotionForecast(answers.motion)
        return TrackForecast(lambda stream: _tracker(tracker, stream))

    return ours


class MotionForecast:
    """Moves tracks by the filter of the tracker that made them, as `run --compensate display` does.

    Args:
        motion: where the tracks of each output's frame are going, row by row.
    """

    def __init__(self, motion: Mapping[int, TrackMotion]) -> None:
        self._motion = motion

    def begin(self, stream: Stream) -> None:
        """Take the stream's rate."""
        self._interval_s = stream.interval_s

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The tracks at a frame, at most `HORIZON_S` from their own."""
        motion = self._motion[output.input_frame]
        return _moved(output.boxes, motion, (frame - output.input_frame) * self._interval_s)


def _moved(boxes: Boxes, motion: TrackMotion, ahead_s: float) -> Boxes:
    xyxy = np.asarray(ltwh_to_xyxy(boxes.ltwh), np.float32)
    moved = motion.moved(xyxy, min(max(ahead_s, -HORIZON_S), HORIZON_S))
    ltwh: Float64Array = np.asarray(xyxy_to_ltwh(moved), np.float64)
    return Boxes(ltwh, boxes.score, boxes.class_id, boxes.track_id)


def _tracker(section: Section, stream: Stream) -> ForecastingTracker:
    factory = tracker_factory({} if section.get("kind") == "none" else section)
    info = StreamInfo(stream.name, stream.width_px, stream.height_px, float(stream.fps), True, stream.n_frames)
    tracker = None if factory is None else factory(info)
    if not isinstance(tracker, ForecastingTracker):
        raise UsageError("--forecast ours: wanted a tracker that tells where its tracks are going (bytetrack)")
    return tracker
