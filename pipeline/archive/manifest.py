"""manifest.json: every video of the archive and what became of it."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.archive.done import Done
from pipeline.archive.find import FoundArchive
from pipeline.archive.layout import MANIFEST, VIDEOS
from pipeline.core.whole_file import write_whole_json

_AT_MOST_EVERY_S = 2.0


class Manifest:
    """Rewrites the file as a whole, at most every two seconds, since of a large archive it is large.

    Args:
        out: the archive's folder.
        found: the videos of this call.
        settings: that the results depend on.
        weights: what people call the weights.
        done: all results on disk by name; grows while the call goes on.
    """

    def __init__(
        self, out: Path, found: FoundArchive, settings: Mapping[str, Any], weights: str, done: Mapping[str, Done]
    ) -> None:
        self._path = out / MANIFEST
        self._found = found
        self._done = done
        self._given_up: dict[str, tuple[str, str]] = {}
        self._current: set[str] = set()
        self._head = {
            "tracklight": importlib.metadata.version("tracklight"),
            "root": str(found.root),
            "weights": weights,
            "settings": dict(settings),
        }
        self._written = 0.0

    def finished(self, name: str) -> None:
        """The results of a video are up to date."""
        self._current.add(name)

    def give_up(self, name: str, status: str, reason: str) -> None:
        """A video is `corrupt` or `failed`; why, in one line."""
        self._given_up[name] = (status, reason)

    def write_soon(self) -> None:
        """Write it, unless that was done a moment ago. Raises OSError."""
        if time.monotonic() - self._written >= _AT_MOST_EVERY_S:
            self.write("running")

    def write(self, status: str) -> None:
        """Write it now. `status`: running, completed, partial, interrupted or failed. Raises OSError."""
        rows = [self._row(name) for name in (*(video.name for video in self._found.videos), *self._found.unnamed)]
        names = {video.name for video in self._found.videos}
        rows += [self._row_of_results(one, ["its video is gone"]) for n, one in self._done.items() if n not in names]
        totals: dict[str, Any] = {"videos": len(rows)}
        totals |= {
            name: sum(row["status"] == name for row in rows) for name in ("done", "corrupt", "failed", "waiting")
        }
        totals |= {
            name: round(sum(row.get(name, 0) for row in rows), 3)
            for name in ("frames", "tracks", "boxes", "events", "seconds")
        }
        write_whole_json(self._path, {"status": status, **self._head, "totals": totals, "videos": rows})
        self._written = time.monotonic()

    def _row(self, name: str) -> dict[str, Any]:
        if name in self._given_up:
            status, reason = self._given_up[name]
            return {"video": name, "status": status, "reason": reason}
        if name not in self._current:
            return {"video": name, "status": "waiting"}
        return self._row_of_results(self._done[name])

    @staticmethod
    def _row_of_results(one: Done, notes: list[str] | None = None) -> dict[str, Any]:
        all_notes = [*one.notes, *(notes or [])]
        return {
            "video": one.name,
            "status": "done",
            "folder": f"{VIDEOS}/{one.name}",
            "frames": one.n_frames,
            "tracks": one.n_tracks,
            "boxes": one.n_boxes,
            "events": one.n_events,
            "seconds": one.seconds,
            **({"notes": all_notes} if all_notes else {}),
        }
