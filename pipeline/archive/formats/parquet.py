"""Parquet: one row per object and frame of the whole archive, in a folder per video.

`pandas.read_parquet(folder)` reads all of it; the folders `source=<video>` become the column `source`. The columns are
those of `run -o tracks.parquet`; `captured_ns` is empty, since files have no such time. Boxes are as the tracker gave
them, also beyond the frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.record import AnnotatedVideo
from pipeline.records.parquet import ROW_GROUP, import_pyarrow, track_schema
from pipeline.records.parquet import write_parquet as write_table


def write_parquet(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write `source=<video>/tracks.parquet` for every video.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: the system refused.
    """
    for video in videos:
        schema = track_schema(video.class_names)
        # The folder says it.
        schema = schema.remove(schema.get_field_index("source"))
        place = folder / f"source={quote(video.facts.name, safe='')}"
        write_table(_batches(video, schema), schema, place / "tracks.parquet")


def _batches(video: AnnotatedVideo, schema: Any) -> Iterator[Any]:
    pyarrow = import_pyarrow()
    names = np.array(video.class_names, dtype=object)
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for one in video.frames():
        tracks = one.tracks
        columns["frame"] += [one.frame] * len(tracks)
        columns["pts_s"] += [one.pts_s] * len(tracks)
        columns["captured_ns"] += [None] * len(tracks)
        columns["track_id"] += tracks.track_id.tolist()
        columns["class_id"] += tracks.class_id.tolist()
        columns["class"] += names[tracks.class_id].tolist()
        columns["confidence"] += tracks.confidence.tolist()
        for name, values in zip(("x1", "y1", "x2", "y2"), tracks.xyxy.T.tolist(), strict=True):
            columns[name] += values
        columns["predicted"] += (tracks.detection_row < 0).tolist()
        if len(columns["frame"]) >= ROW_GROUP:
            yield pyarrow.RecordBatch.from_pydict(columns, schema=schema)
            columns = {name: [] for name in schema.names}
    yield pyarrow.RecordBatch.from_pydict(columns, schema=schema)
