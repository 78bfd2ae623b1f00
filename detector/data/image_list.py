"""The images that a folder or a text file names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from detector.data.data_yaml import Entry
from pipeline.core.errors import DatasetError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class NamedImage:
    """An image that an entry names.

    Attributes:
        path: the file, absolute; it need not exist.
        under: the path below the entry's folder of images, by which a label file is found.
        line: of the list, where there is one.
    """

    path: Path
    under: Path
    line: int | None = None


def named_images(entry: Entry, root: Path) -> list[NamedImage]:
    """The images of an entry: a folder's, all levels down and sorted, or those of a list in its order.

    A line of a list is a path, absolute or relative to the `images` folder; if none is named, to the list's own folder
    or to `root`, whichever holds the first image. Its suffix may be left out.

    Args:
        entry: from a data.yaml.
        root: folder that the data.yaml's paths are relative to.

    Raises:
        DatasetError: neither a folder nor a text file, or it names no image.
    """
    if entry.file.is_dir():
        images = list(_in_folder(entry.file))
    elif entry.file.suffix.lower() == ".txt":
        images = list(_in_list(entry, root))
    else:
        raise DatasetError(
            f"{entry.file}: wanted a folder of images, a .txt list of them or a COCO .json, "
            f"found a {entry.file.suffix or 'suffixless'} file; name one of those"
        )
    if not images:
        raise DatasetError(f"{entry.file}: wanted images, found none; check the path")
    return images


def _in_folder(folder: Path) -> Iterator[NamedImage]:
    for file in sorted(folder.rglob("*")):
        # ._x.jpg is no picture: macOS leaves such files in archives.
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith("."):
            yield NamedImage(file, file.relative_to(folder))


def _in_list(entry: Entry, root: Path) -> Iterator[NamedImage]:
    try:
        lines = entry.file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(
            f"{entry.file}: wanted a list of images, found no text that can be read ({error})"
        ) from error
    names = [(number, Path(line.strip())) for number, line in enumerate(lines, start=1) if line.strip()]
    if not names:
        return
    stems: dict[Path, dict[str, str]] = {}
    base = entry.images or _base(entry.file.parent, root, names[0][1], stems)
    for number, name in names:
        path = _with_suffix(base / name, stems)
        under = path.relative_to(base) if path.is_relative_to(base) else Path(path.name)
        yield NamedImage(path, under, number)


def _base(beside: Path, root: Path, first: Path, stems: dict[Path, dict[str, str]]) -> Path:
    found_beside = _with_suffix(beside / first, stems).is_file()
    return root if not found_beside and _with_suffix(root / first, stems).is_file() else beside


def _with_suffix(path: Path, stems: dict[Path, dict[str, str]]) -> Path:
    """The path with the suffix of the image on disk, where a list leaves it out as VOC's do."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return path
    if path.parent not in stems:
        files = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        stems[path.parent] = {file.stem: file.name for file in files if file.suffix.lower() in IMAGE_SUFFIXES}
    return path.parent / stems[path.parent].get(path.name, path.name)
