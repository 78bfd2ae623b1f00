"""Tables for pandas: tracks, events and counts.

    from pipeline.api_records import counts_frame, events_frame, tracks_frame

    tracks = tracks_frame("tracks.jsonl")
    events = events_frame("events.db")
    hourly = counts_frame("events.db", by="hour")

Wall times are in UTC. Needs `pip install 'tracklight[store]'`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import MissingExtraError, UsageError
from pipeline.core.event import EventKind
from pipeline.core.result import FrameResult
from pipeline.records.buckets import BY, Timescale, clock_s, find_zone
from pipeline.records.parquet import event_row, event_schema, import_pyarrow, track_schema, unfinished_batches
from pipeline.records.rows import EventFilter
from pipeline.records.store import Store, open_store

if TYPE_CHECKING:
    import pandas

COUNTED = (EventKind.OBJECT, EventKind.CROSSING, EventKind.VISIT)
_AT_ONCE = 10_000
_MAY_MISS = ("captured_ns", "track_id", "class_id")


def tracks_frame(tracks: str | Path | Iterable[FrameResult], *, class_names: Sequence[str] = ()) -> pandas.DataFrame:
    """One row for each object and frame.

    Args:
        tracks: a file that a run wrote (.jsonl, .parquet, or the .arrows of a run that was killed), or results.
        class_names: names by class_id, for results, which have numbers only.

    Returns:
        Columns source, frame, pts_s (s; missing where the source has no media time), captured_ns (of the run's
        clock; missing in .jsonl files without timing), track_id (missing without a tracker), class_id, class,
        confidence, x1, y1, x2, y2 (px) and predicted.

    Raises:
        MissingExtraError: pandas or pyarrow is not installed.
        UsageError: a file of another form.
        OSError: the file cannot be read.
    """
    pa, schema = import_pyarrow(), track_schema(class_names)
    if not isinstance(tracks, str | Path):
        from sinks.parquet_tracks import track_batch

        return _frame(pa.Table.from_batches([track_batch(one, class_names, schema) for one in tracks], schema))
    path = Path(tracks)
    if path.suffix == ".parquet":
        return _frame(pa.parquet.read_table(path))
    if path.suffix == ".arrows":
        return _frame(pa.Table.from_batches(unfinished_batches(path), schema))
    if path.suffix == ".jsonl":
        return _frame(_table(_objects(path), schema))
    raise UsageError(f"{path}: wanted .jsonl, .parquet or .arrows, found the suffix {path.suffix!r}")


def events_frame(store: str | Path | Store, wanted: EventFilter | None = None) -> pandas.DataFrame:
    """One row for each event.

    Args:
        store: a file, postgresql://…, or an open store.
        wanted: which events; default: all of the runs that count, see `EventFilter`.

    Returns:
        Columns run, event_id, kind, rule, source, start_s, end_s, start_utc, end_utc (missing for footage whose time
        nobody told), frame, class_id, class, track_ids, x1, y1, x2, y2, predicted, values (dicts), snapshot, clip, and
        lasted, a Timedelta that is missing while the event goes on.

    Raises:
        MissingExtraError: pandas or pyarrow is not installed.
        UsageError, StoreError: as `open_store`.
    """
    with _opened(store) as opened:
        frame = _frame(_table(map(event_row, opened.events(wanted)), event_schema()))
    frame["values"] = frame["values"].map(json.loads)
    frame["lasted"] = _pandas().to_timedelta(frame["end_s"] - frame["start_s"], unit="s")
    return frame


def counts_frame(
    store: str | Path | Store, by: str = "hour", *, wanted: EventFilter | None = None, timezone: str = "UTC"
) -> pandas.DataFrame:
    """How many objects, crossings and visits began in each span of time. Spans without any have no row.

    Args:
        store: a file, postgresql://…, or an open store.
        by: `15min`, `hour` or `day`.
        wanted: which events; default: all of the runs that count, see `EventFilter`.
        timezone: whose days and hours, for sources with wall times.

    Returns:
        Columns source, start_utc (Timestamp in UTC; missing for footage whose time nobody told), start (Timedelta in
        that footage, missing otherwise), kind (object, crossing, visit), rule, direction (of crossings, else empty),
        class and n.

    Raises:
        MissingExtraError: pandas is not installed.
        UsageError: an unknown `by` or time zone; also as `open_store`.
        StoreError: as `open_store`.
    """
    if by not in BY:
        raise UsageError(f"counts_frame: wanted by one of {', '.join(BY)}, found {by!r}")
    on_clock, of_footage = Timescale(BY[by], find_zone(timezone)), Timescale(BY[by], None)
    counts: Counter[tuple[str, bool, float, str, str, str, str]] = Counter()
    with _opened(store) as opened:
        for event in opened.events(wanted):
            if event.kind not in COUNTED:
                continue
            timed = event.start_utc is not None
            start_s = (
                of_footage.start_of(event.start_s)
                if event.start_utc is None
                else on_clock.start_of(clock_s(event.start_utc))
            )
            direction = str(event.values.get("direction", "")) if event.kind is EventKind.CROSSING else ""
            counts[event.source_id, timed, start_s, str(event.kind), event.rule, direction, event.class_name] += 1
    rows = [(*key, n) for key, n in sorted(counts.items())]
    names = ("source", "timed", "at", "kind", "rule", "direction", "class", "n")
    pd = _pandas()
    types = {"timed": bool, "at": float, "n": "int64", **dict.fromkeys(("source", *names[3:7]), str)}
    frame = pd.DataFrame(rows, columns=list(names)).astype(types)
    start_utc = pd.to_datetime(frame["at"].where(frame["timed"]), unit="s", utc=True)
    start = pd.to_timedelta(frame["at"].where(~frame["timed"]), unit="s")
    frame.insert(1, "start_utc", start_utc.astype("datetime64[us, UTC]"))
    frame.insert(2, "start", start.astype("timedelta64[us]"))
    counted: pandas.DataFrame = frame.drop(columns=["timed", "at"])
    return counted


def _objects(path: Path) -> Iterator[Mapping[str, object]]:
    """Rows of a file of JSON lines; lines that end a source have no objects."""
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                record = json.loads(line)
                for one in record.get("objects", ()):
                    x1, y1, x2, y2 = one["xyxy"]
                    yield {
                        **{name: record.get(name) for name in ("source", "frame", "pts_s", "captured_ns")},
                        **{name: one[name] for name in ("track_id", "class_id", "class", "confidence")},
                        **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
                        "predicted": bool(one.get("predicted")),
                    }
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UsageError(f"{path}, line {number}: wanted what `-o` writes, found: {error!r}") from error


def _table(rows: Iterable[Mapping[str, object]], schema: Any) -> Any:
    """A pyarrow table, made piece by piece: rows of Python objects take 20 times its memory."""
    pa, rows = import_pyarrow(), iter(rows)
    batches = []
    while part := list(islice(rows, _AT_ONCE)):
        batches.append(pa.RecordBatch.from_pylist(part, schema=schema))
    return pa.Table.from_batches(batches, schema)


def _frame(table: Any) -> pandas.DataFrame:
    """Whole numbers that may be missing are pandas' own, whether one is missing or not: types do not hang on values."""
    whole = _pandas().Int64Dtype()
    frame = table.to_pandas(integer_object_nulls=True)
    typed: pandas.DataFrame = frame.astype({name: whole for name in _MAY_MISS if name in frame})
    return typed


def _opened(store: str | Path | Store) -> AbstractContextManager[Store]:
    return nullcontext(store) if isinstance(store, Store) else open_store(str(store))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", "store", "a data frame") from error
    return pandas
