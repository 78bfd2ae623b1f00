"""Tracks as a table: one row per object and frame. The one definition for all Parquet files of tracks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.core.errors import MissingExtraError
from pipeline.core.tracks import Tracks


def track_schema(*, with_source: bool = True) -> Any:
    """The columns, as a pyarrow Schema.

    `source` (its name), `frame` (from 0), `pts_s` (media time, s; null where there is none), `track_id`, `class_id`,
    `class` (its name), `confidence`, `left`, `top`, `right`, `bottom` (px), and `predicted`: the tracker assumed the
    place, no detection was there.

    Args:
        with_source: without, for files whose folder says it.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    fields = [
        pyarrow.field("source", pyarrow.string(), nullable=False),
        pyarrow.field("frame", pyarrow.int64(), nullable=False),
        pyarrow.field("pts_s", pyarrow.float64()),
        pyarrow.field("track_id", pyarrow.int64(), nullable=False),
        pyarrow.field("class_id", pyarrow.int32(), nullable=False),
        pyarrow.field("class", pyarrow.string(), nullable=False),
        pyarrow.field("confidence", pyarrow.float32(), nullable=False),
        *(pyarrow.field(name, pyarrow.float32(), nullable=False) for name in ("left", "top", "right", "bottom")),
        pyarrow.field("predicted", pyarrow.bool_(), nullable=False),
    ]
    return pyarrow.schema(fields if with_source else fields[1:])


class TrackRows:
    """Gathers rows of one source until they are worth writing.

    Args:
        source: its name; None = the column is left out.
        class_names: by class_id.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(self, source: str | None, class_names: tuple[str, ...]) -> None:
        self._source = source
        self._class_names = np.array(class_names, dtype=object)
        self._schema = track_schema(with_source=source is not None)
        self._columns: dict[str, list[Any]] = {name: [] for name in self._schema.names}

    def __len__(self) -> int:
        """Rows that wait."""
        return len(self._columns["frame"])

    def add(self, frame: int, pts_s: float | None, tracks: Tracks) -> None:
        """The objects of a frame."""
        n = len(tracks)
        columns = self._columns
        if self._source is not None:
            columns["source"] += [self._source] * n
        columns["frame"] += [frame] * n
        columns["pts_s"] += [pts_s] * n
        columns["track_id"] += tracks.track_id.tolist()
        columns["class_id"] += tracks.class_id.tolist()
        columns["class"] += self._class_names[tracks.class_id].tolist()
        columns["confidence"] += tracks.confidence.tolist()
        for name, values in zip(("left", "top", "right", "bottom"), tracks.xyxy.T.tolist(), strict=True):
            columns[name] += values
        columns["predicted"] += (tracks.detection_row < 0).tolist()

    def take(self) -> Any:
        """All rows that wait, as a pyarrow Table; none wait afterwards."""
        table = _pyarrow().table(self._columns, schema=self._schema)
        self._columns = {name: [] for name in self._schema.names}
        return table


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError("pyarrow", "store", "Parquet") from None
    return pyarrow
