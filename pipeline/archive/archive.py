"""Reads what `annotate` wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.archive.done import Done, read_done
from pipeline.archive.layout import DONE, SETTINGS, TRACKS, VIDEOS, video_folder
from pipeline.archive.record import FrameTracks, VideoFacts
from pipeline.core.errors import DatasetError, UsageError
from pipeline.core.tracks import Tracks
from sources.natural import natural_key


class RecordedVideo:
    """One annotated video on disk. Implements `AnnotatedVideo`.

    Args:
        folder: with its results.
        done: what they are.
        root: the archive's root; the video lies below it at its name.
    """

    def __init__(self, folder: Path, done: Done, root: Path) -> None:
        self.folder = folder
        self.done = done
        self._root = root

    @property
    def facts(self) -> VideoFacts:
        """What is known of the video. Its file may be gone meanwhile."""
        done = self.done
        return VideoFacts(done.name, self._root / done.name, done.width_px, done.height_px, done.fps, done.n_frames)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""
        return self.done.class_names

    def frames(self) -> Iterator[FrameTracks]:
        """Every frame in order, one line of the file in memory at a time.

        `detection_row` is the row in the file, or -1 where the tracker only assumed the place.

        Raises:
            DatasetError: the file is gone, or holds something else.
        """
        path = self.folder / TRACKS
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    record = _record(line, path, number)
                    # The last line of a source with rules is of no frame.
                    if "frame" in record:
                        yield _frame_tracks(record, path, number)
        except FileNotFoundError:
            raise DatasetError(
                f"{path}: wanted the tracks of {self.done.name}, found no file; annotate it again"
            ) from None


def read_archive(out: Path) -> list[RecordedVideo]:
    """All annotated videos of a folder, in natural order of their names. What is half done is left out.

    Args:
        out: what was given to `annotate -o`.

    Raises:
        UsageError: no such folder, or not one of `annotate`.
        DatasetError: a record in it cannot be read.
    """
    root = Path(read_settings(out)["root"])
    return [RecordedVideo(video_folder(out, done.name), done, root) for done in all_done(out)]


def all_done(out: Path) -> list[Done]:
    """The records of all videos that are done, in natural order of their names.

    Raises:
        DatasetError: a record cannot be read.
    """
    folders = sorted((path.parent for path in (out / VIDEOS).rglob(DONE)), key=natural_key)
    return [done for folder in folders if (done := read_done(folder)) is not None]


def read_settings(out: Path) -> dict[str, Any]:
    """`root` and `settings` of an archive, from its archive.json.

    Raises:
        UsageError: no such folder, or not one of `annotate`.
    """
    path = out / SETTINGS
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["root"], str) or not isinstance(found["settings"], dict):
            raise TypeError("it has no root or no settings")
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{out}: wanted a folder that `annotate` wrote, found no {SETTINGS} in it") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: wanted the settings of an archive, found something else: {error}") from error
    settings: dict[str, Any] = found
    return settings


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise DatasetError(f"{path}, line {number}: wanted one JSON object, found {error}") from None
    return record


def _frame_tracks(record: dict[str, Any], path: Path, number: int) -> FrameTracks:
    try:
        objects = record["objects"]
        rows = [-1 if one.get("predicted") else row for row, one in enumerate(objects)]
        tracks = Tracks(
            np.array([one["xyxy"] for one in objects], np.float32).reshape(-1, 4),
            np.array([one["confidence"] for one in objects], np.float32),
            np.array([one["class_id"] for one in objects], np.int64),
            np.array([one["track_id"] for one in objects], np.int64),
            np.array(rows, np.int64),
        )
        return FrameTracks(int(record["frame"]), record["pts_s"], tracks)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}, line {number}: wanted a frame with its objects, found {error!r}") from None
