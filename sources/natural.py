"""The order in which people count files: img2 before img10."""

from __future__ import annotations

import re
from pathlib import Path


def natural_key(path: Path) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """Sort key: folder by folder, digits as numbers, letters without case; equal ones by their exact text."""
    parts = re.split(r"(\d+)", str(path).casefold())
    return tuple((1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts), str(path)
