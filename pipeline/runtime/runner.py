"""Wires sources -> detector -> trackers -> sinks, one thread each, and runs them to the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError, StageError, UsageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Clock, Detector, Source
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.channel import Channel, ChannelClosedError, Policy
from pipeline.runtime.detect_stage import DetectStage, SourceEnd
from pipeline.runtime.ledger import Ledger
from pipeline.runtime.report import RunReport
from pipeline.runtime.sink_worker import SinkBinding, SinkLine
from pipeline.runtime.statistics import RunStatistics
from pipeline.runtime.track_stage import AnalystFactory, TrackerFactory, TrackStage
from pipeline.runtime.worker import Worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """How the threads are wired.

    Attributes:
        max_batch: most frames in one call of the detector.
        batch_wait_s: how long a begun batch waits for more frames.
        detect_workers: threads that call the detector; None = as many as it can serve at once, but one as soon as a
            source is live.
        recorded_capacity: frames held between a recorded source and the detector.
        record_sink_capacity: results held before a recording sink.
        live_sink_capacity: results held before a live sink.
        drain_s: after a stop, how long the frames already read may take to reach the sinks.
        max_frames: frames read from each source, or None for all.
        fail_fast: the first source that fails ends the run, instead of ending alone.
    """

    max_batch: int = 1
    batch_wait_s: float = 0.005
    detect_workers: int | None = None
    recorded_capacity: int = 8
    record_sink_capacity: int = 8
    live_sink_capacity: int = 2
    drain_s: float = 10.0
    max_frames: int | None = None
    fail_fast: bool = False


class Runner:
    """One run of a pipeline. It closes its sources and sinks; the detector belongs to the caller.

    Args:
        sources: at least one, with different ids.
        detector: shared by all sources; used by as many threads at once as `n_parallel` and the settings say.
        tracker_factory: makes each source's own tracker from its StreamInfo; None = detection only.
        sinks: where results go.
        settings: capacities and limits.
        clock: the one clock that all stamps are on.
        analyst_factory: makes each source's analytics from its StreamInfo, or None for a source without rules.

    Raises:
        UsageError: no source, or two of one id.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        detector: Detector,
        tracker_factory: TrackerFactory | None = None,
        sinks: Sequence[SinkBinding] = (),
        settings: RunnerSettings | None = None,
        clock: Clock | None = None,
        analyst_factory: AnalystFactory | None = None,
    ) -> None:
        names = [source.source_id for source in sources]
        if not names:
            raise UsageError("Runner: wanted at least one source, found none")
        if len(set(names)) != len(names):
            raise UsageError(f"Runner: wanted sources with different ids, found {names}")
        self._sources = list(sources)
        self._settings = settings or RunnerSettings()
        self._clock = clock or MonotonicClock()
        self.ledger = Ledger()
        self.statistics = RunStatistics(names)
        self._infos: dict[str, StreamInfo] = {}
        self._closings: list[Closing] = []
        self._lock = threading.Lock()
        self._source_errors: dict[str, StageError] = {}
        self._first_error: StageError | None = None
        self._stopping = threading.Event()
        self._at_once = threading.Event()
        self._aborted = threading.Event()
        self._batcher = Batcher(self._settings.max_batch, self._settings.batch_wait_s)
        self._detection = DetectStage(
            detector,
            self._batcher,
            self._settings.detect_workers,
            clock=self._clock,
            statistics=self.statistics,
            drop=self._drop,
            on_error=self._stage_failed,
        )
        self._tracking = TrackStage(
            tracker_factory, analyst_factory, lambda name: self.infos[name], self._clock, self.statistics
        )
        self._lines = [self._make_line(binding) for binding in sinks]
        self._pumped = [line for line in self._lines if line.binding.sink.needs_main_thread]
        self._workers = [
            *(Worker(f"source:{s.source_id}", self._reader(s), self._source_failed) for s in self._sources),
            *self._detection.workers,
            Worker("track", self._track_loop, self._stage_failed),
            *(line.worker for line in self._lines if line not in self._pumped),
        ]

    def _make_line(self, binding: SinkBinding) -> SinkLine:
        if binding.sink.is_live:
            channel: Channel[FrameResult | Closing] = Channel(self._settings.live_sink_capacity, Policy.NEWEST)
        else:
            channel = Channel(self._settings.record_sink_capacity, Policy.BLOCK)
        writing = self.statistics.stage(f"sink:{binding.name}")
        return SinkLine(binding, channel, writing, self._stage_failed, self.stop)

    # -- from outside -------------------------------------------------------------------------------------------------

    def run(self) -> RunReport:
        """Run to the end of all sources, to `stop()`, or to the first error. Every thread has ended when it returns.

        Call it from the main thread where a sink needs that (a display).

        Raises:
            StageError: a stage failed, or every source did. `report()` still tells everything.
        """
        self.statistics.begin()
        for source in self._sources:
            self.ledger.open(source.source_id)
            self._batcher.expect(source.source_id)
        try:
            for worker in self._workers:
                worker.start()
            self._supervise()
        finally:
            self._end_all()
            self.statistics.end()
            for line in self._lines:
                line.end_run(self._status())
        error = self._outcome_error()
        if error is not None:
            raise error
        self.ledger.check()
        return self.report()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask the run to end: sources are interrupted, frames already read are drained. From any thread; idempotent.

        Args:
            at_once: give up what was read and is not written yet.
        """
        if at_once:
            self._at_once.set()
        self._stopping.set()
        for source in self._sources:
            source.interrupt()

    @property
    def infos(self) -> dict[str, StreamInfo]:
        """What the sources that have opened so far said of themselves."""
        with self._lock:
            return dict(self._infos)

    def report(self) -> RunReport:
        """What happened so far; final once `run` has returned or raised."""
        with self._lock:
            errors = {name: str(error) for name, error in self._source_errors.items()}
            first, closings = self._first_error, tuple(self._closings)
        all_errors = dict.fromkeys([*([str(first)] if first else []), *errors.values()])
        return self.statistics.report(
            infos=self.infos,
            status=self._status(),
            accounts=self.ledger.snapshot(),
            counters={source.source_id: dict(source.counters) for source in self._sources},
            source_errors=errors,
            sinks={line.binding.name: line.account() for line in self._lines},
            errors=tuple(all_errors),
            closings=closings,
        )

    # -- the calling thread -------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Wait for all threads, pump the sinks that need this one, and enforce the deadlines."""
        deadline: float | None = None
        while any(worker.alive for worker in self._workers):
            if self._pumped:
                for line in self._pumped:
                    line.pump(timeout_s=0.02)
            else:
                next((w for w in self._workers if w.alive), self._workers[0]).join(0.05)
            if self._stopping.is_set() or self._aborted.is_set():
                now = time.monotonic()
                deadline = deadline or now + self._settings.drain_s
                if now > deadline or self._at_once.is_set():
                    return

    def _end_all(self) -> None:
        """Whatever happened: no thread goes on, every sink is closed."""
        if any(worker.alive for worker in self._workers):
            if not self._at_once.is_set():
                logger.warning("giving up what was read but not written when the deadline of the stop passed")
            self._abort()
            deadline = time.monotonic() + self._settings.drain_s
            for worker in self._workers:
                worker.join(max(deadline - time.monotonic(), 0.0))
        for line in self._pumped:
            line.pump_rest()
        for worker in self._workers:
            if worker.alive:
                self._stage_failed(StageError(worker.stage, TimeoutError("is blocked and did not end when told to")))

    def _abort(self) -> None:
        """Failure: every channel stops at once, and what lies in them is accounted for."""
        self._aborted.set()
        for source in self._sources:
            source.interrupt()
        self._drop(self._batcher.abort())
        self._drop(self._detection.abort())
        for line in self._lines:
            line.abort()

    def _drop(self, frames: Iterable[Frame], failed: bool = False) -> None:
        reason = "failed" if failed or self._first_error else "stopped"
        for frame in frames:
            self.ledger.dropped(frame.source_id, reason)

    def _stage_failed(self, error: StageError) -> None:
        with self._lock:
            self._first_error = self._first_error or error
        self._abort()

    def _source_failed(self, error: StageError) -> None:
        """A source that fails ends alone; the frames it gave are still processed."""
        with self._lock:
            self._source_errors[error.stage.removeprefix("source:")] = error
        if self._settings.fail_fast:
            self._stage_failed(error)

    # -- the threads --------------------------------------------------------------------------------------------------

    def _reader(self, source: Source) -> Callable[[Worker], None]:
        def read(worker: Worker) -> None:
            channel: Channel[Frame] | None = None
            try:
                if not self._stopping.is_set():
                    channel = self._intake(source.open())
                    self._read_frames(source, channel, worker)
            except SourceError:
                # A source that is interrupted while it opens says so by failing; that is what was asked for.
                if not (self._stopping.is_set() or self._aborted.is_set()):
                    raise
            finally:
                self._batcher.give_up(source.source_id)
                if channel is not None:
                    channel.close()
                source.close()

        return read

    def _intake(self, info: StreamInfo) -> Channel[Frame]:
        """A channel for a source that has opened: its kind fixes the policy."""
        if info.is_live:
            self._detection.yield_to_live()
            channel: Channel[Frame] = Channel(1, Policy.NEWEST, self._batcher.changed)
        else:
            channel = Channel(self._settings.recorded_capacity, Policy.BLOCK, self._batcher.changed)
        with self._lock:
            self._infos[info.source_id] = info
        for line in self._lines:
            line.announce(info)
        self._batcher.add(info.source_id, channel)
        return channel

    def _read_frames(self, source: Source, channel: Channel[Frame], worker: Worker) -> None:
        reading = self.statistics.stage(f"read:{source.source_id}")
        n_read = 0
        while self._settings.max_frames is None or n_read < self._settings.max_frames:
            began_ns = time.monotonic_ns()
            frame = source.read()
            if frame is None:
                return
            reading.add(time.monotonic_ns() - began_ns)
            worker.at = frame
            n_read += 1
            self.ledger.produced(source.source_id)
            try:
                displaced = channel.put(frame)
            except ChannelClosedError:
                self._drop([frame])
                raise
            if displaced is not None:
                self.ledger.dropped(source.source_id, "newer")

    def _track_loop(self, worker: Worker) -> None:
        try:
            while (item := self._detection.detected.get()) is not None:
                if isinstance(item, SourceEnd):
                    self._end_source(item.source_id)
                    continue
                worker.at = item.frame
                try:
                    result = self._tracking.result(item)
                except Exception:
                    self.ledger.dropped(item.frame.source_id, "failed")
                    raise
                self._emit(result)
        finally:
            for line in self._lines:
                line.end()

    def _end_source(self, source_id: str) -> None:
        closing = self._tracking.end(source_id)
        if closing is None:
            return
        with self._lock:
            self._closings.append(closing)
        for line in self._lines:
            line.end_source(closing)

    def _emit(self, result: FrameResult) -> None:
        now_ns = self._clock.now_ns()
        result.timeline.stamp("emitted", now_ns)
        self.statistics.emitted(result.frame.source_id, now_ns - result.frame.captured_ns)
        self.ledger.emitted(result.frame.source_id)
        for line in self._lines:
            line.hand(result)

    # -- the outcome --------------------------------------------------------------------------------------------------

    def _outcome_error(self) -> StageError | None:
        if self._first_error is not None:
            return self._first_error
        if len(self._source_errors) == len(self._sources):
            return next(iter(self._source_errors.values()))
        return None

    def _status(self) -> str:
        if self._outcome_error() is not None:
            return "failed"
        if self._stopping.is_set():
            return "interrupted"
        return "partial" if self._source_errors else "completed"
