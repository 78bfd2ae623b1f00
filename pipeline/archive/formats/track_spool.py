"""Sorts text by track without keeping it in memory: frames come one after another, files want tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_CHUNK = 4096
"""Characters of one track that wait in memory."""


class TrackSpool:
    """Takes lines of many tracks in any order and gives back those of each.

    Lines wait in a file; in memory are a few kilobytes per track and the places of its pieces.

    Args:
        path: of the file, which is made, and removed at the end.

    Raises:
        OSError: the system refused.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._waiting: dict[int, list[str]] = {}
        self._sizes: dict[int, int] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}
        self._end = 0

    def __enter__(self) -> TrackSpool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()
        self._path.unlink()

    def append(self, track_id: int, text: str) -> None:
        """More text of a track."""
        self._waiting.setdefault(track_id, []).append(text)
        self._sizes[track_id] = self._sizes.get(track_id, 0) + len(text)
        if self._sizes[track_id] >= _CHUNK:
            self._put_away(track_id)

    def text_of(self, track_id: int) -> Iterator[str]:
        """All text of a track, in the order in which it came."""
        self._put_away(track_id)
        for start, size in self._places.get(track_id, []):
            self._file.seek(start)
            yield self._file.read(size).decode()

    def _put_away(self, track_id: int) -> None:
        content = "".join(self._waiting.pop(track_id, [])).encode()
        self._sizes.pop(track_id, None)
        if not content:
            return
        self._file.seek(self._end)
        self._file.write(content)
        self._places.setdefault(track_id, []).append((self._end, len(content)))
        self._end += len(content)
