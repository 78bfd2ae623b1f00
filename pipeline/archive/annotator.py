"""The unit of work: one video in, one folder with its whole results out. The same on one machine and on a cluster."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.archive.done import Done, write_done
from pipeline.archive.job import Advanced, Begun, Job, Message, Outcome, Task, Unusable
from pipeline.archive.layout import REPORT, TRACKS
from pipeline.config.analytics import analyst_factory
from pipeline.config.build import build_detector, detector_section_for_tracking, source_config, tracker_factory
from pipeline.config.registry import SOURCES
from pipeline.config.schema import RunConfig
from pipeline.config.validate import validated
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SinkError, StageError, TracklightError, UsageError
from pipeline.core.event import Event
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Source
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import redact
from pipeline.core.whole_file import write_whole
from pipeline.runtime.report import RunReport
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from sinks.jsonl import JsonlConfig, JsonlSink

TELL_EVERY_S = 0.5
_NOTES = {"corrupt": "{} damaged frames left out", "truncated": "cut off: it ends before its announced duration"}


class Annotator:
    """Loads the detector once and annotates videos one after another.

    Args:
        job: the same for all videos.
        tell: gets what goes on.

    Raises:
        TracklightError: weights, settings or rules that cannot work.
    """

    def __init__(self, job: Job, tell: Callable[[Message], None]) -> None:
        self._job = job
        self._tell = tell
        self._config = config = validated(RunConfig, job.config, "")
        _use_threads(job.threads)
        section = detector_section_for_tracking(config)
        self._detector = build_detector({**section, "threads": section.get("threads", job.threads)})
        self._tracker_factory = tracker_factory(config.tracker)
        self._analyst_factory = analyst_factory(config.analytics, job.names, self._detector.class_names)
        self._runner: Runner | None = None
        self._stopping = False

    def annotate(self, task: Task) -> Outcome | Unusable:
        """Annotate one video.

        Returns:
            what became of it; Unusable where the folder cannot be written, so that no other video can be done either.
        """
        name = task.video.name
        made = self._job.work / f"{self._job.run}-{task.number}"
        try:
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            outcome = self._annotate(task, made)
        except SinkError as error:
            return Unusable(str(error))
        except TracklightError as error:
            outcome = Outcome(name, "failed", reason=str(error))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM):
                return Unusable(f"{made}: wanted to write there, found: {error.strerror}")
            outcome = Outcome(name, "failed", reason=f"{error.strerror or error}")
        if outcome.status != "done":
            shutil.rmtree(made, ignore_errors=True)
        return outcome

    def stop(self) -> None:
        """Give up the current video and every later one. From any thread."""
        self._stopping = True
        if self._runner is not None:
            self._runner.stop(at_once=True)

    def close(self) -> None:
        """Release the detector. Idempotent."""
        self._detector.close()

    def _annotate(self, task: Task, made: Path) -> Outcome:
        name, path = task.video.name, self._job.root / task.video.name
        began = time.monotonic()
        before = _identity(path)
        count = _Count(self._tell, self._config.max_frames)
        tracks = JsonlSink(JsonlConfig(path=made / TRACKS, timing=False), class_names=self._detector.class_names)
        runner = self._make_runner(name, path, [SinkBinding("tracks", tracks), SinkBinding("count", count)])
        if self._stopping:
            return Outcome(name, "stopped")
        try:
            report = runner.run()
        except StageError as error:
            if isinstance(error.__cause__, SinkError):
                raise error.__cause__ from None
            corrupt = error.stage.startswith("source:")
            cause = error.__cause__ if corrupt and isinstance(error.__cause__, TracklightError) else error
            return Outcome(name, "corrupt" if corrupt else "failed", reason=redact(str(cause)))
        if self._stopping:
            return Outcome(name, "stopped")
        if _identity(path) != before:
            return Outcome(name, "failed", reason=f"{path}: it was written to while it was read; annotate it again")
        write_whole(made / REPORT, json.dumps(report.to_json(), indent=2) + "\n")
        write_done(made, self._done(task, made, count, report, before, time.monotonic() - began))
        return Outcome(name, "done", made)

    def _make_runner(self, name: str, path: Path, sinks: list[SinkBinding]) -> Runner:
        clock = MonotonicClock()
        section = self._config.source.get("video_file", {})
        threads = {"threads": section.get("threads") or self._job.threads}
        config = self._config.model_copy(update={"source": {"video_file": {**section, **threads}}})
        source_class = SOURCES["video_file"].stage_class()
        source: Source = source_class(source_config(config, "video_file", str(path)), source_id=name, clock=clock)
        runtime = config.runtime
        settings = RunnerSettings(
            max_batch=runtime.batch,
            batch_wait_s=runtime.batch_wait_s,
            detect_workers=runtime.detect_workers,
            max_frames=config.max_frames,
            fail_fast=True,
        )
        self._runner = Runner(
            [source], self._detector, self._tracker_factory, sinks, settings, clock, self._analyst_factory
        )
        return self._runner

    def _done(
        self, task: Task, made: Path, count: _Count, report: RunReport, identity: tuple[int, int], seconds: float
    ) -> Done:
        name = task.video.name
        info = count.info
        if info is None:
            raise UsageError(f"{name}: wanted frames, found none")
        counters = report.sources[name].counters
        return Done(
            name=name,
            work=made.name,
            size=identity[0],
            mtime_ns=identity[1],
            settings=self._job.settings,
            class_names=self._detector.class_names,
            width_px=info.width_px,
            height_px=info.height_px,
            fps=count.fps,
            n_frames=count.n_frames,
            n_tracks=len(count.track_ids),
            n_boxes=count.n_boxes,
            n_events=count.n_events,
            notes=tuple(text.format(counters[key]) for key, text in _NOTES.items() if counters.get(key)),
            seconds=round(seconds, 3),
            finished=datetime.now(UTC).isoformat(timespec="microseconds"),
        )


@dataclass(slots=True)
class _Count:
    """A sink that counts, and tells how far it is."""

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    tell: Callable[[Message], None]
    most: int | None
    info: StreamInfo | None = None
    n_frames: int = 0
    n_boxes: int = 0
    n_events: int = 0
    track_ids: set[int] = field(default_factory=set)
    first_s: float | None = None
    last_s: float | None = None
    told_at: float = 0.0

    def open(self, info: StreamInfo) -> None:
        """A video begins."""
        self.info = info
        n_frames = info.n_frames
        self.tell(Begun(info.source_id, min(n_frames, self.most) if n_frames and self.most else n_frames))

    def write(self, result: FrameResult) -> None:
        """Count a frame."""
        self.n_frames += 1
        self.n_boxes += len(result.tracks)
        self.track_ids.update(result.tracks.track_id.tolist())
        self.n_events += _n_over(result.events)
        if result.frame.pts_s is not None:
            self.first_s = result.frame.pts_s if self.first_s is None else self.first_s
            self.last_s = result.frame.pts_s
        now = time.monotonic()
        if now - self.told_at >= TELL_EVERY_S:
            self.told_at = now
            self.tell(Advanced(result.frame.source_id, self.n_frames))

    def end_source(self, closing: Closing) -> None:
        """Count what the end tells."""
        self.n_events += _n_over(closing.events)

    def close(self) -> None:
        """Nothing to release."""

    @property
    def fps(self) -> float:
        """From the media times; of a single frame, or without times, what the container announces (25 without that)."""
        if self.first_s is not None and self.last_s is not None and self.last_s > self.first_s:
            return (self.n_frames - 1) / (self.last_s - self.first_s)
        declared = None if self.info is None else self.info.declared_fps
        return declared or 25.0


def _n_over(events: Sequence[Event]) -> int:
    """Those that are over: lasting ones are told when they begin as well, and all have ended when the video has."""
    return sum(event.end_s is not None for event in events)


def _identity(path: Path) -> tuple[int, int]:
    """Size and time of a file; of one that is gone, zeros: opening it tells."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _use_threads(threads: int) -> None:
    """Every library in this process keeps to so many threads."""
    import cv2
    import torch

    os.environ["OMP_NUM_THREADS"] = str(threads)
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def describe(error: BaseException) -> Unusable:
    """Why no video can be annotated."""
    text: Any = str(error) if isinstance(error, TracklightError) else f"{type(error).__name__}: {error}"
    return Unusable(redact(" ".join(text.split())), isinstance(error, UsageError))
