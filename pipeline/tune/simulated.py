"""What a configuration would show of the clip in real time, scored: every scheduler, every compensation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mean

from pipeline.benchmark.configuration import Configuration
from pipeline.core.detections import Detections
from pipeline.core.percentile import percentile
from pipeline.evaluation.coco_map import CocoMap
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler, scheduler
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import show
from pipeline.streaming.simulate import simulate
from pipeline.streaming.stream import NS
from pipeline.streaming.truth import Truth
from pipeline.tune.moving import MovedToDisplay, moved
from pipeline.tune.timing import Timing
from pipeline.tune.tracked import Tracked, track, track_every_frame

SCHEDULERS = ("idle-free", "shrinking-tail", "planned", "stride-2")
COMPENSATIONS = ("off", "emit", "display")
SEEDS = (0, 1, 2)
"""Figures are means over simulations with these draws of runtimes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way of running, and what it comes to; figures are means over the simulations.

    Attributes:
        configuration: how the network runs.
        backend, precision: what ran, where the configuration leaves it open.
        scheduler: which frames are taken.
        compensate: to when the tracks are moved.
        sap: streaming AP, 0 to 1.
        sap50: the same at IoU 0.5 alone.
        offline_ap: AP of the same detector and tracker on every frame, without latency.
        latency_p50_ms: from a frame's arrival to its result; infinite where there is none.
        latency_p95_ms: 95th percentile of it.
        runs_per_s: frames processed per second.
        cores: CPU cores that the whole run keeps busy.
    """

    configuration: Configuration
    backend: str
    precision: str
    scheduler: str
    compensate: str
    sap: float
    sap50: float
    offline_ap: float
    latency_p50_ms: float
    latency_p95_ms: float
    runs_per_s: float
    cores: float


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A frame that was looked at in a simulation: when its result is there, and what it says."""

    frame: int
    end_ns: int
    tracked: Tracked


class Simulations:
    """Of one network, whichever backend runs it.

    Args:
        frames: what it finds, frame by frame, in the classes of the truth.
        truth: what it is scored against.

    Attributes:
        offline_ap: AP without latency, 0 to 1.
    """

    def __init__(self, frames: Sequence[Detections], truth: Truth) -> None:
        self._frames = frames
        self._truth = truth
        self._stream = truth.stream
        # Most backends and schedulers of a fast network show the very same boxes.
        self._known: dict[tuple[object, ...], CocoMap] = {}
        self.offline_ap = self._scored(track_every_frame(frames, truth.stream)).ap or 0.0

    def rows(
        self, configuration: Configuration, timing: Timing, schedulers: Sequence[str], compensations: Sequence[str]
    ) -> Iterator[Row]:
        """A row for each scheduler and compensation.

        Raises:
            UsageError: a scheduler of another name.
        """
        runtimes = timing.runtimes(configuration.label)
        for name in schedulers:
            chosen = scheduler(name)
            simulated = [self._simulated(chosen, runtimes, seed) for seed in SEEDS]
            latency_ms = [
                (one.end_ns - self._stream.arrival_ns(one.frame)) / 1e6 for looked in simulated for one in looked
            ]
            runs_per_s = mean(map(len, simulated)) * NS / self._stream.end_ns
            for compensate in compensations:
                scores = [self._score(looked, compensate) for looked in simulated]
                yield Row(
                    configuration=configuration,
                    backend=timing.backend,
                    precision=timing.precision,
                    scheduler=name,
                    compensate=compensate,
                    sap=mean(one.ap or 0.0 for one in scores),
                    sap50=mean(one.ap50 or 0.0 for one in scores),
                    offline_ap=self.offline_ap,
                    latency_p50_ms=percentile(latency_ms, 0.50) if latency_ms else float("inf"),
                    latency_p95_ms=percentile(latency_ms, 0.95) if latency_ms else float("inf"),
                    runs_per_s=runs_per_s,
                    cores=timing.cores_at(runs_per_s),
                )

    def _simulated(self, chosen: Scheduler, runtimes: Runtimes, seed: int) -> list[Looked]:
        chosen.begin(self._stream, runtimes)
        runs = simulate(self._stream, chosen, runtimes.draws(seed))
        tracked = track(((run.frame, self._frames[run.frame]) for run in runs), self._stream)
        return [Looked(run.frame, run.end_ns, one) for run, one in zip(runs, tracked, strict=True)]

    def _score(self, looked: Sequence[Looked], compensate: str) -> CocoMap:
        outputs = [Output(one.end_ns, one.frame, self._emitted(one, compensate)) for one in looked]
        by_frame = {one.frame: one.tracked for one in looked}
        shown = show(outputs, self._stream, forecast=MovedToDisplay(by_frame) if compensate == "display" else None)
        instants = tuple(one.end_ns for one in looked) if compensate == "emit" else ()
        key = (compensate, instants, tuple(by_frame), shown.matched.input_frame.tobytes())
        if key not in self._known:
            self._known[key] = self._scored(shown.boxes)
        return self._known[key]

    def _emitted(self, one: Looked, compensate: str) -> Boxes:
        if compensate != "emit":
            return Boxes.of_tracks(one.tracked.tracks)
        return moved(one.tracked, (one.end_ns - self._stream.arrival_ns(one.frame)) / NS)

    def _scored(self, boxes: Sequence[Boxes]) -> CocoMap:
        return average_precision([self._truth], [dict(enumerate(boxes))])
