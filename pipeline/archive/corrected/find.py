"""Recognises what kind of annotations lie somewhere, and reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.archive.corrected.checks import read_json
from pipeline.archive.corrected.coco_json import is_coco, read_coco
from pipeline.archive.corrected.cvat_xml import read_cvat
from pipeline.archive.corrected.datumaro_json import is_datumaro, read_datumaro
from pipeline.archive.corrected.fiftyone_json import is_fiftyone, read_fiftyone
from pipeline.archive.corrected.labels import Annotations, Reader
from pipeline.archive.corrected.mot_text import read_mot_sequence
from pipeline.core.errors import DatasetError
from sources.natural import natural_key

READERS: Mapping[str, Reader] = {
    "cvat": read_cvat,
    "mot": read_mot_sequence,
    "fiftyone": read_fiftyone,
    "datumaro": read_datumaro,
    "coco": read_coco,
}
_JSON: Mapping[str, Callable[[Any], bool]] = {"fiftyone": is_fiftyone, "datumaro": is_datumaro, "coco": is_coco}
_KNOWN = "an .xml of CVAT, gt/gt.txt of MOT, or a .json of COCO, Datumaro or FiftyOne"


def read_annotations(source: Path) -> Annotations:
    """Read a file, or all files of one format in a folder and below.

    Raises:
        DatasetError: nothing there, nothing known, files of several formats, or a file that cannot be read.
    """
    if not source.exists():
        raise DatasetError(f"{source}: wanted annotations, found no such file; check the path")
    root = source if source.is_dir() else _root_of(source)
    files = _files(source)
    if not files:
        hint = "; unpack it first" if source.suffix.lower() == ".zip" else ""
        raise DatasetError(f"{source}: wanted {_KNOWN}; found none{hint}")
    formats = sorted(set(files.values()))
    if len(formats) > 1:
        raise DatasetError(f"{source}: wanted annotations of one format, found {', '.join(formats)}; name one of them")
    found = Annotations(formats[0])
    for path in sorted(files, key=natural_key):
        READERS[found.format](path, root, found)
    return found


def _root_of(file: Path) -> Path:
    """The folder that a sequence lies in; of any other file, its own."""
    return file.parent.parent if file.parent.name == "gt" else file.parent


def _files(source: Path) -> dict[Path, str]:
    if source.is_file():
        form = _format_of(source)
        return {source: form} if form else {}
    manifest = source / "manifest.json"
    # Its label files are JSON too, and are read through it.
    if manifest.is_file() and _format_of(manifest) == "fiftyone":
        return {manifest: "fiftyone"}
    candidates = [path for path in source.rglob("*") if path.is_file() and not path.name.startswith(("_", "."))]
    return {path: form for path in candidates if (form := _format_of(path))}


def _format_of(path: Path) -> str | None:
    match path.suffix.lower():
        case ".xml":
            return "cvat"
        case ".txt":
            return "mot" if (path.parent.name, path.name) == ("gt", "gt.txt") else None
        case ".json":
            document = read_json(path)
            return next((form for form, is_it in _JSON.items() if is_it(document)), None)
    return None
