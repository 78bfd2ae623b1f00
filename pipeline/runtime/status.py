"""How every source is doing right now: what the status line, the metrics and the dashboard show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pipeline.runtime.intake import SourceReader
from pipeline.runtime.latency import Percentiles
from pipeline.runtime.ledger import SourceAccount
from pipeline.runtime.statistics import RunStatistics

STALLED_S = 2.0
"""A live source that gave no frame for so long stands still, whatever it says of itself."""


class SourceState(StrEnum):
    """What a source is doing."""

    CONNECTING = "connecting"
    """Being opened, for the first time or again."""
    LIVE = "live"
    """Frames come."""
    STALLED = "stalled"
    """Open, but no frame for `STALLED_S`."""
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
        latency: capture to emission, of the last frames.
        age_s: since the last result, None before the first.
        counters: what the source left out or went through (`reconnects`, `corrupt`, ...).
        error: why it ended, None otherwise.
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
    latency: Percentiles
    age_s: float | None
    counters: Mapping[str, int]
    error: str | None


def status_of(reader: SourceReader, account: SourceAccount, statistics: RunStatistics, now_ns: int) -> SourceStatus:
    """The status of one source."""
    name = reader.source.source_id
    pace = statistics.pace(name, now_ns)
    info = reader.info
    return SourceStatus(
        name,
        _state(reader, pace.read_age_s),
        info.is_live if info else None,
        info.width_px if info else 0,
        info.height_px if info else 0,
        account.produced,
        account.emitted,
        dict(account.dropped),
        pace.frames_per_s,
        pace.latency,
        pace.age_s,
        dict(reader.source.counters),
        str(reader.error) if reader.error else None,
    )


def _state(reader: SourceReader, read_age_s: float | None) -> SourceState:
    if reader.error is not None:
        return SourceState.FAILED
    if reader.worker.began and not reader.worker.alive:
        return SourceState.ENDED
    # A source that reconnects tells what it is doing; the words are the same.
    said = getattr(reader.source, "state", None)
    if said is not None and str(said) in (SourceState.CONNECTING, SourceState.BACKING_OFF, SourceState.FAILED):
        return SourceState(str(said))
    if reader.info is None:
        return SourceState.CONNECTING
    if reader.info.is_live and (read_age_s is None or read_age_s > STALLED_S):
        return SourceState.STALLED
    return SourceState.LIVE
