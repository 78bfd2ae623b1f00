"""The whole pipeline: video file in, annotated video and tracks out, exactly as `run` does it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.benchmark.configuration import END_TO_END, Configuration
from pipeline.benchmark.figures import StageFigures, stage_figures
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.stopwatch import MIN_CALLS, WARM_UP_SHARE
from pipeline.benchmark.usage import cpu_s, peak_memory_mb
from pipeline.config.build import build_run, load_run_config
from pipeline.core.errors import StopRequest
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.runtime.report import RunReport
from pipeline.runtime.sink_worker import SinkBinding

_FILLED_FRAMES = 24
"""After so many results the channels of a run are as full as they get."""


class Meter:
    """A sink that takes the time between a warm-up and the end, and stops the run after a while.

    Rate and CPU time are those between two results in the middle of the run. The channels are as full at the one as at
    the other, so that neither the start nor the end of the run counts.

    Args:
        seconds: how long to measure, or to the end of the sources if that comes first; None = to their end.
        warm_up_s: results that come earlier than this after the first one are not measured; of a recording at most a
            quarter of its frames, so that a long warm-up leaves something of a short one.
        warm_up_frames: nor are the first so many.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, seconds: float | None, warm_up_s: float, warm_up_frames: int = MIN_CALLS) -> None:
        self._seconds = seconds
        self._warm_up_s = warm_up_s
        self._warm_up_frames = warm_up_frames
        self._most_warm_up_frames: float = math.inf
        self._first_s: float | None = None
        self._begin: tuple[float, float] | None = None
        self._end = (0.0, 0.0)
        self._latency_ms: list[float] = []
        self._objects = 0
        self._seen = 0
        self._done = False

    def open(self, info: StreamInfo) -> None:
        """Note how long the recording is."""
        if info.n_frames is not None:
            self._most_warm_up_frames = WARM_UP_SHARE * info.n_frames

    def write(self, result: FrameResult) -> None:
        """Count one result. Raises StopRequest once enough is measured."""
        if self._done:
            return
        now = (time.perf_counter(), cpu_s())
        self._seen += 1
        if self._first_s is None:
            self._first_s = now[0]
        if self._begin is None:
            is_warm = now[0] - self._first_s >= self._warm_up_s or self._seen > self._most_warm_up_frames
            if is_warm and self._seen > self._warm_up_frames:
                self._begin = now
            return
        self._end = now
        self._latency_ms.append(result.timeline.between_ms("captured", "emitted") or 0.0)
        self._objects += len(result.tracks)
        if self._seconds is not None and now[0] - self._begin[0] >= self._seconds:
            self._done = True
            raise StopRequest

    def close(self) -> None:
        """Nothing to finish."""

    @property
    def objects_per_frame(self) -> float:
        """Tracks in the measured results."""
        return self._objects / max(len(self._latency_ms), 1)

    @property
    def measured_s(self) -> float:
        """Time between the first and the last measured result."""
        return self._end[0] - (self._begin or self._end)[0]

    def figures(self) -> StageFigures:
        """Rate, CPU time and latency, a call being one frame from capture to result.

        Raises:
            UsageError: the run ended before anything was measured.
        """
        begin = self._begin or self._end
        spent_s = self._end[1] - begin[1]
        return stage_figures(self._latency_ms, frames=len(self._latency_ms), wall_s=self.measured_s, cpu_s=spent_s)


def measure_end_to_end(
    configuration: Configuration, clip: Path, seconds: float | None, settings: Sequence[str] = ()
) -> Measured:
    """Run the pipeline over the clip: `out.mp4` and `out.jsonl` in a folder that is removed afterwards.

    Args:
        configuration: how the network runs.
        clip: the video.
        seconds: how long to measure, or to the end of the clip if that comes first; None = to its end.
        settings: of the run, as for `--set`.

    Raises:
        TracklightError: it cannot run here, or failed.
    """
    meter = Meter(None, 0.0, _FILLED_FRAMES) if seconds is None else Meter(seconds, WARM_UP_SHARE * seconds)
    with tempfile.TemporaryDirectory() as folder:
        outputs = {suffix: Path(folder) / f"out.{suffix}" for suffix in ("mp4", "jsonl")}
        flags = {
            "sources": [str(clip)],
            "outputs": [str(path) for path in outputs.values()],
            "detector": configuration.detector_section(),
            "runtime": {"batch": configuration.batch},
        }
        config = load_run_config(None, flags, settings)
        began_s = time.perf_counter()
        with build_run(config, extra_sinks=[SinkBinding("meter", meter)]) as running:
            load_s = time.perf_counter() - began_s
            began_s, began_cpu_s = time.perf_counter(), cpu_s()
            running.runner.run()
            whole = (time.perf_counter() - began_s, cpu_s() - began_cpu_s)
            report = running.runner.report()
        sizes = {f"{suffix}_bytes": path.stat().st_size for suffix, path in outputs.items()}
    figures = meter.figures()
    notes = {
        "objects_per_frame": meter.objects_per_frame,
        "measured_s": meter.measured_s,
        "cores_busy": figures.cpu_s_per_frame * figures.frames_per_s,
        "bounded_by": report.bounded_by.replace(f"{folder}/", ""),
        **_whole_run(report, *whole),
        **sizes,
    }
    return Measured({END_TO_END: figures}, peak_memory_mb(), load_s, notes=notes)


def _whole_run(report: RunReport, wall_s: float, spent_s: float) -> dict[str, Any]:
    """The run from its first thread's start to the last file's end: warm-up and finishing included."""
    frames = sum(source.emitted for source in report.sources.values())
    return {
        "frames": frames,
        "whole_run_frames_per_s": frames / wall_s,
        "whole_run_cpu_s_per_frame": spent_s / max(frames, 1),
    }
