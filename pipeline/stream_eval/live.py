"""A real run in real time: the clip is played at its own rate into the pipeline, and what comes out is kept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from typing import Literal

import numpy as np

from pipeline.config.build import build_run
from pipeline.config.schema import RunConfig
from pipeline.core.arrays import IntArray
from pipeline.core.detections import Detections
from pipeline.core.errors import SourceError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.stream_eval.clip import Clip
from pipeline.streaming.stream import Stream

Decode = Literal["excluded", "included"]
WARM_UP_FRAMES = 3


@dataclass(frozen=True, slots=True, eq=False)
class LiveResult:
    """What is kept of one result: everything but the picture.

    Attributes:
        frame: its number.
        detections, tracks: what was found.
        motion: where the tracks are going, or None.
        timeline: its instants.
    """

    frame: int
    detections: Detections
    tracks: Tracks
    motion: TrackMotion | None
    timeline: Timeline


@dataclass(frozen=True, slots=True, eq=False)
class LiveRun:
    """A run of one clip.

    Attributes:
        results: in the order in which they came out, at least one.
        t0_ns: when frame 0 was due, on the run's clock.
    """

    results: tuple[LiveResult, ...]
    t0_ns: int

    def span_ns(self, begin: str, end: str) -> IntArray:
        """Durations from one instant of the timeline to another, int64 (n,) by result."""
        spans = [getattr(one.timeline, end) - getattr(one.timeline, begin) for one in self.results]
        return np.array(spans, np.int64)

    def wait_ns(self) -> IntArray:
        """How long frames were there before a detector that was free took them, int64 (k,): what threads cost."""
        free_ns = [0, *(one.timeline.detect_end or 0 for one in self.results[:-1])]
        spans = [
            one.timeline.dequeued - one.timeline.captured
            for one, free in zip(self.results, free_ns, strict=True)
            if one.timeline.dequeued is not None and one.timeline.captured is not None and free < one.timeline.captured
        ]
        return np.array(spans, np.int64)

    def turn_ns(self) -> int:
        """From a result to taking a frame that was there already: the hand-over between threads.

        The lower quartile, for a scheduler may have let some of the frames wait on purpose; 0 where none was there.
        """
        spans = [
            later.timeline.dequeued - one.timeline.detect_end
            for one, later in pairwise(self.results)
            if later.timeline.dequeued is not None
            and later.timeline.captured is not None
            and one.timeline.detect_end is not None
            and later.timeline.captured < one.timeline.detect_end
        ]
        return int(np.quantile(spans, 0.25)) if spans else 0


class _Warm:
    """A detector that is warm already: warming up again would let the first frames wait."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.n_parallel = int(getattr(detector, "n_parallel", 1))

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""
        return self._detector.class_names

    def warmup(self) -> None:
        """Nothing."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """As the detector does."""
        return self._detector.detect(frames)

    def close(self) -> None:
        """Nothing: it is somebody else's."""


class _Keeper:
    """A sink that keeps results without their pictures."""

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self) -> None:
        self.results: list[LiveResult] = []

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Keep it."""
        self.results.append(
            LiveResult(result.frame.index, result.detections, result.tracks, result.motion, result.timeline)
        )

    def close(self) -> None:
        """Nothing to end."""


def run_live(clip: Clip, detector: Detector, *, decode: Decode = "excluded", seconds: float | None = None) -> LiveRun:
    """Play the clip into the pipeline.

    Args:
        clip: what is played, and the run's configuration.
        detector: finds the objects; it has had its first pictures before the clip begins.
        decode: excluded: frames are decoded ahead, and are there at their instant; included: they are decoded then.
        seconds: play this much of it only.

    Raises:
        StageError: the run failed.
        SourceError: nothing came out of it.
    """
    config = _paced(clip.config, clip.stream, decode, seconds)
    _warm_up(clip, detector)
    keeper = _Keeper()
    with build_run(config, detector=_Warm(detector), extra_sinks=[SinkBinding("kept", keeper)]) as running:
        running.runner.run()
    if not keeper.results:
        raise SourceError(f"{clip.labelled.name}: wanted results of the run, found none")
    first = keeper.results[0]
    t0_ns = (first.timeline.captured or 0) - clip.stream.arrival_ns(first.frame)
    return LiveRun(tuple(keeper.results), t0_ns)


def _paced(config: RunConfig, stream: Stream, decode: Decode, seconds: float | None) -> RunConfig:
    """The run in real time, at the rate of the labels."""
    source = dict(config.source)
    replay = {"fps": float(stream.fps), "decode_in_time": decode == "included"}
    source["replay"] = {**source.get("replay", {}), **replay}
    if decode == "included":
        # Threads of a decoder each work on a frame of their own, ahead of time: the delay would not be seen.
        source["video_file"] = {**source.get("video_file", {}), "threads": 1}
    n_frames = stream.n_frames if seconds is None else min(stream.n_frames, int(Fraction(seconds) * stream.fps) + 1)
    runtime = config.runtime.model_copy(update={"realtime": True})
    return config.model_copy(update={"source": source, "runtime": runtime, "max_frames": n_frames})


def _warm_up(clip: Clip, detector: Detector) -> None:
    """The first pictures of a size cost more: memory is taken, networks are compiled for it."""
    with closing(clip.frames()) as frames:
        for frame in islice(frames, WARM_UP_FRAMES):
            detector.detect([frame])
