"""Files of strangers: what is believed and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path, PureWindowsPath
from typing import Any

from pipeline.core.errors import DatasetError

MAX_FILE_BYTES = 1 << 30
"""XML is read in pieces, JSON as a whole, which takes several times its size."""
MAX_SIDE_PX = 100_000
MAX_FRAME = 50_000_000
"""Ten days at 60 frames/s."""
MAX_BOXES = 20_000_000
_MAX_NAME = 1_000


def check_size(path: Path) -> None:
    """Raises DatasetError where a file is missing or larger than anybody's annotations."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DatasetError(f"{path}: wanted annotations, found: {error.strerror or error}") from error
    if size > MAX_FILE_BYTES:
        raise DatasetError(
            f"{path}: wanted at most {MAX_FILE_BYTES >> 20} MiB, found {size >> 20} MiB; export it in parts"
        )


def safe_name(text: Any, where: str) -> str:
    """A name of a file below a folder that we choose, with `/`.

    Args:
        text: from an annotation file.
        where: what errors call the place.

    Raises:
        DatasetError: absolute, leading out of the folder, or no name.
    """
    if not isinstance(text, str):
        raise DatasetError(f"{where}: wanted the name of a file, found {str(text)[:80]}")
    name = text.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    bad = name.startswith("/") or ".." in parts or PureWindowsPath(name).drive or "\0" in name or len(name) > _MAX_NAME
    if bad or not parts:
        raise DatasetError(f"{where}: wanted the name of a file in the folder, found {text[:80]!r}")
    return "/".join(parts)


def number(value: Any, what: str, where: str) -> float:
    """A finite number within what a coordinate can be. Raises DatasetError."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not -10 * MAX_SIDE_PX < found < 10 * MAX_SIDE_PX:
        raise DatasetError(f"{where}: {what}: wanted a number, found {str(value)[:40]!r}")
    return found


def whole(value: Any, what: str, where: str, *, most: int) -> int:
    """A whole number from 0 to `most`. Raises DatasetError."""
    text = str(value).strip()
    # The length goes first: Python takes long to read very long numbers.
    if isinstance(value, bool) or not (len(text) <= 12 and text.isdecimal() and int(text) <= most):
        raise DatasetError(f"{where}: {what}: wanted a whole number from 0 to {most}, found {text[:40]!r}")
    return int(text)


def size_wh(width: Any, height: Any, where: str) -> tuple[int, int] | None:
    """A picture's size in px, None where both are missing or 0. Raises DatasetError."""
    if not width and not height:
        return None
    return (whole(width, "width", where, most=MAX_SIDE_PX), whole(height, "height", where, most=MAX_SIDE_PX))


def read_json(path: Path) -> Any:
    """A JSON document.

    Raises:
        DatasetError: too large, nested without end, or no JSON; names the line.
    """
    check_size(path)
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}, line {error.lineno}: wanted JSON, found: {error.msg}") from None
    except RecursionError:
        raise DatasetError(f"{path}: wanted annotations, found JSON that is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: wanted JSON, found: {str(error)[:100]}") from error


def _refuse(text: str) -> Any:
    raise ValueError(f"the number {text}")


def records(document: Any, key: str, path: Path) -> list[dict[str, Any]]:
    """A list of records in a document. Raises DatasetError."""
    found = document.get(key) if isinstance(document, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise DatasetError(f"{path}: {key}: wanted a list of records, found {type(found).__name__}")
    if len(found) > MAX_BOXES:
        raise DatasetError(f"{path}: {key}: wanted at most {MAX_BOXES} records, found {len(found)}")
    return found


def ltwh_box(bbox: Any, where: str) -> tuple[float, float, float, float]:
    """Corners of a box given as left, top, width, height. Raises DatasetError."""
    if not isinstance(bbox, list) or len(bbox) != 4:
        raise DatasetError(f"{where}: wanted a box of left, top, width, height; found {str(bbox)[:60]}")
    left, top, width, height = (number(value, "bbox", where) for value in bbox)
    return left, top, left + width, top + height
