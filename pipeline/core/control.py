"""How every source is doing, and what may be asked of a run while it goes on: for those who watch and steer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from pipeline.core.latency_cost import LatencyCost


class SourceState(StrEnum):
    """What a source is doing."""

    CONNECTING = "connecting"
    """Being opened, for the first time or again."""
    LIVE = "live"
    """Frames come."""
    STALLED = "stalled"
    """Open, but no frame for some seconds."""
    BACKING_OFF = "backing_off"
    """Waits before it tries again."""
    FAILED = "failed"
    """Ended by an error."""
    ENDED = "ended"
    """Came to its end, or was removed."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """One source at one moment.

    Attributes:
        source_id: its name.
        state: what it is doing.
        is_live: whether it is a live one; None until it was open.
        width_px, height_px: of its frames; 0 until it was open.
        produced, emitted: frames so far.
        dropped: frames by reason.
        frames_per_s: results of the last seconds, per second.
        latency_p50_ms, latency_p95_ms: capture to emission, of the last frames; 0 before the first.
        age_s: since the last result, None before the first.
        counters: what the source left out or went through (`reconnects`, `corrupt`, ...).
        error: why it ended, None otherwise.
        latency_costs: what latency cost in the last half minute, for somebody who has every result as it is emitted
            (`emission`) and for one who watches the first live output (`display`); those not known are left out.
    """

    source_id: str
    state: SourceState
    is_live: bool | None
    width_px: int
    height_px: int
    produced: int
    emitted: int
    dropped: Mapping[str, int]
    frames_per_s: float
    latency_p50_ms: float
    latency_p95_ms: float
    age_s: float | None
    counters: Mapping[str, int]
    error: str | None
    latency_costs: Mapping[str, LatencyCost] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations since the run began.

    Attributes:
        up_to: for every bound that was asked for, how many were at or below it (a bound is met within 0.6 %).
        count: of all.
        total_s: their sum.
    """

    up_to: tuple[int, ...]
    count: int
    total_s: float


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """What waits before a stage, and how much may."""

    held: int
    capacity: int


@dataclass(frozen=True, slots=True)
class SinkAccount:
    """One sink so far: handed = written + dropped + those it holds.

    Attributes:
        handed, written, dropped: results.
        counters: what it counted itself.
    """

    handed: int
    written: int
    dropped: int
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class RunMeasures:
    """What a run has measured so far. Counts only grow, but those of a sink that serves one source begin anew with it.

    Attributes:
        latency: capture to emission, by source.
        stages: by stage: `read:<source>`, `queue`, `detect` (one batch), `track`, `analyse`, `sink:<name>`.
        queues: by the stage that takes from it; `detect:<source>` is a source's own.
        sinks: by name.
        busy_s: by stage, for how long its thread has been at the piece of work in hand; absent while it waits.
        rung_s: by rung of the overload's ladder, for how long the run has stood on it; empty where there is none.
        rung: the one that it stands on now.
    """

    latency: Mapping[str, Histogram]
    stages: Mapping[str, Histogram]
    queues: Mapping[str, QueueDepth]
    sinks: Mapping[str, SinkAccount]
    busy_s: Mapping[str, float] = field(default_factory=dict)
    rung_s: Mapping[str, float] = field(default_factory=dict)
    rung: str = ""


class RunControl(Protocol):
    """A run as a dashboard or an API sees it. Every method may be called from any thread."""

    def sources(self) -> tuple[SourceStatus, ...]:
        """How every source is doing right now."""

    def report(self) -> Mapping[str, Any]:
        """The run report so far, JSON-ready."""

    def measures(self, bounds_s: Sequence[float]) -> RunMeasures:
        """What the run has measured so far, durations counted up to each of the bounds (s, ascending)."""

    def add(self, address: str) -> str:
        """Take another source in, as `--source` would. Returns its id. Raises UsageError, SourceError."""

    def remove(self, source_id: str) -> None:
        """Let a source go. Raises UsageError: there is none of that name."""

    def restart(self, source_id: str) -> None:
        """Open a source anew. Raises UsageError: there is none of that name."""
