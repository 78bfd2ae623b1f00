"""The record of one annotated video: what was read, with which settings, and what came of it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.layout import DONE
from pipeline.core.errors import DatasetError
from pipeline.core.whole_file import write_whole

FORMAT = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """What done.json holds.

    Attributes:
        name: the video's path below the archive's root, with `/`.
        work: unique id of the work that made these results.
        size: of the video's file, bytes.
        mtime_ns: of the video's file.
        settings: digest of all settings that the results depend on.
        class_names: by class_id.
        width_px: of the frames, after rotation.
        height_px: of the frames, after rotation.
        fps: mean frame rate, from the media times of the first and the last frame.
        n_frames: frames that were decoded.
        n_tracks: different ids.
        n_boxes: of all frames.
        n_events: told by the rules, lasting ones once.
        notes: what a person should know of it: damaged frames, an end that is missing.
        seconds: that the work took.
        finished: wall time of its end, ISO 8601, UTC.
    """

    name: str
    work: str
    size: int
    mtime_ns: int
    settings: str
    class_names: tuple[str, ...]
    width_px: int
    height_px: int
    fps: float
    n_frames: int
    n_tracks: int
    n_boxes: int
    n_events: int
    notes: tuple[str, ...]
    seconds: float
    finished: str


def write_done(folder: Path, done: Done) -> None:
    """Declare the results in a folder whole; from then on not even a loss of power takes them.

    Raises:
        OSError: the system refused.
    """
    for file in folder.iterdir():
        _to_disk(file)
    write_whole(folder / DONE, json.dumps({"format": FORMAT, **asdict(done)}, indent=1) + "\n", durable=True)
    _to_disk(folder)


def read_done(folder: Path) -> Done | None:
    """What the results in a folder are, or None where there are no whole ones.

    Raises:
        DatasetError: a done.json that this program did not write, or a newer version of it did.
    """
    path = folder / DONE
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("format") != FORMAT:
            raise DatasetError(f"{path}: wanted format {FORMAT}, found another; it is of another version of Tracklight")
        return Done(
            **{**values, "class_names": tuple(values["class_names"]), "notes": tuple(values["notes"])},
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DatasetError):
            raise
        raise DatasetError(
            f"{path}: wanted the record of an annotated video, found something else ({error}); "
            "remove its folder to have it annotated again"
        ) from error


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
