"""Parquet: one row per object and frame of the whole archive, in a folder per video.

`pandas.read_parquet(folder)` reads all of it; the folders `source=<video>` become the column `source`. The other
columns are those of `pipeline/records/track_rows.py`. Boxes are as the tracker gave them, also beyond the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.record import AnnotatedVideo
from pipeline.records.track_rows import TrackRows, track_schema

_ROWS = 50_000
"""In one row group."""


def write_parquet(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write `source=<video>/tracks.parquet` for every video.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: the system refused.
    """
    schema = track_schema(with_source=False)
    from pyarrow.parquet import ParquetWriter

    for video in videos:
        place = folder / f"source={quote(video.facts.name, safe='')}"
        place.mkdir()
        rows = TrackRows(None, video.class_names)
        with ParquetWriter(place / "tracks.parquet", schema, compression="zstd") as writer:
            for one in video.frames():
                rows.add(one.frame, one.pts_s, one.tracks)
                if len(rows) >= _ROWS:
                    writer.write_table(rows.take())
            writer.write_table(rows.take())
