"""What a data.yaml says: names, and for each split where its images and labels are.

    path: ../pictures         # root of all below, relative to this file; may be left out
    names: [car, bus]         # or {0: car, 1: bus}; may be left out for COCO and VOC files, which name their classes
    nc: 2                     # may be left out
    train: images/train       # a folder, a .txt list of images, a COCO .json, or a list of these
    val: images/val
    format: yolo              # or coco, voc; may be left out where the entries tell: .json is coco, all else yolo
    images: folder            # where listed images are, if not beside their list (COCO: beside or near the .json)
    labels: folder            # where label files are, if not in labels/ in place of images/ (VOC: Annotations/)

An entry of a split may also be a mapping, which has its own folders: `{file: b.json, images: more/pictures}`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from detector.data.nearest_path import nearest_path
from pipeline.core.errors import DatasetError

Format = Literal["yolo", "coco", "voc"]
SPLITS = ("train", "val", "test")
_KEYS = ("path", "names", "nc", *SPLITS, "format", "images", "labels")
_FORMATS: tuple[Format, ...] = ("yolo", "coco", "voc")


@dataclass(frozen=True, slots=True)
class Entry:
    """One source of images: a folder, a list or a COCO file. All paths are absolute.

    Attributes:
        file: the folder, list or file; it exists.
        images: folder of the images, where it is named.
        labels: folder of the label files, where it is named.
    """

    file: Path
    images: Path | None = None
    labels: Path | None = None


@dataclass(frozen=True, slots=True)
class DataYaml:
    """One split of a data.yaml.

    Attributes:
        path: the file.
        root: folder that its paths are relative to, absolute.
        format: of the labels.
        class_names: by class_id; None where the label files name the classes.
        entries: at least one.
        unused_keys: keys that mean nothing here.
    """

    path: Path
    root: Path
    format: Format
    class_names: tuple[str, ...] | None
    entries: tuple[Entry, ...]
    unused_keys: tuple[str, ...]


def read_data_yaml(path: Path, split: str) -> DataYaml:
    """Read one split of a data.yaml.

    Raises:
        DatasetError: not such a file, a misspelt key, no such split, a path that is not there, or `nc` and `names`
            disagree.
    """
    document = _load(path)
    unused = _unused_keys(document, path)
    root = _root(document, path)
    value = document.get(split)
    if not value:
        there = ", ".join(key for key in SPLITS if document.get(key)) or "none"
        raise DatasetError(f"{path}: wanted the split {split!r}, found: {there}; name one of these, or add it")
    shared = {key: _folder(document[key], key, root, path) for key in ("images", "labels") if document.get(key)}
    entries = tuple(_entry(item, split, root, shared, path) for item in (value if isinstance(value, list) else [value]))
    found = _format(document.get("format"), entries, path, split)
    if found == "yolo" or "names" in document:
        names = _names(document, path)
    elif "nc" in document:
        raise DatasetError(f"{path}: wanted `names` beside `nc: {document['nc']}`, found none; name the classes")
    else:
        names = None
    return DataYaml(path, root, found, names, entries, unused)


def yaml_splits(path: Path) -> tuple[str, ...]:
    """The splits that a data.yaml has.

    Raises:
        DatasetError: not such a file, or it has none.
    """
    document = _load(path)
    splits = tuple(split for split in SPLITS if document.get(split))
    if not splits:
        raise DatasetError(f"{path}: wanted a split ({', '.join(SPLITS)}), found: {', '.join(map(str, document))}")
    return splits


def _load(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{path}: wanted a data.yaml; {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: wanted YAML, found something else ({str(error).splitlines()[0]})") from error
    if not isinstance(document, dict):
        raise DatasetError(f"{path}: wanted a mapping with `names` and `val`, found {type(document).__name__}")
    return document


def _names(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    """The class names by number."""
    names = document.get("names")
    if isinstance(names, dict):
        if set(names) != set(range(len(names))):
            raise DatasetError(f"{path}: names: wanted the numbers 0 to {len(names) - 1}, found {list(names)}")
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{path}: wanted `names`, the list of class names, found {names!r}")
    count = document.get("nc", len(names))
    if count != len(names):
        raise DatasetError(f"{path}: nc is {count}, but there are {len(names)} names")
    texts = tuple(str(name) for name in names)
    twice = [name for number, name in enumerate(texts) if name in texts[:number]]
    if twice:
        raise DatasetError(f"{path}: names: wanted a different name for every class, found {twice[0]!r} more than once")
    return texts


def _unused_keys(document: dict[str, Any], path: Path) -> tuple[str, ...]:
    unused = tuple(str(key) for key in document if key not in _KEYS)
    for key in unused:
        missing = [known for known in _KEYS if known not in document]
        close = difflib.get_close_matches(key.lower(), missing, n=1, cutoff=0.75)
        if close:
            raise DatasetError(f"{path}: wanted known keys, found {key!r}; did you mean {close[0]!r}?")
    return unused


def _root(document: dict[str, Any], path: Path) -> Path:
    given = str(document.get("path") or "")
    return _existing(given, "path", path.absolute().parent, path)


def _entry(item: Any, split: str, root: Path, shared: dict[str, Path], path: Path) -> Entry:
    folders: dict[str, Path] = dict(shared)
    if isinstance(item, dict):
        strange = [str(key) for key in item if key not in ("file", "images", "labels")]
        if strange or not item.get("file"):
            raise DatasetError(
                f"{path}: {split}: wanted {{file, images, labels}}, found {{{', '.join(map(str, item))}}}"
            )
        folders |= {
            key: _folder(item[key], f"{split}: {key}", root, path) for key in ("images", "labels") if key in item
        }
        item = item["file"]
    if not isinstance(item, str):
        raise DatasetError(f"{path}: {split}: wanted a path, found {item!r}; write it as text")
    return Entry(_existing(item, split, root, path), folders.get("images"), folders.get("labels"))


def _folder(value: Any, key: str, root: Path, path: Path) -> Path:
    folder = _existing(str(value), key, root, path)
    if not folder.is_dir():
        raise DatasetError(f"{path}: {key}: wanted a folder, found the file {folder}; name the folder it is in")
    return folder


def _existing(text: str, key: str, root: Path, path: Path) -> Path:
    place = root / Path(text).expanduser()
    if not place.exists():
        inner = text.removeprefix("../")
        hint = f"; did you mean {inner!r}?" if (root / inner).exists() else nearest_path(place)
        raise DatasetError(f"{path}: {key}: wanted {text!r}, found nothing at {place}{hint}")
    return place.resolve()


def _format(given: Any, entries: tuple[Entry, ...], path: Path, split: str) -> Format:
    if given is not None:
        for known in _FORMATS:
            if given == known:
                return known
        raise DatasetError(f"{path}: format: wanted yolo, coco or voc, found {given!r}")
    json_files = [entry.file.suffix.lower() == ".json" for entry in entries]
    if any(json_files) and not all(json_files):
        raise DatasetError(f"{path}: {split}: wanted COCO .json files only or none, found both; convert one kind")
    return "coco" if all(json_files) else "yolo"
