"""Records that could not be written: kept in a file of JSON lines until `events import` reads it back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.records.address import StoreAddress
from pipeline.records.schema import Record


def keep_unsaved(address: StoreAddress, run_id: str, records: Sequence[Record]) -> Path:
    """Add records to the run's file beside the store, or in the folder for temporary files where that fails.

    Returns:
        The file.

    Raises:
        OSError: neither place takes it.
    """
    beside = address.beside(f".unsaved-{run_id}.jsonl")
    # In ASCII: a text that no encoding takes may be why a record could not be written.
    text = "".join(json.dumps(record.to_json()) + "\n" for record in records)
    try:
        return _append(beside, text)
    except OSError:
        return _append(Path(tempfile.gettempdir()) / beside.name, text)


def _append(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_size if path.exists() else 0
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        with path.open("r+b") as file:
            file.truncate(before)
        raise
    return path.resolve()


def read_unsaved(path: Path) -> Iterator[Record]:
    """The records of a file that `keep_unsaved` made.

    Raises:
        UsageError: no such file, or a line that is none of its records.
    """
    try:
        lines = path.open(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: wanted a file of unsaved records, found: {error.strerror or error}") from error
    with lines:
        n_read = 0
        try:
            for line in lines:
                yield Record.from_json(json.loads(line))
                n_read += 1
        except (ValueError, AttributeError) as error:
            raise UsageError(
                f"{path}, line {n_read + 1}: wanted a record that a run could not save, found: {error}"
            ) from error
