"""How every source is doing right now: what the status line, the metrics and the dashboard show."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.core.control import SourceState, SourceStatus
from pipeline.core.latency_cost import LatencyCost
from pipeline.runtime.intake import SourceReader
from pipeline.runtime.ledger import SourceAccount
from pipeline.runtime.statistics import RunStatistics

STALLED_S = 2.0
"""A live source that gave no frame for so long stands still, whatever it says of itself."""


def status_of(
    reader: SourceReader,
    account: SourceAccount,
    statistics: RunStatistics,
    now_ns: int,
    latency_costs: Mapping[str, LatencyCost],
) -> SourceStatus:
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
        pace.latency.p50_ms,
        pace.latency.p95_ms,
        pace.age_s,
        dict(reader.source.counters),
        str(reader.error) if reader.error else None,
        latency_costs,
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
