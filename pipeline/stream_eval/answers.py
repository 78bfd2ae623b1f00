"""What a pipeline says of a sequence, and when: made from detections that were computed once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import IntArray
from pipeline.core.detections import Detections
from pipeline.core.frame import StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.protocols import ForecastingTracker
from pipeline.runtime.track_stage import TrackerFactory
from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler
from pipeline.streaming.simulate import simulate, simulate_unlimited
from pipeline.streaming.stream import Stream


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The outputs of one sequence.

    Attributes:
        labelled: the sequence.
        outputs: by rising instants, in the truth's classes.
        offline: what would be said of each frame without latency, by frame; None = known of the outputs' frames only.
        motion: where the tracks of each output's frame are going, row by row; None where no tracker said.
    """

    labelled: Labelled
    outputs: tuple[Output, ...]
    offline: Mapping[int, Boxes] | None
    motion: Mapping[int, TrackMotion] | None = None

    @property
    def stream(self) -> Stream:
        """The pictures in time."""
        return self.labelled.truth.stream

    @property
    def without_latency(self) -> Mapping[int, Boxes]:
        """`offline`, or each output's boxes on their own frame."""
        if self.offline is not None:
            return self.offline
        return {output.input_frame: output.boxes for output in self.outputs}

    @property
    def latency_ns(self) -> IntArray:
        """From a frame's arrival to its output, int64 (n,)."""
        spans = [output.at_ns - self.stream.arrival_ns(output.input_frame) for output in self.outputs]
        return np.array(spans, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """What detection takes, and how many frames it works on at once.

    Attributes:
        runtimes: how long the device is busy with a frame.
        lag_ns: what is added to every output without keeping the device busy: hand-over, tracking, decoding.
        unlimited: a device for every frame, instead of one.
    """

    runtimes: Runtimes
    lag_ns: int = 0
    unlimited: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """The detections of every frame of one sequence, and how a pipeline goes on with them.

    Attributes:
        labelled: the sequence.
        detections: by frame, in the truth's classes.
        tracker_factory: makes the tracker whose tracks are shown; None shows the detections.
    """

    labelled: Labelled
    detections: Sequence[Detections]
    tracker_factory: TrackerFactory | None

    @property
    def stream(self) -> Stream:
        """The pictures in time."""
        return self.labelled.truth.stream

    def offline(self) -> dict[int, Boxes]:
        """What is shown of every frame where nothing takes time."""
        return self._say(range(self.stream.n_frames))[0]

    def simulated(self, scheduler: Scheduler, device: Device, draws: Iterator[int]) -> Answers:
        """What a device would put out, and when.

        Args:
            scheduler: decides when to begin with a frame; not asked where devices are unlimited.
            device: what it takes.
            draws: its runtimes in ns; several sequences may share them.
        """
        stream = self.stream
        if device.unlimited:
            runs = simulate_unlimited(stream, draws)
        else:
            scheduler.begin(stream, device.runtimes)
            runs = simulate(stream, scheduler, draws)
        # A tracker takes frames in their order, also where a later one is done first.
        boxes, motion = self._say(sorted(run.frame for run in runs))
        outputs = tuple(Output(run.end_ns + device.lag_ns, run.frame, boxes[run.frame]) for run in runs)
        return Answers(self.labelled, outputs, None, motion)

    def _say(self, frames: Iterable[int]) -> tuple[dict[int, Boxes], dict[int, TrackMotion] | None]:
        """What is shown of these frames, by rising numbers, and where it is going."""
        if self.tracker_factory is None:
            return {frame: Boxes.of_detections(self.detections[frame]) for frame in frames}, None
        stream = self.stream
        info = StreamInfo(stream.name, stream.width_px, stream.height_px, float(stream.fps), True, stream.n_frames)
        tracker = self.tracker_factory(info)
        boxes: dict[int, Boxes] = {}
        motion: dict[int, TrackMotion] = {}
        for frame in frames:
            boxes[frame] = Boxes.of_tracks(tracker.update(self.detections[frame], frame, frame * stream.interval_s))
            if isinstance(tracker, ForecastingTracker):
                motion[frame] = tracker.motion()
        return boxes, motion if isinstance(tracker, ForecastingTracker) else None
