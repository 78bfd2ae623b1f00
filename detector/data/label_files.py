"""Label files on the whole: none at all, some that no image answers to, folders that hold two kinds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from detector.data.image_list import IMAGE_SUFFIXES
from detector.data.raw_labels import ListedImage
from detector.data.report import Kind, Problem

_OTHER = {".txt": ".xml", ".xml": ".txt"}
_NO_LABELS = "classes.txt"
"""Annotation programs write the names of the classes beside the labels."""


def label_file_problems(images: Iterable[ListedImage], suffix: str) -> list[Problem]:
    """Label files that are missing altogether, or belong to no image on disk, and folders with a second format.

    Args:
        images: what a split lists.
        suffix: of the label files that are read, `.txt` or `.xml`.
    """
    listed = list(images)
    if listed and not any(image.labels.is_file() for image in listed):
        first = listed[0].labels
        return [Problem(Kind.NO_LABELS, first.parent, f"wanted {first.name} and others, found none")]
    image_folders: dict[Path, set[Path]] = defaultdict(set)
    known: set[Path] = set()
    for image in listed:
        image_folders[image.labels.parent].add(image.path.parent)
        known |= {image.labels, image.listed_in}
    problems: list[Problem] = []
    for folder, beside in image_folders.items():
        if not folder.is_dir():
            continue
        files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        stems = {file.stem for place in beside for file in _files(place) if file.suffix.lower() in IMAGE_SUFFIXES}
        left = [file for file in files if file.suffix == suffix and file not in known and file.name != _NO_LABELS]
        lost = [file for file in left if file.stem not in stems]
        problems += [Problem(Kind.ORPHAN_LABELS, file, "wanted an image of this name, found none") for file in lost]
        others = sum(1 for file in files if file.suffix == _OTHER[suffix] and file not in known)
        if others and any(file.suffix == suffix for file in files):
            text = f"{others} {_OTHER[suffix]} files lie beside the {suffix} files; only {suffix} is read"
            problems.append(Problem(Kind.MIXED_FORMATS, folder, text))
    return problems


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
