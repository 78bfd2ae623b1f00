"""Brings the images of a data set into one folder, below images/<split>/."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from detector.data.training_set import TrainingSet
from pipeline.core.errors import DatasetError, UsageError

Mode = Literal["link", "copy"]


def placed_names(by_split: Mapping[str, TrainingSet]) -> dict[str, list[str]]:
    """A file name for every image, in the order of each split.

    Names are those of the files; where two differ in nothing but their folder, suffix or case, the later gets `-2`,
    since both would share a label file, or a place once the splits are mixed again.
    """
    taken: set[str] = set()
    names: dict[str, list[str]] = {}
    for split, training_set in by_split.items():
        names[split] = [_free_name(image.path, taken) for image in training_set.images]
    return names


def place_images(by_split: Mapping[str, TrainingSet], folder: Path, *, mode: Mode = "link") -> dict[str, list[str]]:
    """Link or copy every image to `folder/images/<split>/<name>`.

    Args:
        by_split: the data sets; `placed_names` names their images.
        folder: where the new data set is made.
        mode: `link` = hard links, which take no space and are as good as copies (and copies where the file system has
            no links); `copy` = files of their own.

    Returns:
        the names, by split.

    Raises:
        UsageError: an unknown mode, or a split whose name cannot be that of a folder.
        DatasetError: an image cannot be had, or the disk refuses.
    """
    if mode not in ("link", "copy"):
        raise UsageError(f"mode: wanted 'link' or 'copy', found {mode!r}")
    names = placed_names(by_split)
    for split, training_set in by_split.items():
        if not split or Path(split).name != split:
            raise UsageError(f"split: wanted a plain name such as train, found {split!r}")
        target = folder / "images" / split
        try:
            target.mkdir(parents=True, exist_ok=True)
            for image, name in zip(training_set.images, names[split], strict=True):
                place_image(image.path, target / name, mode)
        except OSError as error:
            raise DatasetError(
                f"{error.filename or target}: wanted to bring it to {target}, found: {error.strerror or error}"
            ) from error
    return names


def _free_name(path: Path, taken: set[str]) -> str:
    stem, count = path.stem, 1
    while stem.casefold() in taken:
        count += 1
        stem = f"{path.stem}-{count}"
    taken.add(stem.casefold())
    return f"{stem}{path.suffix}"


def place_image(image: Path, target: Path, mode: Mode) -> None:
    """Link or copy one image to a file of its own.

    Raises:
        OSError: the system refused.
    """
    if target.exists():
        if target.samefile(image):
            return
        target.unlink()
    if mode == "link":
        try:
            os.link(image.resolve(), target)
        except FileNotFoundError:
            raise
        except OSError:
            # Another disk, or a file system without hard links: the bytes are the same either way.
            shutil.copyfile(image, target)
    else:
        shutil.copyfile(image, target)
