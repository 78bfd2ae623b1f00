"""Frames of a video that tools list as if they were pictures: `frame_000012.png`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sources.address import VIDEO_SUFFIXES

_FRAME_NAME = re.compile(r"(?:.*/)?frame_(\d{1,9})(?:\.\w{1,5})?")


def frame_number(name: str) -> int | None:
    """The frame that a name says, from 0; None where it is of another form."""
    match = _FRAME_NAME.fullmatch(name)
    return int(match[1]) if match else None


def is_video(name: str) -> bool:
    """Whether a name is that of a video file."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def lies_beside(file: Path, names: Sequence[str]) -> Path | None:
    """The picture of one of these names in the folders around its annotations, if there is one."""
    home = file.parent
    for base in (home / "images", home, home.parent / "images", home.parent):
        for name in names:
            if (base / name).is_file():
                return base / name
    return None
