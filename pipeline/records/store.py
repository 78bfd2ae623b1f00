"""A store of events: opening, reading, writing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import numpy as np

from pipeline.core.errors import StoreError, UsageError
from pipeline.core.event import EventKind
from pipeline.core.scene import Heatmap
from pipeline.records.address import StoreAddress, parse_store_address
from pipeline.records.engine import Engine, Row
from pipeline.records.migration import migrate, refuse_newer, stored_version
from pipeline.records.process import is_dead
from pipeline.records.rows import (
    EventFilter,
    StoredEvent,
    StoredHeatmap,
    StoredRun,
    StoredSource,
    StoredSummary,
)
from pipeline.records.schema import EVENTS, HEATMAPS, RUNS, SOURCES, STEPS, SUMMARIES, Cell, Record

COUNTS = """(s.is_live = 1 OR NOT EXISTS (
    SELECT 1 FROM sources n WHERE n.source_id = s.source_id AND n.address = s.address AND n.is_live = 0
    AND n.run_id > s.run_id))"""
"""SQL: whether the source s of a run is looked at where no run is asked for: all runs of a live source, of recorded
footage (the same id and address) the newest. Ids of runs sort by their start."""


def open_store(address: str | StoreAddress, *, read_only: bool = True) -> Store:
    """Open a store; one of an older version is brought to this program's version first.

    Args:
        address: a file, or postgresql://user:password@host/database.
        read_only: nothing is changed or created.

    Raises:
        UsageError: no such store, no event store at all, or one of a newer version.
        MissingExtraError: PostgreSQL's driver is not installed.
        StoreError: the database cannot be reached.
    """
    place = parse_store_address(address) if isinstance(address, str) else address
    engine = _engine(place, read_only)
    try:
        if read_only:
            version = stored_version(engine, str(place))
            if version == 0:
                raise UsageError(f"{place}: wanted an event store, found an empty database")
            refuse_newer(version, str(place))
            if version < len(STEPS):
                engine.close()
                _engine_brought_up_to_date(place).close()
                engine = _engine(place, read_only)
        else:
            migrate(engine, str(place))
    except BaseException:
        engine.close()
        raise
    return Store(place, engine)


def check_version(place: StoreAddress) -> None:
    """Whether a database can be reached and is a store, or empty. Changes nothing.

    Raises:
        As `open_store`.
    """
    engine = _engine(place, read_only=True)
    try:
        refuse_newer(stored_version(engine, str(place)), str(place))
    finally:
        engine.close()


def _engine_brought_up_to_date(place: StoreAddress) -> Engine:
    engine = _engine(place, read_only=False)
    try:
        migrate(engine, str(place))
    except BaseException:
        engine.close()
        raise
    return engine


def _engine(place: StoreAddress, read_only: bool) -> Engine:
    if place.url is not None:
        from pipeline.records.postgres_engine import PostgresEngine

        return PostgresEngine(place.url, read_only=read_only)
    if place.path is None:
        raise UsageError("store: wanted a file or a URL, found neither")
    from pipeline.records.sqlite_engine import SqliteEngine

    return SqliteEngine(place.path, read_only=read_only)


class Store:
    """An open store. Used by one thread at a time; close it, or use it as a context.

    Every method raises StoreError where the database fails.

    Args:
        address: where it is.
        engine: the connection; the store closes it.
    """

    def __init__(self, address: StoreAddress, engine: Engine) -> None:
        self.address = address
        self.engine = engine

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.engine.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def runs(self) -> list[StoredRun]:
        """All runs, the oldest first. A run whose process has died without a word is `interrupted`."""
        return [_run(row) for row in self.engine.rows(f"SELECT {RUNS.select('r')} FROM runs r ORDER BY r.run_id")]

    def sources(self, run: str = "") -> list[StoredSource]:
        """The sources of a run, of `all` runs, or those that count (`EventFilter.run`), by run and id."""
        condition, arguments = _of_run(run)
        sql = f"SELECT {SOURCES.select('s')} FROM sources s WHERE {condition} ORDER BY s.run_id, s.source_id"
        return [_source(row) for row in self.engine.rows(sql, arguments)]

    def events(self, wanted: EventFilter | None = None) -> Iterator[StoredEvent]:
        """Events in order of wall time (first those without), source, own time and id.

        Memory does not grow with their number, unless `limit` is set.
        """
        wanted = wanted or EventFilter()
        conditions, arguments = _conditions(wanted)
        sql = (
            f"SELECT {EVENTS.select('e')} FROM events e "
            "JOIN sources s ON s.run_id = e.run_id AND s.source_id = e.source_id "
            f"WHERE {' AND '.join(conditions)} ORDER BY "
        )
        if wanted.limit is None:
            return (_event(row) for row in self.engine.rows(sql + _order(), arguments))
        newest = list(self.engine.rows(f"{sql}{_order(' DESC')} LIMIT ?", (*arguments, wanted.limit)))
        return (_event(row) for row in reversed(newest))

    def count(self, wanted: EventFilter | None = None) -> int:
        """How many events `events` would give without its limit."""
        conditions, arguments = _conditions(wanted or EventFilter())
        (row,) = self.engine.rows(
            "SELECT count(*) FROM events e JOIN sources s ON s.run_id = e.run_id AND s.source_id = e.source_id "
            f"WHERE {' AND '.join(conditions)}",
            arguments,
        )
        return int(row[0] or 0)

    def heatmaps(self, run: str = "") -> list[StoredHeatmap]:
        """The heatmaps of the sources that `sources` gives."""
        return [_heatmap(row) for row in self._of_sources(HEATMAPS.select("t"), "heatmaps", run)]

    def summaries(self, run: str = "") -> list[StoredSummary]:
        """The summaries of the sources that `sources` gives, by run, source, rule and name."""
        return [StoredSummary(*row) for row in self._of_sources(SUMMARIES.select("t"), "summaries", run)]  # type: ignore[arg-type]

    def _of_sources(self, columns: str, table: str, run: str) -> Iterator[Row]:
        condition, arguments = _of_run(run)
        order = ", t.rule, t.name" if table == "summaries" else ""
        return self.engine.rows(
            f"SELECT {columns} FROM {table} t JOIN sources s ON s.run_id = t.run_id AND s.source_id = t.source_id "
            f"WHERE {condition} ORDER BY t.run_id, t.source_id{order}",
            arguments,
        )

    # -- writing ------------------------------------------------------------------------------------------------------

    def put(self, records: Iterable[Record]) -> None:
        """Write records in their order, all or none; one of a key that is there replaces it (see `schema`).

        Raises:
            RefusedRecordError: the database does not take one of them for what it is.
            StoreError: it takes none now.
        """
        with self.engine.transaction():
            for table, group in groupby(records, key=lambda record: record.table):
                self.engine.run_many(table.upsert, [record.row for record in group])


def _order(direction: str = "") -> str:
    columns = ("COALESCE(e.start_utc, '')", "e.source_id", "e.start_s", "e.run_id", "e.event_id")
    return ", ".join(f"{column}{direction}" for column in columns)


def _of_run(run: str) -> tuple[str, tuple[Cell, ...]]:
    if run == "all":
        return "1 = 1", ()
    return ("s.run_id = ?", (run,)) if run else (COUNTS, ())


def _conditions(wanted: EventFilter) -> tuple[list[str], list[Cell]]:
    condition, of_run = _of_run(wanted.run)
    conditions, arguments = [condition], list(of_run)
    lists: tuple[tuple[str, Sequence[str]], ...] = (
        ("e.source_id", wanted.sources),
        ("e.kind", wanted.kinds),
        ("e.rule", wanted.rules),
        ("e.class_name", wanted.classes),
    )
    for column, values in lists:
        if values:
            conditions.append(f"{column} IN ({', '.join('?' * len(values))})")
            arguments += [str(value) for value in values]
    if wanted.event_id:
        conditions.append("substr(e.event_id, 1, ?) = ?")
        arguments += [len(wanted.event_id), wanted.event_id]
    for bound, comparison in ((wanted.since, ">="), (wanted.until, "<")):
        if isinstance(bound, datetime):
            conditions.append(f"e.start_utc {comparison} ?")
            arguments.append(utc_text(bound))
        elif bound is not None:
            conditions.append(f"e.start_s {comparison} ?")
            arguments.append(float(bound))
    return conditions, arguments


def utc_text(time: datetime) -> str:
    """A wall time as the store keeps it: UTC to the microsecond, so that texts sort like times."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _time(text: Any) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _run(row: Row) -> StoredRun:
    values: Any = dict(zip(RUNS.columns, row, strict=True))
    for name in ("started_utc", "ended_utc", "alive_utc"):
        values[name] = _time(values[name])
    if values["status"] == "running" and is_dead(values["process"], values["alive_utc"]):
        values["status"] = "interrupted"
    return StoredRun(**values)


