"""The tables of a store, the steps from each version to the next, and how their rows are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Cell = str | int | float | bytes | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its columns in order, its primary key, and when a row replaces the one of the same key."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    kept_if_empty: tuple[str, ...] = ()
    """Columns in which an empty text leaves what is there."""
    replaces: str = ""
    """SQL condition; empty: always."""

    @property
    def upsert(self) -> str:
        """SQL that inserts a row or replaces the one of the same key."""
        names = ", ".join(_quoted(column) for column in self.columns)
        marks = ", ".join("?" * len(self.columns))
        sets = ", ".join(self._set(column) for column in self.columns if column not in self.key)
        condition = f" WHERE {self.replaces}" if self.replaces else ""
        return (
            f"INSERT INTO {self.name} ({names}) VALUES ({marks}) "
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {sets}{condition}"
        )

    def select(self, alias: str) -> str:
        """The columns, for a SELECT."""
        return ", ".join(f"{alias}.{_quoted(column)}" for column in self.columns)

    def _set(self, column: str) -> str:
        name = _quoted(column)
        if column in self.kept_if_empty:
            return f"{name} = CASE WHEN excluded.{name} = '' THEN {self.name}.{name} ELSE excluded.{name} END"
        return f"{name} = excluded.{name}"


RUNS = Table(
    "runs",
    ("run_id",),
    (
        *("run_id", "started_utc", "ended_utc", "alive_utc", "status", "version", "config_digest", "command"),
        "process",
    ),
    # An old record that is read back from a file must not make a finished run unfinished.
    replaces="excluded.alive_utc >= runs.alive_utc",
)
SOURCES = Table(
    "sources",
    ("run_id", "source_id"),
    (
        *("run_id", "source_id", "address", "is_live", "width_px", "height_px", "first_utc", "first_s", "last_s"),
        *("frames", "ended"),
    ),
)
EVENTS = Table(
    "events",
    ("run_id", "event_id"),
    (
        *("run_id", "event_id", "kind", "rule", "source_id", "start_s", "end_s", "start_utc", "end_utc", "frame"),
        *("class_id", "class_name", "track_ids", "box", "predicted", "values", "snapshot", "clip"),
    ),
    kept_if_empty=("snapshot", "clip"),
    # Told again from its beginning, an event that has ended stays ended.
    replaces="excluded.end_s IS NOT NULL OR events.end_s IS NULL",
)
HEATMAPS = Table(
    "heatmaps",
    ("run_id", "source_id"),
    ("run_id", "source_id", "cell_px", "n_rows", "n_cols", "presence", "flow"),
)
SUMMARIES = Table(
    "summaries", ("run_id", "source_id", "rule", "name"), ("run_id", "source_id", "rule", "name", "value")
)
TABLES: Mapping[str, Table] = {table.name: table for table in (RUNS, SOURCES, EVENTS, HEATMAPS, SUMMARIES)}


@dataclass(frozen=True, slots=True)
class Record:
    """One row on its way into a table."""

    table: Table
    row: tuple[Cell, ...]

    @property
    def key(self) -> tuple[Cell, ...]:
        """What identifies it within the whole store."""
        return (self.table.name, *self.row[: len(self.table.key)])

    def to_json(self) -> dict[str, object]:
        """Plain values; bytes in base64."""
        cells = (_plain(cell) for cell in self.row)
        return {"table": self.table.name, **dict(zip(self.table.columns, cells, strict=True))}

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Record:
        """The record that `to_json` gave.

        Raises:
            ValueError: values that are no record of a table.
        """
        table = TABLES.get(str(values.get("table")))
        if table is None or set(values) != {"table", *table.columns}:
            raise ValueError(f"wanted the columns of a table, found {', '.join(values)}")
        return cls(table, tuple(_cell(values[column]) for column in table.columns))


def _plain(cell: Cell) -> object:
    return {"base64": base64.b64encode(cell).decode()} if isinstance(cell, bytes) else cell


def _cell(value: object) -> Cell:
    if isinstance(value, Mapping):
        return base64.b64decode(str(value.get("base64", "")), validate=True)
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    raise ValueError(f"wanted a text or number, found {value!r}")


def _quoted(column: str) -> str:
    """`values` is a word of SQL."""
    return f'"{column}"' if column == "values" else column


# -- versions ---------------------------------------------------------------------------------------------------------

Step = Sequence[str]

_FIRST: Step = (
    """CREATE TABLE runs (
        run_id {text} PRIMARY KEY, started_utc {text} NOT NULL, ended_utc {text}, alive_utc {text} NOT NULL,
        status {text} NOT NULL, version {text} NOT NULL, config_digest {text} NOT NULL, command {text} NOT NULL,
        process {text} NOT NULL)""",
    """CREATE TABLE sources (
        run_id {text} NOT NULL, source_id {text} NOT NULL, address {text} NOT NULL, is_live INTEGER NOT NULL,
        width_px INTEGER NOT NULL, height_px INTEGER NOT NULL, first_utc {text}, first_s {real}, last_s {real},
        frames {long} NOT NULL, ended INTEGER NOT NULL, PRIMARY KEY (run_id, source_id))""",
    """CREATE TABLE events (
        run_id {text} NOT NULL, event_id {text} NOT NULL, kind {text} NOT NULL, rule {text} NOT NULL,
        source_id {text} NOT NULL, start_s {real} NOT NULL, end_s {real}, start_utc {text}, end_utc {text},
        frame {long} NOT NULL, class_id INTEGER NOT NULL, class_name {text} NOT NULL, track_ids {text} NOT NULL,
        box {text}, predicted INTEGER NOT NULL, "values" {text} NOT NULL, snapshot {text} NOT NULL,
        clip {text} NOT NULL, PRIMARY KEY (run_id, event_id))""",
    """CREATE TABLE heatmaps (
        run_id {text} NOT NULL, source_id {text} NOT NULL, cell_px {real} NOT NULL, n_rows INTEGER NOT NULL,
        n_cols INTEGER NOT NULL, presence {blob} NOT NULL, flow {blob} NOT NULL, PRIMARY KEY (run_id, source_id))""",
    """CREATE TABLE summaries (
        run_id {text} NOT NULL, source_id {text} NOT NULL, rule {text} NOT NULL, name {text} NOT NULL,
        value {real} NOT NULL, PRIMARY KEY (run_id, source_id, rule, name))""",
    "CREATE INDEX events_by_source ON events (source_id, start_s)",
    "CREATE INDEX events_by_kind ON events (kind, start_s)",
    "CREATE INDEX events_by_time ON events (start_utc)",
    "CREATE INDEX sources_by_id ON sources (source_id, run_id)",
)

STEPS: Sequence[Step] = (_FIRST,)
"""Step n makes version n + 1 of version n. A released step is never changed; what is new comes as a new step."""
