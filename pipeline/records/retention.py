"""Deletes what is older or more than somebody wants to keep, a bounded step at a time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.records.schema import Cell
from pipeline.records.snapshot_place import SNAPSHOTS, snapshot_folder, snapshot_path
from pipeline.records.store import Store, utc_text

EVERY_S = 3600.0
STEP = 500
"""Most events deleted in one step."""

_AGE = "CASE WHEN s.is_live = 1 THEN COALESCE(e.start_utc, r.started_utc) ELSE r.started_utc END"
"""When a record was made: of a camera the event's own time, of recorded footage that of the run. Footage of years ago
is not old because of that."""
_JOINED = (
    "FROM events e JOIN runs r ON r.run_id = e.run_id "
    "JOIN sources s ON s.run_id = e.run_id AND s.source_id = e.source_id"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What to keep. None = no limit.

    Attributes:
        days: events at most this old.
        max_mb: at most so much (10^6 bytes) of rows and snapshots; the oldest events go first.
    """

    days: float | None = None
    max_mb: float | None = None


class Retention:
    """Applies limits at its first step and hourly after that.

    Args:
        limits: what to keep.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._due_at = 0.0

    def step(self, store: Store) -> int:
        """Delete at most `STEP` events if something is due; how many were deleted. Raises StoreError."""
        if time.monotonic() < self._due_at:
            return 0
        n_deleted = prune_step(store, self._limits)
        if n_deleted < STEP:
            self._due_at = time.monotonic() + EVERY_S
        return n_deleted


def prune_step(store: Store, limits: Limits) -> int:
    """Delete at most `STEP` events that a limit does not allow, with their snapshots, and old runs without events.

    Returns:
        Events deleted; fewer than `STEP` means that no more are to be deleted.

    Raises:
        StoreError: the database fails.
    """
    n_deleted = 0
    if limits.days is not None:
        bound = utc_text(datetime.now(UTC) - timedelta(days=limits.days))
        n_deleted = _delete(store, f"WHERE {_AGE} < ?", (bound,))
        _delete_empty_runs(store, bound)
    if n_deleted < STEP and limits.max_mb is not None:
        n_deleted += _delete_beyond(store, limits.max_mb * 1e6)
    if n_deleted:
        store.engine.give_back_space()
    return n_deleted


def _delete_beyond(store: Store, max_bytes: float) -> int:
    """Delete the share of the oldest events by which the store is too large."""
    used = store.engine.size_bytes() + _snapshot_bytes(store)
    (row,) = store.engine.rows("SELECT count(*) FROM events")
    n_events = int(row[0] or 0)
    if used <= max_bytes or not n_events:
        return 0
    # Pages are freed only when all their rows are gone, so by the size alone too much would be deleted at once.
    n_beyond = max(int(n_events * (1 - max_bytes / used)), 1)
    return _delete(store, "", (), min(n_beyond, STEP))


def _snapshot_bytes(store: Store) -> int:
    folder = snapshot_folder(store.address)
    return sum(path.stat().st_size for path in folder.glob("*.jpg")) if folder.is_dir() else 0


def _delete(store: Store, condition: str, arguments: tuple[Cell, ...], n: int = STEP) -> int:
    sql = (
        f"SELECT e.run_id, e.event_id, e.snapshot {_JOINED} {condition} ORDER BY {_AGE}, e.start_s, e.event_id LIMIT ?"
    )
    with store.engine.transaction():
        rows = list(store.engine.rows(sql, (*arguments, n)))
        store.engine.run_many("DELETE FROM events WHERE run_id = ? AND event_id = ?", [row[:2] for row in rows])
    for _, _, snapshot in rows:
        if snapshot:
            _remove(snapshot_path(store.address, str(snapshot)))
    return len(rows)


def _remove(path: Path | None) -> None:
    """Pictures in a folder of snapshots, and nothing else that a record may name."""
    if path is not None and path.suffix == ".jpg" and path.resolve().parent.name.endswith(SNAPSHOTS):
        path.unlink(missing_ok=True)


def _delete_empty_runs(store: Store, bound: str) -> None:
    """Runs that ended before the bound and have no events left."""
    old = (
        "SELECT r.run_id FROM runs r WHERE r.alive_utc < ? AND NOT EXISTS "
        "(SELECT 1 FROM events e WHERE e.run_id = r.run_id)"
    )
    with store.engine.transaction():
        rows = list(store.engine.rows(old, (bound,)))
        for table in ("summaries", "heatmaps", "sources", "runs"):
            store.engine.run_many(f"DELETE FROM {table} WHERE run_id = ?", rows)
