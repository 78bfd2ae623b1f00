"""Side by side: what is true, and what was shown at that moment."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from pipeline.core.arrays import ImageArray
from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.stream_eval.clip import Clip
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.shown import Shown
from pipeline.streaming.stream import NS
from sinks.draw import Annotator, DrawConfig
from sinks.labels import LabelWriter
from sinks.video_file import VideoFileConfig, VideoFileSink

_GAP_PX = 4
_DARK = (40, 40, 40)
_BARE = DrawConfig(boxes=False, labels=False, ids=False, confidence=False, trails=False, counts=False)


def write_video(path: Path, clip: Clip, shown: Shown, *, exist_ok: bool = False) -> None:
    """Write a video of the clip: left each frame with the truth, right the same frame with what was shown then.

    Args:
        path: .mp4 or .mkv.
        clip: the pictures and their labels.
        shown: what was shown.
        exist_ok: replace the file if it exists.

    Raises:
        SinkError: it cannot be written.
        SourceError, DatasetError: the pictures cannot be read.
    """
    truth, stream = clip.labelled.truth, clip.stream
    config = VideoFileConfig(path=path, exist_ok=exist_ok, draw=_BARE)
    draw = DrawConfig(trails=False, counts=False, confidence=False, color_by="class")
    left, right = Annotator(draw, truth.class_names), Annotator(draw, truth.class_names)
    writer = LabelWriter(max(12, stream.height_px // 28))
    with closing(VideoFileSink(config, class_names=truth.class_names)) as sink:
        width_px = 2 * stream.width_px + _GAP_PX
        sink.open(StreamInfo(stream.name, width_px, stream.height_px, float(stream.fps), False, stream.n_frames))
        for frame in clip.frames():
            of_frame = frame.index
            counted = truth.boxes[of_frame].select(~truth.crowd[of_frame])
            stands = shown.boxes[of_frame]
            pictures = [
                left.draw(_result(frame, counted, with_ids=False)),
                right.draw(_result(frame, stands, with_ids=bool((stands.track_id > 0).all()))),
            ]
            for picture, text in zip(pictures, ("truth", _caption(shown, of_frame)), strict=True):
                writer.write(picture, text, (0, 0), writer.width_px(text), _DARK)
            gap = np.zeros((frame.shape_hw[0], _GAP_PX, 3), np.uint8)
            side_by_side = np.concatenate([pictures[0], gap, pictures[1]], axis=1)
            timed = _timed(frame, side_by_side, of_frame * stream.interval_s)
            sink.write(_result(timed, Boxes.empty(), with_ids=False))


def _caption(shown: Shown, frame: int) -> str:
    index = int(shown.matched.output[frame])
    if index < 0:
        return "shown: nothing yet"
    age = frame - shown.outputs[index].input_frame
    age_ms = 1000 * age * shown.matched.stream.interval_s
    return f"shown: {age_ms:.0f} ms old ({age} frame{'' if age == 1 else 's'})"


def _timed(frame: Frame, image: ImageArray, pts_s: float) -> Frame:
    return Frame(frame.source_id, frame.index, image, pts_s, round(pts_s * NS), CaptureClock.SCHEDULED)


def _result(frame: Frame, boxes: Boxes, *, with_ids: bool) -> FrameResult:
    xyxy = boxes.ltwh.astype(np.float32)
    xyxy[:, 2:] += xyxy[:, :2]
    timeline = Timeline(frame.captured_ns)
    confidence = boxes.score.astype(np.float32)
    if not with_ids:
        found = Detections(xyxy, confidence, boxes.class_id)
        return FrameResult(frame, found, Tracks.empty(), timeline, tracked=False)
    tracks = Tracks(xyxy, confidence, boxes.class_id, boxes.track_id, np.arange(len(boxes)))
    return FrameResult(frame, Detections.empty(), tracks, timeline)
