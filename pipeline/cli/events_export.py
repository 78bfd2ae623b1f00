"""Verb `events export`: events in a file that other programs read."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from pipeline.cli.event_options import add_filter_options, add_store_option, check_names, event_filter, store_address
from pipeline.core.errors import SinkError, TracklightError, UsageError
from pipeline.records.rows import StoredEvent
from pipeline.records.store import open_store
from sinks.output_path import check_output, write_failure

_COLUMNS = (
    *("run", "event_id", "kind", "rule", "source", "start_s", "end_s", "start_utc", "end_utc", "frame", "class_id"),
    *("class", "track_ids", "x1", "y1", "x2", "y2", "predicted", "values", "snapshot", "clip"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `events export`."""
    parser.add_argument("output", metavar="FILE", help="file to write: .csv, .jsonl or .parquet")
    add_store_option(parser)
    add_filter_options(parser)
    parser.add_argument("--exist-ok", action="store_true", help="overwrite the file if it exists")


def run(args: argparse.Namespace) -> int:
    """Write the file."""
    path = Path(args.output)
    writers = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    write = writers.get(path.suffix.lower())
    if write is None:
        raise UsageError(f"{path}: wanted {', '.join(writers)}, found the suffix {path.suffix!r}")
    check_output(path, exist_ok=args.exist_ok)
    wanted = event_filter(args)
    with open_store(store_address(args.store)) as store:
        check_names(store, wanted)
        counted = _Counted(store.events(wanted))
        try:
            write(counted, path)
        except TracklightError:
            raise
        except OSError as error:
            raise SinkError(write_failure(path, error)) from error
    print(f"wrote {counted.n} event{'' if counted.n == 1 else 's'} to {path}")
    return 0


class _Counted:
    """Passes events on and counts them."""

    def __init__(self, events: Iterable[StoredEvent]) -> None:
        self.n = 0
        self._events = events

    def __iter__(self) -> Iterator[StoredEvent]:
        for event in self._events:
            self.n += 1
            yield event


def _whole(path: Path, fill: Callable[[TextIO], None]) -> None:
    """Write beside the place and move it there, a row at a time: a store may be larger than the memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            fill(file)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write_jsonl(events: Iterable[StoredEvent], path: Path) -> None:
    def fill(file: TextIO) -> None:
        for event in events:
            file.write(json.dumps(event.to_json(), ensure_ascii=False, separators=(",", ":")) + "\n")

    _whole(path, fill)


def _write_csv(events: Iterable[StoredEvent], path: Path) -> None:
    def fill(file: TextIO) -> None:
        table = csv.DictWriter(file, _COLUMNS)
        table.writeheader()
        table.writerows(map(_flat, events))

    _whole(path, fill)


def _flat(event: StoredEvent) -> dict[str, object]:
    """Lists of ids with spaces between, the box in four columns, what belongs to the kind as JSON."""
    row = event.to_json()
    corners = dict(zip(("x1", "y1", "x2", "y2"), event.box or ("",) * 4, strict=True))
    ids = " ".join(map(str, event.track_ids))
    values = json.dumps(row["values"], ensure_ascii=False) if event.values else ""
    plain = {**row, **corners, "track_ids": ids, "predicted": int(event.predicted), "values": values}
    return {column: plain[column] for column in _COLUMNS}


def _write_parquet(events: Iterable[StoredEvent], path: Path) -> None:
    from pipeline.records.parquet import write_events_parquet

    write_events_parquet(events, path)
