"""Tracks as a Parquet table, for pandas and databases."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.errors import SinkError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.records.parquet import even_batches, import_pyarrow, track_schema, unfinished_batches, write_parquet
from sinks.objects import class_name, shown_objects
from sinks.output_path import check_output, claim_output, write_failure

UNFINISHED = ".arrows"
"""What the file of an unfinished run ends with, after the name of the table."""
_ROWS_AT_ONCE = 4096
_SECONDS_AT_ONCE = 1.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ParquetConfig:
    """Where the table goes."""

    path: Path = Field(description="file to write (.parquet)")
    exist_ok: bool = Field(default=False, description="overwrite the file if it exists")


class ParquetSink:
    """One row per object of every source; `track_id` is null in a run without a tracker.

    A Parquet file is readable only once it is closed. So rows go to an Arrow stream beside it first, within a second,
    and become the table at the end. A killed run leaves the stream (`tracks.parquet.arrows`), which has all rows but
    those of its last second of frames, and which `pipeline.api_records.tracks_frame` reads as well.

    Args:
        config: the file.
        class_names: names by class_id.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: ParquetConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._pyarrow = import_pyarrow()
        self._schema = track_schema(class_names)
        self._unfinished = config.path.with_name(config.path.name + UNFINISHED)
        self._file: Any = None
        self._stream: Any = None
        self._waiting: list[Any] = []
        self._n_waiting = 0
        self._flushed_at = 0.0

    def open(self, info: StreamInfo) -> None:
        """Create the stream at the first source. Raises SinkError."""
        if self._stream is not None:
            return
        path = self._config.path
        try:
            check_output(path, exist_ok=self._config.exist_ok)
        except UsageError as error:
            raise SinkError(str(error)) from error
        os.close(claim_output(self._unfinished, exist_ok=self._config.exist_ok))
        # Without a buffer in between: a killed process leaves whole batches.
        self._file = self._pyarrow.OSFile(str(self._unfinished), "wb")
        self._stream = self._pyarrow.ipc.new_stream(self._file, self._schema)
        self._flushed_at = time.monotonic()

    def write(self, result: FrameResult) -> None:
        """Take the frame's rows. Raises SinkError."""
        if self._stream is None:
            raise SinkError(f"{self._config.path}: wanted open() before write(), found the sink not open")
        batch = track_batch(result, self._class_names, self._schema)
        if batch.num_rows:
            self._waiting.append(batch)
            self._n_waiting += batch.num_rows
        now = time.monotonic()
        if self._n_waiting >= _ROWS_AT_ONCE or now - self._flushed_at >= _SECONDS_AT_ONCE:
            self._flush()
            self._flushed_at = now

    def close(self) -> None:
        """Make the table of the stream. Idempotent. Raises SinkError."""
        if self._stream is None:
            return
        try:
            self._flush()
            self._stream.close()
            self._file.close()
            write_parquet(even_batches(unfinished_batches(self._unfinished)), self._schema, self._config.path)
            self._unfinished.unlink()
        except OSError as error:
            text = write_failure(self._config.path, error)
            raise SinkError(f"{text}; the rows so far are in {self._unfinished}") from error
        finally:
            self._stream = None

    def _flush(self) -> None:
        waiting, self._waiting, self._n_waiting = self._waiting, [], 0
        if not waiting:
            return
        try:
            self._stream.write_batch(self._pyarrow.concat_batches(waiting))
        except OSError as error:
            raise SinkError(write_failure(self._unfinished, error)) from error


def track_batch(result: FrameResult, class_names: Sequence[str], schema: Any) -> Any:
    """The rows of one frame as a batch of `track_schema`."""
    pa = import_pyarrow()
    frame, shown = result.frame, shown_objects(result)
    n = len(shown)
    columns = [
        pa.repeat(frame.source_id, n),
        pa.repeat(frame.index, n),
        pa.nulls(n, pa.float64()) if frame.pts_s is None else pa.repeat(float(frame.pts_s), n),
        pa.repeat(frame.captured_ns, n),
        pa.nulls(n, pa.int64()) if shown.track_id is None else pa.array(shown.track_id),
        pa.array(shown.class_id),
        pa.array([class_name(class_names, class_id) for class_id in shown.class_id.tolist()], pa.string()),
        pa.array(shown.confidence),
        *(pa.array(corner) for corner in shown.xyxy.T),
        pa.array(shown.predicted),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
