"""Stores to test on, and events to put into them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.event import Event, EventKind, event_id
from pipeline.records.making import event_record, run_record, source_record
from pipeline.records.process import this_process
from pipeline.records.rows import StoredRun, StoredSource
from pipeline.records.schema import Record


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a store, one for each engine; nothing is there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "events.db")
    url: str = request.getfixturevalue("new_database")()
    return url


class Makes:
    """Records with defaults."""

    began = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)

    def run(self, run_id: str = "20260501-080000-000-aaaa", **values: Any) -> StoredRun:
        given = {
            "started_utc": self.began,
            "ended_utc": None,
            "alive_utc": self.began,
            "status": "running",
            "version": "0",
            "config_digest": "digest",
            "command": "tracklight run",
            "process": this_process(),
        }
        return StoredRun(run_id, **{**given, **values})

    def source(self, run_id: str = "20260501-080000-000-aaaa", source_id: str = "gate", **values: Any) -> StoredSource:
        given = {
            "address": f"/videos/{source_id}.mp4",
            "is_live": False,
            "width_px": 640,
            "height_px": 480,
            "first_utc": None,
            "first_s": 0.0,
            "last_s": 9.0,
            "frames": 250,
            "ended": False,
        }
        return StoredSource(run_id, source_id, **{**given, **values})

    def event(self, start_s: float = 1.0, end_s: float | None = None, **values: Any) -> Event:
        given: dict[str, Any] = {
            "kind": EventKind.VISIT,
            "rule": "zone",
            "source_id": "gate",
            "captured_ns": 0,
            "frame": int(start_s * 25),
            "track_ids": (7, 9),
            "class_id": 0,
            "class_name": "person",
            "box": (1.0, 2.5, 30.25, 40.0),
            "values": {"dwell_s": 2.5, "unit": "m", "n": 3, "yes": True},
        }
        given |= values
        name = event_id(given["source_id"], given["kind"], given["rule"], start_s, given["track_ids"])
        return Event(name, start_s=start_s, end_s=end_s, **given)

    def record(self, start_s: float = 1.0, end_s: float | None = None, **values: Any) -> Record:
        run_id = values.pop("run_id", "20260501-080000-000-aaaa")
        is_timed = values.pop("is_timed", False)
        picture, clip = values.pop("picture", ""), values.pop("footage", "")
        start_utc = self.began + timedelta(seconds=start_s) if is_timed else None
        return event_record(run_id, self.event(start_s, end_s, **values), start_utc, picture, clip)

    def start(self, run_id: str = "20260501-080000-000-aaaa", **source: Any) -> list[Record]:
        """A run with one source."""
        return [run_record(self.run(run_id)), source_record(self.source(run_id, **source))]


@pytest.fixture
def makes() -> Makes:
    return Makes()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is so; fails after ten seconds."""
    import threading
    import time

    def wait(condition: Callable[[], bool]) -> None:
        give_up, pause = time.monotonic() + 10, threading.Event()
        while not condition():
            assert time.monotonic() < give_up, "what was waited for did not come"
            pause.wait(0.02)

    return wait
