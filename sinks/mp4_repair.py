"""Takes a torn fragment off the end of an mp4 file whose disk became full."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO


def cut_torn_end(path: Path) -> bool:
    """Shorten a fragmented mp4 or mov file to its whole fragments. What is whole already stays as it is.

    Returns:
        Whether any picture is left; if not, the file is unchanged and of no use.

    Raises:
        OSError: the file cannot be read or shortened.

    Source: ISO/IEC 14496-12, section 4.2: a file is a sequence of boxes, each with its size and type in front.
    """
    with path.open("r+b") as file:
        end = _end_of_last_media(file)
        if end:
            file.truncate(end)
    return end > 0


def _end_of_last_media(file: BinaryIO) -> int:
    """Offset behind the last whole `mdat` box, 0 where there is none."""
    length = file.seek(0, 2)
    at = last = 0
    while at + 8 <= length:
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        if size == 1:
            size = int.from_bytes(file.read(8))
        if size < 8 or at + size > length:
            break
        at += size
        if kind == b"mdat":
            last = at
    return last
