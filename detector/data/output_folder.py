"""The folder that a data set is written to: new, or one that this program wrote before."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.whole_file import write_whole_json

MANIFEST = "manifest.json"
_MADE_BY = "tracklight dataset"
_FOLDERS = ("images", "labels", "annotations", "JPEGImages", "Annotations", "ImageSets")


def check_output_folder(folder: Path, *, exist_ok: bool) -> None:
    """Tell before any work what would keep a data set from being written there. Changes nothing.

    Raises:
        UsageError: a file; a folder with something in it without `exist_ok`; one that something else made with it.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: wanted a folder for the data set, found a file; name another")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not exist_ok:
        raise UsageError(
            f"{folder}: wanted a new or empty folder, found one with files; name another, or replace the data set in "
            "it with --exist-ok"
        )
    if not _is_ours(folder):
        raise UsageError(
            f"{folder}: wanted a data set made by this program to replace, found other files; name another folder"
        )


def check_apart(folder: Path, needed: Iterable[Path]) -> None:
    """Tell where replacing the data set in a folder would remove what the new one is made from.

    Args:
        folder: where the new data set goes.
        needed: the files that it is made from.

    Raises:
        UsageError: one of them lies in the folder.
    """
    home = folder.resolve()
    for path in needed:
        if path.resolve().is_relative_to(home):
            raise UsageError(f"{folder}: wanted a folder apart from the data set, found {path} in it; name another")


def clear_output_folder(folder: Path) -> None:
    """Remove the data set that this program wrote to the folder, if there is one; other files stay.

    Raises:
        OSError: the system refused.
    """
    if not _is_ours(folder):
        return
    for name in _FOLDERS:
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    for name in ("data.yaml", MANIFEST):
        (folder / name).unlink(missing_ok=True)


def write_manifest(folder: Path, verb: str, content: Mapping[str, Any]) -> None:
    """Write manifest.json, by which the folder is known as one of ours.

    Raises:
        OSError: the system refused.
    """
    write_whole_json(folder / MANIFEST, {"made_by": f"{_MADE_BY} {verb}", **content})


def _is_ours(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and str(manifest.get("made_by", "")).startswith(_MADE_BY)
