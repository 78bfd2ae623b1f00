"""Durations of all stages and sources of a run, and the report made of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.core.control import Histogram
from pipeline.core.frame import StreamInfo
from pipeline.core.scene import Closing
from pipeline.runtime.latency import RECENT, Durations, Percentiles
from pipeline.runtime.ledger import SourceAccount
from pipeline.runtime.report import RunReport, SinkReport, SourceReport, StageReport, counts_at_end, environment

BUSY = 0.8
"""A run of live sources is bounded by a stage only if that stage worked this share of the time."""


PACE_S = 5.0
"""Rates are those of the last seconds."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How one source has been doing in the last seconds.

    Attributes:
        frames_per_s: results per second.
        latency: capture to emission of the last frames.
        age_s: since the last result, None before the first.
        read_age_s: since the last frame that was read, None before the first.
    """

    frames_per_s: float
    latency: Percentiles
    age_s: float | None
    read_age_s: float | None


class RunStatistics:
    """Collects durations while a run goes on. Every method may be called from any thread."""

    def __init__(self, source_ids: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, Durations] = {}
        self._n_threads: dict[str, int] = {}
        self._latency = {name: Durations() for name in source_ids}
        self._emitted_ns: dict[str, deque[int]] = {name: deque(maxlen=RECENT) for name in source_ids}
        self._read_ns: dict[str, int] = {}
        self._end_to_end = Durations()
        self._began_ns: int | None = None
        self._ended_ns: int | None = None
        self._first_emitted_ns: int | None = None
        self._last_emitted_ns: int | None = None
        self._n_emitted = 0

    def begin(self) -> None:
        """The run starts."""
        self._began_ns = time.monotonic_ns()

    def end(self) -> None:
        """The run is over."""
        self._ended_ns = time.monotonic_ns()

    def add_source(self, source_id: str) -> None:
        """A source joins the run; nothing changes for one that was there before."""
        with self._lock:
            self._latency.setdefault(source_id, Durations())
            self._emitted_ns.setdefault(source_id, deque(maxlen=RECENT))

    def was_read(self, source_id: str) -> None:
        """A source handed a frame over just now."""
        self._read_ns[source_id] = time.monotonic_ns()

    def pace(self, source_id: str, now_ns: int) -> Pace:
        """How a source has been doing lately; `now_ns` is `time.monotonic_ns()`."""
        with self._lock:
            times = list(self._emitted_ns[source_id])
            latency = self._latency[source_id]
            read_ns = self._read_ns.get(source_id)
        lately = [at_ns for at_ns in times if now_ns - at_ns <= PACE_S * 1e9]
        # Of a source faster than the memory of it, the rate is that of the frames remembered.
        full = len(lately) == RECENT
        span_s = (now_ns - lately[0]) / 1e9 if full else PACE_S
        return Pace(
            len(lately) / span_s if lately and span_s else 0.0,
            latency.recent(),
            (now_ns - times[-1]) / 1e9 if times else None,
            (now_ns - read_ns) / 1e9 if read_ns is not None else None,
        )

    def stage(self, name: str) -> Durations:
        """The durations of one stage; made on first use."""
        with self._lock:
            return self._stages.setdefault(name, Durations())

    def set_threads(self, name: str, n_threads: int) -> None:
        """How many threads work in a stage (1 where nothing is said): its share of busy time is per thread."""
        with self._lock:
            self._n_threads[name] = n_threads

    def emitted(self, source_id: str, latency_ns: int) -> None:
        """A result of a source went out `latency_ns` after its frame was captured."""
        self._latency[source_id].add(latency_ns)
        self._end_to_end.add(latency_ns)
        with self._lock:
            self._n_emitted += 1
            self._last_emitted_ns = time.monotonic_ns()
            self._emitted_ns[source_id].append(self._last_emitted_ns)
            self._first_emitted_ns = self._first_emitted_ns or self._last_emitted_ns

    def end_to_end(self) -> Durations:
        """Capture to emission, all sources."""
        return self._end_to_end

    def histograms(self, bounds_s: Sequence[float]) -> tuple[dict[str, Histogram], dict[str, Histogram]]:
        """Latency by source and durations by stage, counted up to each of the bounds (s)."""
        with self._lock:
            latency, stages = dict(self._latency), dict(self._stages)
        return (
            {name: durations.up_to(bounds_s) for name, durations in latency.items()},
            {name: durations.up_to(bounds_s) for name, durations in stages.items()},
        )

    def emitted_per_s(self) -> float:
        """Results per second between the first one and the last one; 0 below two."""
        with self._lock:
            if self._n_emitted < 2 or self._first_emitted_ns is None or self._last_emitted_ns is None:
                return 0.0
            span_ns = self._last_emitted_ns - self._first_emitted_ns
            return (self._n_emitted - 1) / (span_ns / 1e9) if span_ns else 0.0

    def report(
        self,
        *,
        infos: Mapping[str, StreamInfo],
        status: str,
        accounts: Mapping[str, SourceAccount],
        counters: Mapping[str, Mapping[str, int]],
        source_errors: Mapping[str, str],
        sinks: Mapping[str, SinkReport],
        errors: tuple[str, ...],
        closings: Sequence[Closing] = (),
    ) -> RunReport:
        """The report of the run so far."""
        now_ns = self._ended_ns or time.monotonic_ns()
        wall_ns = now_ns - (self._began_ns if self._began_ns is not None else now_ns)
        with self._lock:
            stages = dict(self._stages)
            n_threads = dict(self._n_threads)
        waiting = {"queue", *(f"read:{name}" for name, info in infos.items() if info.is_live)}
        reports = {
            name: StageReport(
                durations.over_run(),
                None
                if name in waiting or not wall_ns
                else min(durations.total_ns / wall_ns / n_threads.get(name, 1), 1.0),
            )
            for name, durations in stages.items()
        }
        return RunReport(
            status=status,
            wall_s=wall_ns / 1e9,
            emitted_per_s=self.emitted_per_s(),
            bounded_by=_bound(reports, infos),
            end_to_end=self._end_to_end.over_run(),
            sources={
                name: SourceReport(
                    account.produced,
                    account.emitted,
                    dict(account.dropped),
                    dict(counters.get(name, {})),
                    self._latency[name].over_run(),
                    source_errors.get(name),
                )
                for name, account in accounts.items()
            },
            stages=reports,
            sinks=dict(sinks),
            errors=errors,
            environment=environment(),
            analytics={closing.source_id: counts_at_end(closing) for closing in closings},
        )


def _bound(stages: Mapping[str, StageReport], infos: Mapping[str, StreamInfo]) -> str:
    """The busiest stage, or the live sources where every stage had time to spare."""
    working = {name: stage.busy for name, stage in stages.items() if stage.busy is not None}
    if not working:
        return "nothing was processed"
    name, busy = max(working.items(), key=lambda item: item[1])
    if busy < BUSY and any(info.is_live for info in infos.values()):
        return f"the live sources' own rate (busiest stage: {name}, {busy:.0%} of the time)"
    return f"{name} ({busy:.0%} of the time)"
