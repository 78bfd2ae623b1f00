"""Writes a run's records in a thread of its own: a slow or vanished database never holds up the pipeline."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from pipeline.core.errors import RefusedRecordError, TracklightError
from pipeline.records.address import StoreAddress
from pipeline.records.making import run_record, source_record
from pipeline.records.retention import Retention
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import EVENTS, Cell, Record
from pipeline.records.store import Store, open_store
from pipeline.records.unsaved import keep_unsaved

logger = logging.getLogger(__name__)

COMMIT_S = 0.25
"""Records wait at most this long for the next commit."""
HEARTBEAT_S = 1.0
LONGEST_PAUSE_S = 5.0
"""Between two attempts to reach a store that has vanished."""
CLOSE_S = 5.0
"""How long the end of a run waits for a store that takes nothing."""
STUCK_S = 10.0
"""A statement that takes longer is broken off: the server has stopped answering."""
_BATCH = 2000


class StoreWriter:
    """The thread that writes one run. What cannot be written waits in memory, within a bound.

    Args:
        address: the store.
        run: the run's row as it is when it begins.
        spool: most records that wait; the oldest are dropped, and counted, when more come.
        retention: what is to be deleted from time to time, or None.
    """

    def __init__(
        self, address: StoreAddress, run: StoredRun, *, spool: int = 100_000, retention: Retention | None = None
    ) -> None:
        self._address = address
        self._run = run
        self._sources: dict[str, StoredSource] = {}
        self._spool_size = spool
        self._retention = retention
        self._spool: dict[tuple[Cell, ...], Record] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._store: Store | None = None
        self._said_alive_at = -HEARTBEAT_S
        self._down_since: float | None = None
        self._busy_since: float | None = None
        self._counters = dict.fromkeys(("stored", "dropped", "refused", "unsaved", "lost", "outages"), 0)
        self._refused_rows: set[tuple[Cell, ...]] = set()
        """Keys of the run and of sources that the store does not take: not tried again with each sign of life."""
        # Not a daemon: it would be cut off in the middle of the last commit.
        self._thread = threading.Thread(target=self._loop, name="event store", daemon=False)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._run.run_id

    @property
    def counters(self) -> Mapping[str, int]:
        """Records `stored`, `dropped` (the spool was full), `refused`, `unsaved` (in a file), `lost`; and `outages`."""
        with self._lock:
            return dict(self._counters)

    # -- the pipeline's side ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, record: Record) -> None:
        """Take a record; a later one of the same key replaces one that still waits. Never waits for the database."""
        with self._lock:
            self._spool[record.key] = record
            if len(self._spool) > self._spool_size:
                # The oldest: what happens now is what somebody may still act on.
                del self._spool[next(iter(self._spool))]
                self._counters["dropped"] += 1
        self._interrupt_if_stuck(STUCK_S)

    def put_source(self, source: StoredSource) -> None:
        """How things stand with a source; written with the next sign of life."""
        with self._lock:
            if source.source_id not in self._sources:
                self._said_alive_at = -HEARTBEAT_S
            self._sources[source.source_id] = source
        self._interrupt_if_stuck(STUCK_S)

    def close(self) -> None:
        """Write what waits, as long as the store takes it; the rest goes to a file that a warning names. Idempotent."""
        if self._closing.is_set():
            return
        self._closing.set()
        if self._thread.ident is not None:
            while self._thread.is_alive():
                self._thread.join(0.1)
                self._interrupt_if_stuck(CLOSE_S)
        self._keep_the_rest()

    def end_run(self, status: str) -> None:
        """Write how the run ended, after `close`."""
        now = datetime.now(UTC)
        self._run = replace(self._run, status=status, ended_utc=now, alive_utc=now)
        record = run_record(self._run)
        try:
            with open_store(self._address, read_only=False) as store:
                store.put([record])
        except TracklightError as error:
            self._keep([record], str(error))

    # -- the thread ---------------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        pause = COMMIT_S
        try:
            while not self._closing.wait(pause):
                pause = COMMIT_S if self._round() else min(max(pause, 0.5) * 2, LONGEST_PAUSE_S)
            give_up = time.monotonic() + CLOSE_S
            self._said_alive_at = -HEARTBEAT_S
            while not self._round() and time.monotonic() < give_up:
                time.sleep(min(0.5, COMMIT_S))
        finally:
            self._disconnect()

    def _round(self) -> bool:
        """Write what waits; False where the store fails."""
        self._busy_since = time.monotonic()
        try:
            self._connect()
            n_late = self._write()
            if self._retention is not None and self._store is not None and not self._closing.is_set():
                self._retention.step(self._store)
        except TracklightError as error:
            self._failed(error)
            return False
        finally:
            self._busy_since = None
        self._recovered(n_late)
        return True

    def _connect(self) -> None:
        if self._store is not None and self._store.engine.is_gone():
            logger.warning("%s: the event store was removed; going on in a new one", self._address)
            self._disconnect()
        if self._store is None:
            self._store = open_store(self._address, read_only=False)
            self._said_alive_at = -HEARTBEAT_S

    def _write(self) -> int:
        store = self._store
        if store is None:
            return 0
        n_written, now = 0, time.monotonic()
        alive: list[Record] = []
        if now - self._said_alive_at >= HEARTBEAT_S:
            with self._lock:
                self._run = replace(self._run, alive_utc=datetime.now(UTC))
                alive = [run_record(self._run), *map(source_record, self._sources.values())]
            alive = [record for record in alive if record.key not in self._refused_rows]
        with self._lock:
            n_waiting = len(self._spool)
        while alive or n_written < n_waiting:
            with self._lock:
                batch = list(islice(self._spool.values(), _BATCH))
            refused = self._put(store, [*alive, *batch])
            if alive:
                self._said_alive_at, alive = now, []
            self._busy_since = time.monotonic()
            n_written += len(batch)
            with self._lock:
                for record in batch:
                    # An end that came meanwhile has taken the place of the beginning that was written.
                    if self._spool.get(record.key) is record:
                        del self._spool[record.key]
                self._counters["stored"] += sum(record.table is EVENTS for record in batch if record not in refused)
            if not batch:
                break
        return n_written

    def _put(self, store: Store, records: list[Record]) -> list[Record]:
        """Write records, but for those that the store does not take for what they are. Returns these."""
        self._busy_since = time.monotonic()
        try:
            store.put(records)
        except RefusedRecordError as error:
            if len(records) == 1:
                self._refuse(records[0], error)
                return records
            middle = len(records) // 2
            return [*self._put(store, records[:middle]), *self._put(store, records[middle:])]
        return []

    def _refuse(self, record: Record, error: RefusedRecordError) -> None:
        if record.table is not EVENTS:
            self._refused_rows.add(record.key)
        with self._lock:
            self._counters["refused"] += 1
            is_first = self._counters["refused"] == 1
        path = self._saved([record], str(error), say=is_first)
        if is_first and path is not None:
            logger.warning("%s; it is in %s, the rest goes on; others like it are only counted", error, path)

    def _failed(self, error: TracklightError) -> None:
        self._disconnect()
        if self._down_since is None:
            self._down_since = time.monotonic()
            with self._lock:
                self._counters["outages"] += 1
            logger.warning("%s; the run goes on, up to %d records wait for the store", error, self._spool_size)

    def _recovered(self, n_late: int) -> None:
        if self._down_since is not None:
            down_s, self._down_since = time.monotonic() - self._down_since, None
            n_dropped = self.counters["dropped"]
            dropped = f", {n_dropped} were dropped" if n_dropped else ""
            logger.warning(
                "%s: the event store is back after %.1f s; %d records were written late%s",
                *(self._address, down_s, n_late, dropped),
            )

    def _interrupt_if_stuck(self, patience_s: float) -> None:
        busy_since, store = self._busy_since, self._store
        if busy_since is not None and store is not None and time.monotonic() - busy_since > patience_s:
            store.engine.interrupt()

    def _disconnect(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    # -- what could not be written ------------------------------------------------------------------------------------

    def _keep_the_rest(self) -> None:
        with self._lock:
            rest = list(self._spool.values())
            self._spool.clear()
            sources = list(self._sources.values())
        if rest:
            self._keep([run_record(self._run), *map(source_record, sources), *rest], "it did not come back in time")

    def _keep(self, records: list[Record], reason: str) -> None:
        path = self._saved(records, reason, say=True)
        if path is not None:
            logger.warning(
                "%s: %d records could not be saved (%s); they are in %s, `tracklight events import` reads them back",
                *(self._address, len(records), reason, path),
            )

    def _saved(self, records: list[Record], reason: str, *, say: bool) -> Path | None:
        """Put records into the run's file; None where no place takes it."""
        try:
            path = keep_unsaved(self._address, self.run_id, records)
        except OSError as error:
            with self._lock:
                self._counters["lost"] += len(records)
            if say:
                logger.warning(
                    "%s: %d records are lost: %s; no file takes them: %s", *(self._address, len(records), reason, error)
                )
            return None
        with self._lock:
            self._counters["unsaved"] += len(records)
        return path
