"""One entry for all formats: choose what is written, write it beside its place, and move it there whole."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.select import SelectedVideo, Selection
from pipeline.archive.record import AnnotatedVideo, VideoFacts
from pipeline.core.errors import DatasetError, SinkError, TracklightError, UsageError
from pipeline.core.whole_file import write_whole_json

RECORD = "_tracklight.json"
"""Written last. Readers of Parquet folders pass over names that begin with an underscore."""


@dataclass(frozen=True, slots=True)
class Format:
    """How a format is written.

    Attributes:
        place: module and function, `module:function`; called with the videos, an empty folder and the options.
        clipped: whether its boxes end at the frame's edge.
        marks_predicted: whether it can say that a box was only assumed.
    """

    place: str
    clipped: bool = True
    marks_predicted: bool = True


FORMATS = {
    "cvat": Format("pipeline.archive.formats.cvat:write_cvat"),
    "mot": Format("pipeline.archive.formats.mot:write_mot", clipped=False),
    "coco": Format("pipeline.archive.formats.coco:write_coco"),
    "yolo": Format("pipeline.archive.formats.yolo:write_yolo", marks_predicted=False),
    "datumaro": Format("pipeline.archive.formats.datumaro:write_datumaro"),
    "fiftyone": Format("pipeline.archive.formats.fiftyone:write_fiftyone"),
    "parquet": Format("pipeline.archive.formats.parquet:write_parquet", clipped=False),
}


def write_format(
    name: str, videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions | None = None
) -> None:
    """Write annotated videos in another format. Memory does not grow with their length.

    What stands in the folder afterwards is whole: it is written beside it and then moved. The same videos and options
    give the same bytes. A folder that this function wrote before is replaced, unless somebody has worked in it since.

    Args:
        name: one of `FORMATS`.
        videos: all of the same classes.
        folder: where; new, empty, or written by this function.
        options: which boxes, and how.

    Raises:
        UsageError: an unknown format, no video, or a folder with other files, or with changed ones.
        ConfigError: a class that the videos have not.
        DatasetError: videos whose classes differ, or whose tracks cannot be read.
        SourceError: pictures are wanted, and a video is gone.
        MissingExtraError: a package that the format needs is not installed.
        SinkError: the disk refuses.
    """
    if name not in FORMATS:
        raise UsageError(f"format: wanted one of {', '.join(FORMATS)}, found {name!r}")
    options = options or FormatOptions()
    form = FORMATS[name]
    _check_classes(videos)
    _check_folder(folder)
    selection = Selection.of(options, predicted=form.marks_predicted, clipped=form.clipped)
    selected = [SelectedVideo(video, selection) for video in videos]
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _writer(form)(selected, part, options)
        record = {
            "made_by": "tracklight annotate",
            "format": name,
            "options": asdict(options),
            "videos": [_facts_record(video.facts) for video in selected],
        }
        write_whole_json(part / RECORD, record)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        if isinstance(error, TracklightError):
            raise
        raise SinkError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _writer(form: Format) -> Any:
    module, function = form.place.split(":")
    return getattr(importlib.import_module(module), function)


def _check_classes(videos: Sequence[AnnotatedVideo]) -> None:
    if not videos:
        raise UsageError("formats: wanted annotated videos, found none")
    first, *others = videos
    for video in others:
        if video.class_names != first.class_names:
            raise DatasetError(
                f"{video.facts.name}: wanted the classes of {first.facts.name}, found others; annotate them with the "
                "same weights"
            )


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: wanted a folder to write to, found a file; name another")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    record = folder / RECORD
    try:
        ours = json.loads(record.read_text(encoding="utf-8"))["made_by"] == "tracklight annotate"
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise UsageError(f"{folder}: wanted a new folder, found one with other files; name another")
    written = record.stat().st_mtime_ns
    for path in sorted(folder.rglob("*")):
        # Links lead to the videos, which are not ours.
        if path.is_file() and not path.is_symlink() and path.stat().st_mtime_ns > written:
            raise UsageError(
                f"{folder}: wanted it as it was written, found {path.relative_to(folder)} changed since; "
                "move the folder away to keep that work"
            )


def _facts_record(facts: VideoFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "width": facts.width_px,
        "height": facts.height_px,
        "fps": facts.fps,
        "frames": facts.n_frames,
    }
