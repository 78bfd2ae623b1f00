"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_SUFFIX = ".part"
_KEPT_OF_NAME = 60
"""Characters: a name may have 255 bytes, and one character up to four."""


def write_whole(path: Path, content: bytes | memoryview | str, *, durable: bool = False) -> None:
    """Write a file beside its place and move it there, so that nobody ever reads half of it. Makes its folder.

    Whoever is killed meanwhile leaves a hidden file, which the next write of the same file replaces. Two at a time must
    not write the same file.

    Args:
        path: the file to make or replace.
        content: all of it; texts as UTF-8.
        durable: return only when it is on the disk, so that not even a loss of power takes it.

    Raises:
        OSError: the system refused; what stood at `path` still does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[-_KEPT_OF_NAME:]}{_SUFFIX}")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole_json(path: Path, document: Mapping[str, Any]) -> None:
    """The same for a JSON document; one record a line where it holds lists of records, so that it can be looked at."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    write_whole(path, "{\n" + ",\n".join(parts) + "\n}\n")


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed `write_whole` left in a folder and below. Nobody may be writing there."""
    for left in folder.rglob(f".*{_SUFFIX}"):
        left.unlink(missing_ok=True)
