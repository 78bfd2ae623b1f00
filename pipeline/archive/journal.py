"""What was finished and when: one line for every piece of work, never changed afterwards."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.archive.done import Done
from pipeline.archive.layout import JOURNAL


class Journal:
    """Appends to journal.jsonl, each line in one call of the system.

    A process that is killed between a video's last file and its line leaves the line out; `complete` adds it.

    Args:
        out: the archive's folder.

    Raises:
        OSError: the system refused.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / JOURNAL
        self._known: set[str] = set()
        if not self._path.exists():
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            os.truncate(self._path, sum(map(len, lines[:-1])))
            lines = lines[:-1]
        self._known = {json.loads(line).get("work") for line in lines}

    def complete(self, done: Iterable[Done]) -> None:
        """Add what is done and has no line."""
        for one in done:
            if one.work not in self._known:
                self.finished(one)

    def finished(self, done: Done) -> None:
        """A video is done."""
        self._known.add(done.work)
        facts = {"frames": done.n_frames, "tracks": done.n_tracks, "seconds": done.seconds, "finished": done.finished}
        self._append({"video": done.name, "status": "done", "work": done.work, "settings": done.settings, **facts})

    def failed(self, name: str, status: str, reason: str) -> None:
        """A video is given up."""
        self._append({"video": name, "status": status, "reason": reason})

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
