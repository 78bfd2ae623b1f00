"""Deletes what is older or more than somebody wants to keep, a bounded step at a time."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.records.schema import Cell
from pipeline.records.snapshot_place import SNAPSHOTS, snapshot_folder, snapshot_path
from pipeline.records.store import Store, utc_text

logger = logging.getLogger(__name__)

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


class Pruning:
    """One pass that deletes what the limits do not allow, a step at a time.

    Args:
        limits: what to keep.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._began = datetime.now(UTC)
        self._n_beyond: int | None = None

    def step(self, store: Store) -> int:
        """Delete at most `STEP` events with their pictures; how many. 0: the pass is over. Raises StoreError."""
        n_deleted = self._step(store)
        if n_deleted:
            store.engine.give_back_space()
        return n_deleted

    def _step(self, store: Store) -> int:
        limits = self._limits
        if limits.days is not None:
            bound = utc_text(self._began - timedelta(days=limits.days))
            n_deleted = _delete(store, f"WHERE {_AGE} < ?", (bound,), STEP)
            if n_deleted:
                return n_deleted
            _delete_empty_runs(store, bound)
        if limits.max_mb is not None:
            # Worked out once: a database frees the space of deleted rows later, if at all.
            if self._n_beyond is None:
                self._n_beyond = _count_beyond(store, limits.max_mb * 1e6)
            n_deleted = _delete(store, "", (), min(self._n_beyond, STEP)) if self._n_beyond else 0
            self._n_beyond -= n_deleted
            return n_deleted
        return 0


class Retention:
    """Applies limits at its first step and hourly after that.

    Args:
        limits: what to keep.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pass: Pruning | None = None
        self._due_at = 0.0

    def step(self, store: Store) -> None:
        """Delete a bounded number of events if something is due. Raises StoreError."""
        if time.monotonic() < self._due_at:
            return
        self._pass = self._pass or Pruning(self._limits)
        if not self._pass.step(store):
            self._pass = None
            self._due_at = time.monotonic() + EVERY_S


def _count_beyond(store: Store, max_bytes: float) -> int:
    """How many of the oldest events are to go: the share by which rows and pictures take too much."""
    used = store.engine.size_bytes() + _snapshot_bytes(store)
    if used <= max_bytes:
        return 0
    (row,) = store.engine.rows("SELECT count(*) FROM events")
    return math.ceil(int(row[0] or 0) * (1 - max_bytes / used))


def _snapshot_bytes(store: Store) -> int:
    return sum(map(_bytes_of, snapshot_folder(store.address).glob("*.jpg")))


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        # Somebody else has deleted it meanwhile.
        return 0


def _delete(store: Store, condition: str, arguments: tuple[Cell, ...], n: int) -> int:
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
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: the picture of a deleted event stays: %s", path, error.strerror or error)


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
