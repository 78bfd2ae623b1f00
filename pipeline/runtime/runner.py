"""Wires sources -> detector -> trackers -> sinks, one thread each, and runs them to the end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from pipeline.core.clock import MonotonicClock
from pipeline.core.control import QueueDepth, RunMeasures, SourceStatus
from pipeline.core.errors import StageError, UsageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Clock, Detector, Source
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.runtime.batcher import Batcher
from pipeline.runtime.camera_filter import CameraFilter
from pipeline.runtime.channel import Channel, Policy
from pipeline.runtime.compensate import Compensate, Compensation
from pipeline.runtime.crew import Crew
from pipeline.runtime.detect_stage import DetectStage, SourceEnd
from pipeline.runtime.intake import IntakeWiring, SourceReader
from pipeline.runtime.ladder import ladder_of
from pipeline.runtime.latency_account import LatencyAccount
from pipeline.runtime.ledger import Ledger
from pipeline.runtime.overload import Overload
from pipeline.runtime.report import RunReport
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_lines import MOST_HUNG, SinkLines
from pipeline.runtime.sink_worker import Item, SinkBinding, SinkLine
from pipeline.runtime.statistics import RunStatistics
from pipeline.runtime.status import status_of
from pipeline.runtime.track_stage import AnalystFactory, TrackerFactory, TrackStage
from pipeline.runtime.watchdog import Watchdog
from pipeline.runtime.worker import Worker

logger = logging.getLogger(__name__)


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
        remake_source: makes a source of the run again, by its id, where the old one hangs; None: it ends as failed.

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
        remake_source: Callable[[str], Source] | None = None,
    ) -> None:
        names = [source.source_id for source in sources]
        self._settings = settings or RunnerSettings()
        if not names and not self._settings.keep_open:
            raise UsageError("Runner: wanted at least one source, found none")
        if len(set(names)) != len(names):
            raise UsageError(f"Runner: wanted sources with different ids, found {names}")
        self._clock = clock or MonotonicClock()
        self._compensation = Compensation(self._settings.compensate, self._clock)
        self._latency_cost = LatencyAccount(
            self._settings.offline_ap50, self._settings.compensate, is_on=self._settings.latency_cost
        )
        self.ledger = Ledger()
        self.statistics = RunStatistics(names)
        self._infos: dict[str, StreamInfo] = {}
        self._readers: dict[str, SourceReader] = {}
        self._closings: dict[str, Closing] = {}
        self._lock = threading.Lock()
        self._source_errors: dict[str, StageError] = {}
        self._first_error: StageError | None = None
        self._stopping = threading.Event()
        self._at_once = threading.Event()
        self._aborted = threading.Event()
        self._over = threading.Event()
        rules, make_scheduler = self._settings.overload, self._settings.make_scheduler
        self.overload = Overload(rules, self._clock, make_scheduler=make_scheduler, ladder=ladder_of(detector))
        self._batcher = Batcher(self._settings.max_batch, self._settings.batch_wait_s, self.overload.choice)
        self._filter = detector if isinstance(detector, CameraFilter) else None
        self._detection = DetectStage(
            detector,
            self._batcher,
            self._settings.detect_workers,
            clock=self._clock,
            statistics=self.statistics,
            drop=self._drop,
            on_error=self._stage_failed,
            ran=self.overload.detected,
        )
        self._tracking = TrackStage(
            tracker_factory,
            analyst_factory,
            lambda name: self.infos[name],
            self._clock,
            self.statistics,
            self._settings.new_ids_after_s,
        )
        self._wiring = IntakeWiring(
            self._batcher,
            self.ledger,
            self.statistics,
            self._settings.recorded_capacity,
            self._settings.max_frames,
            opened=self._source_opened,
            failed=self._source_failed,
            drop=self._drop,
            seen=self._frame_seen,
            arrived=self.overload.arrived,
            live_capacity=self.overload.live_capacity,
        )
        self._remake_source = remake_source
        self._hung: dict[str, list[Worker]] = {}
        """Threads of sources that may never end, by source."""
        self._watchdog = Watchdog(self._settings.watchdog_s)
        self._lines = SinkLines(sinks, self._make_line)
        self._pumped = [line for line in self._lines if line.binding.sink.needs_main_thread]
        self._crew = Crew(
            [
                *self._detection.workers,
                Worker("track", self._track_loop, self._stage_failed),
                *(line.worker for line in self._lines if line not in self._pumped),
            ]
        )
        if self._settings.keep_open:
            self._batcher.expect(self)
        for source in sources:
            self._add_reader(SourceReader(source, self._wiring))

    def _make_line(self, binding: SinkBinding) -> SinkLine:
        if binding.sink.is_live:
            channel: Channel[Item] = Channel(self._settings.live_sink_capacity, Policy.NEWEST)
        else:
            channel = Channel(self._settings.record_sink_capacity, Policy.BLOCK)
        writing = self.statistics.stage(f"sink:{binding.name}")
        return SinkLine(
            binding,
            channel,
            writing,
            self._stage_failed,
            self.stop,
            self._compensation,
            lambda name: self.infos[name],
            self._displayed if binding.sink.is_live else None,
        )

    # -- from outside -------------------------------------------------------------------------------------------------

    def run(self) -> RunReport:
        """Run to the end of all sources, to `stop()`, or to the first error. Every thread has ended when it returns.

        Call it from the main thread where a sink needs that (a display).

        Raises:
            StageError: a stage failed, or every source did. `report()` still tells everything.
        """
        self.statistics.begin()
        try:
            self._crew.start()
            self._supervise()
        finally:
            self._over.set()
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
        for reader in list(self._readers.values()):
            reader.stop()
        self._batcher.give_up(self)

    def add_source(self, source: Source, sinks: Sequence[SinkBinding] = ()) -> None:
        """Take another source in while the run goes on, or one that was removed again. From any thread.

        Args:
            source: not open yet.
            sinks: for this source alone; they run until it is removed.

        Raises:
            UsageError: there is a source of that name, a sink needs the main thread, or the run is ending.
        """
        name = source.source_id
        with self._lock:
            old = self._readers.get(name)
        if old is not None and not old.removed:
            raise UsageError(f"{name}: wanted a source that is not in the run, found that it is")
        if any(binding.sink.needs_main_thread for binding in sinks):
            raise UsageError(f"{name}: a sink that needs the main thread must be there from the start")
        self._refuse_late(name)
        # Two sinks must not write to one place.
        if not all(line.worker.join(self._settings.drain_s) for line in self._lines.of_source(name)):
            raise UsageError(f"{name}: wanted a source that is not in the run, found it still ending; try again")
        for line in self._lines.add(sinks):
            self._crew.add(line.worker)
        self._add_reader(SourceReader(source, self._wiring, old))

    def remove_source(self, source_id: str) -> None:
        """Let a source go; what was read of it is still processed, and its own sinks are closed then. From any thread.

        Raises:
            UsageError: there is no such source in the run.
        """
        self._reader_of(source_id).remove()

    def replace_source(self, source: Source) -> None:
        """Begin a source of the run anew: the old one ends first, ids go on. From any thread.

        Raises:
            UsageError: there is no such source in the run, or the run is ending.
        """
        old = self._reader_of(source.source_id)
        self._refuse_late(source.source_id)
        with self._lock:
            self._source_errors.pop(source.source_id, None)
        self._add_reader(SourceReader(source, self._wiring, old))

    def _reader_of(self, source_id: str) -> SourceReader:
        with self._lock:
            reader = self._readers.get(source_id)
            there = [name for name, one in self._readers.items() if not one.removed]
        if reader is None or reader.removed:
            raise UsageError(f"wanted a source of this run ({', '.join(there) or 'none'}), found {source_id!r}")
        return reader

    def _refuse_late(self, source_id: str) -> None:
        if self._stopping.is_set() or self._aborted.is_set() or self._over.is_set():
            raise UsageError(f"{source_id}: the run is over; no source can begin")

    def _add_reader(self, reader: SourceReader) -> None:
        with self._lock:
            self._readers[reader.source.source_id] = reader
        self._crew.add(reader.worker)
        # A stop between the check and here has not seen this reader.
        if self._stopping.is_set() or self._aborted.is_set():
            reader.stop()

    @property
    def infos(self) -> dict[str, StreamInfo]:
        """What the sources that have opened so far said of themselves."""
        with self._lock:
            return dict(self._infos)

    def source_status(self) -> tuple[SourceStatus, ...]:
        """How every source is doing right now, removed ones left out. From any thread."""
        accounts = self.ledger.snapshot()
        now_ns = time.monotonic_ns()
        return tuple(
            status_of(reader, accounts[name], self.statistics, now_ns, self._latency_cost.costs(name))
            for name, reader in list(self._readers.items())
            if not reader.removed
        )

    def measures(self, bounds_s: Sequence[float]) -> RunMeasures:
        """What was measured so far, durations counted up to each of the bounds (s, ascending). From any thread."""
        latency, stages = self.statistics.histograms(bounds_s)
        lines, detected = self._lines, self._detection.detected
        queues = {f"detect:{name}": depth for name, depth in self._batcher.depths().items()}
        queues["track"] = QueueDepth(len(detected), detected.capacity)
        queues |= {f"sink:{line.binding.name}": line.depth() for line in lines}
        now_ns = time.monotonic_ns()
        at_work = [(worker.stage, work) for worker in self._crew.alive if (work := worker.work)]
        busy_s = {stage: (now_ns - work.since_ns) / 1e9 for stage, work in at_work}
        accounts = {line.binding.name: line.account_now() for line in lines}
        return RunMeasures(latency, stages, queues, accounts, busy_s, self.overload.rung_s(), self.overload.rung)

    def report(self) -> RunReport:
        """What happened so far; final once `run` has returned or raised."""
        with self._lock:
            errors = {name: str(error) for name, error in self._source_errors.items()}
            first, closings = self._first_error, tuple(self._closings.values())
        of_sinks = [str(error) for error in self._lines.errors]
        all_errors = dict.fromkeys([*([str(first)] if first else []), *errors.values(), *of_sinks])
        report = self.statistics.report(
            infos=self.infos,
            status=self._status(),
            accounts=self.ledger.snapshot(),
            counters={name: self._counters(reader) for name, reader in list(self._readers.items())},
            source_errors=errors,
            sinks=self._lines.reports(),
            errors=tuple(all_errors),
            closings=closings,
        )
        return replace(report, overload=self.overload.report()).with_streaming(self._latency_cost.report(self.infos))

    def _counters(self, reader: SourceReader) -> dict[str, int]:
        of_filter = self._filter.counters(reader.source.source_id) if self._filter is not None else {}
        return {**reader.source.counters, **of_filter, **self.overload.counters(reader.source.source_id)}

    # -- the calling thread -------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Wait for all threads, pump the sinks that need this one, and enforce the deadlines."""
        deadline: float | None = None
        while alive := self._crew.alive:
            if self._pumped:
                for line in self._pumped:
                    line.pump(timeout_s=0.02)
            else:
                alive[0].join(0.05)
            self._free_hanging()
            if self._stopping.is_set() or self._aborted.is_set():
                now = time.monotonic()
                deadline = deadline or now + self._settings.drain_s
                if now > deadline or self._at_once.is_set():
                    return

    def _free_hanging(self) -> None:
        """What hangs is named; a source or a live sink goes alone, anything else ends the run."""
        readers = {reader.worker: reader for reader in list(self._readers.values())}
        lines = {line.worker: line for line in self._lines}
        for reader in readers.values():
            reader.note_life()
        for worker in self._watchdog.hanging(self._crew, time.monotonic_ns()):
            error = StageError(
                worker.stage,
                TimeoutError(f"hangs for more than {self._settings.watchdog_s:g} s"),
                f"what follows {worker.at}" if worker in readers and worker.at else str(worker.at or "") or None,
            )
            if worker in readers:
                self._begin_anew(readers[worker], error)
            elif worker in lines and lines[worker].binding.sink.is_live:
                self._free_sink(lines[worker], error)
            else:
                self._stage_failed(error)

    def _begin_anew(self, reader: SourceReader, error: StageError) -> None:
        name = reader.source.source_id
        reader.abandon()
        self._crew.forget(reader.worker)
        hung = self._hung.setdefault(name, [])
        hung[:] = [worker for worker in (*hung, reader.worker) if worker.alive]
        if reader.removed:
            logger.warning("%s; it was to end anyway", error)
            self._batcher.end(name)
        elif self._remake_source is None or self._stopping.is_set() or len(hung) >= MOST_HUNG:
            reader.error = error
            self._source_failed(error)
        else:
            logger.warning("%s; it is begun anew", error)
            self._add_reader(SourceReader(self._remake_source(name), self._wiring))

    def _free_sink(self, line: SinkLine, error: StageError) -> None:
        new = self._lines.free(line, error)
        self._crew.forget(line.worker)
        if new is None:
            return
        for reader in list(self._readers.values()):
            if reader.info is not None and reader.worker.alive:
                new.announce(reader.info)
        self._crew.add(new.worker)

    def _end_all(self) -> None:
        """Whatever happened: no thread goes on, every sink is closed."""
        if self._crew.alive:
            if not self._at_once.is_set():
                logger.warning("giving up what was read but not written when the deadline of the stop passed")
            self._abort()
            deadline = time.monotonic() + self._settings.drain_s
            for worker in self._crew:
                worker.join(max(deadline - time.monotonic(), 0.0))
        for line in self._pumped:
            line.pump_rest()
        for worker in self._crew.alive:
            self._stage_failed(StageError(worker.stage, TimeoutError("is blocked and did not end when told to")))

    def _abort(self) -> None:
        """Failure: every channel stops at once, and what lies in them is accounted for."""
        self._aborted.set()
        for reader in list(self._readers.values()):
            reader.stop()
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

    def _source_opened(self, info: StreamInfo) -> None:
        if info.is_live:
            self._detection.yield_to_live()
        with self._lock:
            self._infos[info.source_id] = info
        self._compensation.opened(info)
        self._latency_cost.opened(info)
        for line in self._lines:
            line.announce(info)

    def _frame_seen(self, frame: Frame) -> None:
        if self._settings.compensate is Compensate.DISPLAY:
            for line in self._lines:
                line.see(frame)

    def _displayed(self, result: FrameResult) -> None:
        self._latency_cost.displayed(result, self._clock.now_ns())

    def _track_loop(self, worker: Worker) -> None:
        try:
            while (item := self._detection.detected.get()) is not None:
                if isinstance(item, SourceEnd):
                    self._end_source(item.source_id)
                    continue
                worker.at = item.frame
                try:
                    with worker.busy():
                        result = self._tracking.result(item)
                except Exception:
                    self.ledger.dropped(item.frame.source_id, "failed")
                    raise
                self._emit(result)
        finally:
            self._lines.end()

    def _end_source(self, source_id: str) -> None:
        self._compensation.ended(source_id)
        self._latency_cost.ended(source_id)
        self.overload.ended(source_id)
        closing = self._tracking.end(source_id)
        if closing is not None:
            with self._lock:
                self._closings[source_id] = closing
        for line in self._lines:
            line.end_source(source_id, closing)
        if self._readers[source_id].removed:
            self._lines.end(source_id)

    def _emit(self, result: FrameResult) -> None:
        now_ns = self._clock.now_ns()
        result.timeline.stamp("emitted", now_ns)
        self.statistics.emitted(result.frame.source_id, now_ns - result.frame.captured_ns)
        self.ledger.emitted(result.frame.source_id)
        self._compensation.note(result)
        self._latency_cost.emitted(result)
        self.overload.emitted(result, now_ns - result.frame.captured_ns)
        for line in self._lines:
            line.hand(result)

    # -- the outcome --------------------------------------------------------------------------------------------------

    def _outcome_error(self) -> StageError | None:
        if self._first_error is not None:
            return self._first_error
        n_sources = sum(not reader.removed for reader in self._readers.values())
        if not self._settings.keep_open and len(self._source_errors) == n_sources:
            return next(iter(self._source_errors.values()))
        return None

    def _status(self) -> str:
        if self._outcome_error() is not None:
            return "failed"
        if self._stopping.is_set():
            return "interrupted"
        return "partial" if self._source_errors or self._lines.errors else "completed"