def _source(row: Row) -> StoredSource:
    values: Any = dict(zip(SOURCES.columns, row, strict=True))
    values["first_utc"] = _time(values["first_utc"])
    values["is_live"], values["ended"] = bool(values["is_live"]), bool(values["ended"])
    return StoredSource(**values)


def _event(row: Row) -> StoredEvent:
    values: Any = dict(zip(EVENTS.columns, row, strict=True))
    try:
        values["kind"] = EventKind(values["kind"])
        values["start_utc"], values["end_utc"] = _time(values["start_utc"]), _time(values["end_utc"])
        values["track_ids"] = tuple(json.loads(values["track_ids"]))
        values["box"] = None if values["box"] is None else tuple(json.loads(values["box"]))
        values["predicted"] = bool(values["predicted"])
        values["values"] = json.loads(values["values"])
    except (ValueError, TypeError) as error:
        raise StoreError(f"event {values['event_id']}: wanted what Tracklight wrote, found: {error}") from error
    return StoredEvent(**values)


def _heatmap(row: Row) -> StoredHeatmap:
    values: Any = dict(zip(HEATMAPS.columns, row, strict=True))
    shape = (values["n_rows"], values["n_cols"])
    try:
        presence = np.frombuffer(values["presence"], "<f4").reshape(shape)
        flow = np.frombuffer(values["flow"], "<f4").reshape(*shape, 2)
    except ValueError as error:
        raise StoreError(f"heatmap of {values['source_id']}: wanted {shape} cells, found: {error}") from error
    heatmap = Heatmap(values["cell_px"], presence, flow)
    return StoredHeatmap(values["run_id"], values["source_id"], heatmap)
