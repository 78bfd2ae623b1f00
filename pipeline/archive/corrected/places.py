"""Finds the videos and pictures that labels are of."""

from __future__ import annotations

from pathlib import Path

from pipeline.archive.corrected.frame_names import lies_beside
from pipeline.archive.corrected.labels import PictureLabels, VideoLabels
from pipeline.core.errors import DatasetError


def find_video(labels: VideoLabels, folder: Path | None) -> Path:
    """The video: at one of its names below the folder, or the only file below it that is called like it.

    Raises:
        DatasetError: no folder, no such video, or several.
    """
    if folder is None:
        raise DatasetError(
            f"{labels.file}: wanted the video {labels.names[0]!r}; say with --videos in which folder it is"
        )
    for name in labels.names:
        if (folder / name).is_file():
            return folder / name
    for name in labels.names:
        called = Path(name).name
        found = sorted(path for path in folder.rglob("*") if path.name == called and path.is_file())
        if len(found) > 1:
            listed = ", ".join(path.relative_to(folder).as_posix() for path in found[:5])
            raise DatasetError(
                f"{labels.file}: wanted one video {called!r} in {folder}, found {listed}; name its folder"
            )
        if found:
            return found[0]
    names = " or ".join(repr(name) for name in labels.names)
    raise DatasetError(f"{labels.file}: wanted its video, {names}, in {folder} (--videos), found none")


def find_picture(labels: PictureLabels, folder: Path | None) -> Path:
    """The picture: at one of its names below the folder, or below those around its annotations.

    Raises:
        DatasetError: none there.
    """
    if folder is None:
        beside = lies_beside(labels.file, labels.names)
        if beside is not None:
            return beside
    else:
        for name in labels.names:
            if (folder / name).is_file():
                return folder / name
    where = folder or f"{labels.file.parent} and the folders around it"
    raise DatasetError(
        f"{labels.file}: wanted the picture {labels.names[0]!r} in {where}, found none; say where pictures "
        "are with --images"
    )
