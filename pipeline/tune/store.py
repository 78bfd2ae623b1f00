"""What was measured before, kept by what it depends on, so that a tune that was ended goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import UsageError
from pipeline.core.whole_file import write_whole

_WHAT = "measured by `tracklight tune`; may be deleted, it is then measured again"


class Store:
    """A folder with a JSON file for each measurement, and where it has a larger part, a file of the same name for it.

    Args:
        folder: where; made when something is kept.
        use_kept: False takes nothing from before, and replaces it.
    """

    def __init__(self, folder: Path, *, use_kept: bool = True) -> None:
        self._folder = folder
        self._use_kept = use_kept
        self._kept_now: set[str] = set()

    def get(self, facts: Mapping[str, Any]) -> dict[str, Any] | None:
        """What was measured under exactly these facts, or None. A file that cannot be read counts as none."""
        key = _key(facts)
        if not self._use_kept and key not in self._kept_now:
            return None
        try:
            document = json.loads(self._place(key, ".json").read_text(encoding="utf-8"))
            return dict(document["result"]) if document["facts"] == _plain(facts) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, facts: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """Keep a measurement.

        Raises:
            UsageError: it cannot be written.
        """
        key = _key(facts)
        document = {"what": _WHAT, "facts": _plain(facts), "result": result}
        try:
            write_whole(self._place(key, ".json"), json.dumps(document, indent=1) + "\n")
        except OSError as error:
            raise UsageError(
                f"{self._folder}: wanted to keep measurements there: {error.strerror or error}; "
                "name another folder in TRACKLIGHT_CACHE"
            ) from error
        self._kept_now.add(key)

    def beside(self, facts: Mapping[str, Any], suffix: str) -> Path:
        """The file for a measurement's larger part; to be written before `put`."""
        return self._place(_key(facts), suffix)

    def _place(self, key: str, suffix: str) -> Path:
        return self._folder / f"{key}{suffix}"


def _key(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(_plain(facts), sort_keys=True).encode()).hexdigest()[:32]


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As they come back from JSON."""
    return dict(json.loads(json.dumps(facts)))
