"""Tracks that a run wrote, as rows to score: MOT text, or our JSON lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from pipeline.core.errors import DatasetError
from pipeline.evaluation.mot_text import MotRows, read_mot
from pipeline.stream_eval.classes import plain_name

PERSON = "person"


def read_tracks(path: Path) -> MotRows:
    """The tracks of one source, frames counted from 1; of JSON lines the people only.

    Args:
        path: `.jsonl`, or MOT text.

    Raises:
        DatasetError: a file that cannot be read, several sources in it, or objects without track ids.
    """
    return _json_tracks(path) if path.suffix.lower() == ".jsonl" else read_mot(path)


def _json_tracks(path: Path) -> MotRows:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: wanted the JSON lines of a run, found none that can be read ({error})") from error
    rows: list[list[float]] = []
    sources: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
            if "end_s" in record and "frame" not in record:
                continue
            sources.add(str(record["source"]))
            rows += _rows(record)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}:{number}: wanted a frame of a run with a tracker, as -o out.jsonl writes it, found: {error!r}"
            ) from error
    if len(sources) > 1:
        raise DatasetError(f"{path}: wanted the tracks of one source, found {', '.join(sorted(sources))}")
    return MotRows.from_table(np.array(rows, np.float64).reshape(-1, 7))


def _rows(record: dict[str, object]) -> list[list[float]]:
    objects = record["objects"]
    if not isinstance(objects, list):
        raise TypeError("objects that are no list")
    rows = []
    for one in objects:
        if plain_name(str(one["class"])) != PERSON:
            continue
        if one["track_id"] is None:
            raise ValueError("an object without track_id")
        left, top, right, bottom = one["xyxy"]
        frame = int(str(record["frame"])) + 1
        rows.append([frame, one["track_id"], left, top, right - left, bottom - top, one["confidence"]])
    return rows
