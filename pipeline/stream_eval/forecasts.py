"""Which forecast moves the boxes that are shown: none, the paper's, or the tracker's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from pipeline.config.build import tracker_factory
from pipeline.config.schema import Section
from pipeline.core.arrays import Float64Array, FloatArray
from pipeline.core.boxes import ltwh_to_xyxy, xyxy_to_ltwh
from pipeline.core.detections import Detections
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
        return FollowingForecast(lambda stream: _tracker(tracker, stream))

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


class FollowingForecast:
    """Moves boxes by a tracker that looks at every output; a box without a track stays where it was.

    Args:
        make_tracker: makes the tracker of a stream.
    """

    def __init__(self, make_tracker: Callable[[Stream], ForecastingTracker]) -> None:
        self._make_tracker = make_tracker

    def begin(self, stream: Stream) -> None:
        """A new tracker."""
        self._interval_s = stream.interval_s
        self._tracker = self._make_tracker(stream)
        self._last: Output | None = None
        self._last_frame = -1

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The boxes at a frame, at most `HORIZON_S` from their own."""
        if output is not self._last:
            self._velocity = self._look(output)
            self._last = output
        none = np.zeros(len(output.boxes), np.float32)
        motion = TrackMotion(self._velocity, none, none)
        return _moved(output.boxes, motion, (frame - output.input_frame) * self._interval_s)

    def _look(self, output: Output) -> FloatArray:
        """Velocity of every box, float32 (n, 4) px/s."""
        velocity = np.zeros((len(output.boxes), 4), np.float32)
        # Of frames that come late, overtaken by newer ones, the tracker cannot take any.
        if output.input_frame > self._last_frame:
            self._last_frame = output.input_frame
            found = output.boxes
            detections = Detections(_xyxy(found), found.score.astype(np.float32), found.class_id)
            tracks = self._tracker.update(detections, output.input_frame, output.input_frame * self._interval_s)
            is_found = tracks.detection_row >= 0
            velocity[tracks.detection_row[is_found]] = self._tracker.motion().velocity[is_found]
        return velocity


def _moved(boxes: Boxes, motion: TrackMotion, ahead_s: float) -> Boxes:
    moved = motion.moved(_xyxy(boxes), min(max(ahead_s, -HORIZON_S), HORIZON_S))
    ltwh: Float64Array = np.asarray(xyxy_to_ltwh(moved), np.float64)
    return Boxes(ltwh, boxes.score, boxes.class_id, boxes.track_id)


def _xyxy(boxes: Boxes) -> FloatArray:
    return np.asarray(ltwh_to_xyxy(boxes.ltwh), np.float32)


def _tracker(section: Section, stream: Stream) -> ForecastingTracker:
    factory = tracker_factory({} if section.get("kind") == "none" else section)
    info = StreamInfo(stream.name, stream.width_px, stream.height_px, float(stream.fps), True, stream.n_frames)
    tracker = None if factory is None else factory(info)
    if not isinstance(tracker, ForecastingTracker):
        raise UsageError("--forecast ours: wanted a tracker that tells where its tracks are going (bytetrack)")
    return tracker
