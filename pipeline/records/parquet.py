"""Parquet: tables of tracks and of events for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import MissingExtraError
from pipeline.records.rows import StoredEvent

if TYPE_CHECKING:
    import pyarrow

ROW_GROUP = 65_536
"""Rows of a row group of tracks: some 1.5 MB on disk, the same however they came."""
_EVENTS_AT_ONCE = 10_000


def import_pyarrow() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "store", "Parquet") from error
    return pyarrow


def track_schema(class_names: Sequence[str] = ()) -> pyarrow.Schema:
    """Columns of tracks: one row for each object and frame.

    Args:
        class_names: names by class_id, kept in the file's metadata.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = import_pyarrow()
    columns = [
        *(("source", pa.string()), ("frame", pa.int64()), ("pts_s", pa.float64()), ("captured_ns", pa.int64())),
        *(("track_id", pa.int64()), ("class_id", pa.int64()), ("class", pa.string()), ("confidence", pa.float32())),
        *((corner, pa.float32()) for corner in ("x1", "y1", "x2", "y2")),
        ("predicted", pa.bool_()),
    ]
    about = {"tracklight": version("tracklight"), "class_names": json.dumps(list(class_names), ensure_ascii=False)}
    return pa.schema(columns, metadata=about)


def event_schema() -> pyarrow.Schema:
    """Columns of events, named as in the other exports; `values` is JSON, times are UTC.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = import_pyarrow()
    utc = pa.timestamp("us", tz="UTC")
    columns = [
        *((name, pa.string()) for name in ("run", "event_id", "kind", "rule", "source")),
        *(("start_s", pa.float64()), ("end_s", pa.float64()), ("start_utc", utc), ("end_utc", utc)),
        *(("frame", pa.int64()), ("class_id", pa.int64()), ("class", pa.string())),
        ("track_ids", pa.list_(pa.int64())),
        *((corner, pa.float32()) for corner in ("x1", "y1", "x2", "y2")),
        ("predicted", pa.bool_()),
        *((name, pa.string()) for name in ("values", "snapshot", "clip")),
    ]
    return pa.schema(columns, metadata={"tracklight": version("tracklight")})


def event_row(event: StoredEvent) -> dict[str, object]:
    """Columns of an event; None where there is nothing."""
    x1, y1, x2, y2 = event.box or (None,) * 4
    return {
        "run": event.run_id,
        "event_id": event.event_id,
        "kind": str(event.kind),
        "rule": event.rule,
        "source": event.source_id,
        "start_s": event.start_s,
        "end_s": event.end_s,
        "start_utc": event.start_utc,
        "end_utc": event.end_utc,
        "frame": event.frame,
        "class_id": None if event.class_id < 0 else event.class_id,
        "class": event.class_name or None,
        "track_ids": list(event.track_ids),
        **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
        "predicted": event.predicted,
        "values": json.dumps(dict(event.values), ensure_ascii=False),
        "snapshot": event.snapshot or None,
        "clip": event.clip or None,
    }


def write_events_parquet(events: Iterable[StoredEvent], path: Path) -> None:
    """Write events to a file, whole or not at all, in memory that does not grow with them. Makes its folder.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: the system refuses.
    """
    pa, schema = import_pyarrow(), event_schema()

    def batches() -> Iterator[pyarrow.RecordBatch]:
        rows = map(event_row, events)
        while part := list(islice(rows, _EVENTS_AT_ONCE)):
            yield pa.RecordBatch.from_pylist(part, schema=schema)

    write_parquet(batches(), schema, path)


def write_parquet(batches: Iterable[pyarrow.RecordBatch], schema: pyarrow.Schema, path: Path) -> None:
    """Write batches, each as row groups of its own, beside the file's place and move it there.

    Raises:
        OSError: the system refuses; what stood at `path` still does.
    """
    parquet = import_pyarrow().parquet
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with parquet.ParquetWriter(partial, schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def even_batches(batches: Iterable[pyarrow.RecordBatch], rows: int = ROW_GROUP) -> Iterator[pyarrow.RecordBatch]:
    """The same rows in batches of one size; the last one may be smaller."""
    pa = import_pyarrow()
    waiting: list[Any] = []
    n_waiting = 0
    for batch in batches:
        waiting.append(batch)
        n_waiting += batch.num_rows
        while n_waiting >= rows:
            joined = pa.concat_batches(waiting)
            yield joined.slice(0, rows)
            waiting, n_waiting = [joined.slice(rows)], n_waiting - rows
    if n_waiting:
        yield pa.concat_batches(waiting)


def unfinished_batches(path: Path) -> Iterator[pyarrow.RecordBatch]:
    """Whole batches of an Arrow stream whose writer may have been killed.

    Raises:
        OSError: the file cannot be read.
    """
    pa = import_pyarrow()
    with pa.OSFile(str(path)) as file:
        try:
            with pa.ipc.open_stream(file) as stream:
                yield from stream
        except pa.ArrowInvalid:
            # Cut off within a batch, or before the first: what came before it has been given.
            return
        except OSError as error:
            if "Expected to be able to read" not in str(error):
                raise
