"""Runs that are killed (kill -9) while they write 50 events/s: nothing older than a second is lost, nothing doubles."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.event import EventKind
from pipeline.records.rows import EventFilter
from pipeline.records.store import open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="tells live processes from dead ones by /proc"),
]
CHILD = Path(__file__).with_name("store_child.py")
N_KILLS = 5
N_FRAMES = 150


class Child:
    """One run in a process of its own.

    Args:
        folder: where its settings go.
        settings: as in store_child.py.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        path = folder / "settings.json"
        path.write_text(json.dumps({"n_frames": N_FRAMES, "is_live": False, "sink": {"resume": True}, **settings}))
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CHILD.parents[2]), "OMP_NUM_THREADS": "1"},
        )
        self._first = threading.Event()
        self.handed: dict[str, float] = {}
        """When each event was handed over, monotonic (s)."""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def kill_after(self, seconds: float) -> float:
        """Kill it so long after its first event; gives the instant."""
        assert self._first.wait(30)
        time.sleep(seconds)
        at = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        self.finish()
        assert self.process.returncode == -signal.SIGKILL
        return at

    def finish(self) -> str:
        """Wait for its end; gives what it said on stderr."""
        assert self.process.stderr is not None
        if self.process.stderr.closed:
            return ""
        errors = self.process.stderr.read()
        self.process.wait(60)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return errors

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, at = line.partition(" ")
            if name != "done" and line.endswith("\n"):
                self.handed[name] = float(at)
                self._first.set()


@pytest.fixture
def quiet_children() -> Iterator[list[Child]]:
    """Children that are killed at the end of the test, come what may."""
    children: list[Child] = []
    yield children
    for child in children:
        if child.process.poll() is None:
            child.process.kill()
        child.finish()


def check_whole(path: Path) -> None:
    connection = sqlite3.connect(path)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (n_doubles,) = connection.execute(
            "SELECT count(*) FROM "
            "(SELECT 1 FROM events GROUP BY source_id, kind, rule, start_s, track_ids HAVING count(*) > 1)"
        ).fetchone()
        assert n_doubles == 0
    finally:
        connection.close()


def test_footage_killed_five_times_and_resumed(tmp_path: Path, quiet_children: list[Child]) -> None:
    path = tmp_path / "events.db"
    rng = random.Random(5)
    handed: set[str] = set()
    for _ in range(N_KILLS):
        child = Child(tmp_path, store=str(path))
        quiet_children.append(child)
        killed_at = child.kill_after(rng.uniform(1.2, 1.8))
        check_whole(path)
        with open_store(str(path)) as store:
            stored = {event.event_id for event in store.events()}
            (run,) = store.runs()
        old = {name for name, at in child.handed.items() if at < killed_at - 1.0}
        assert len(old) >= 8
        assert old <= stored
        assert run.status == "interrupted"
        assert run.ended_utc is None
        assert handed <= stored, "a run that goes on takes nothing away"
        handed = stored
    (tmp_path / "other").mkdir()
    last, whole = Child(tmp_path, store=str(path)), Child(tmp_path / "other", store=str(tmp_path / "whole.db"))
    quiet_children += [last, whole]
    assert (last.finish(), whole.finish()) == ("", "")
    check_whole(path)
    found = []
    for place in (path, tmp_path / "whole.db"):
        with open_store(str(place)) as store:
            (run,) = store.runs()
            assert run.status == "completed"
            (source,) = store.sources()
            assert (source.frames, source.ended) == (N_FRAMES, True)
            found.append([{**event.to_json(), "run": ""} for event in store.events(EventFilter(run="all"))])
    assert len(found[0]) == N_FRAMES + N_FRAMES // 25
    assert found[0] == found[1]
    assert all(event["end_s"] is not None for event in found[0])


def test_a_camera_s_run_goes_on(tmp_path: Path, quiet_children: list[Child]) -> None:
    path = tmp_path / "events.db"
    handed: dict[str, float] = {}
    for _ in range(2):
        child = Child(tmp_path, store=str(path), is_live=True, n_frames=1000)
        quiet_children.append(child)
        killed_at = child.kill_after(1.3)
        handed |= {name: at for name, at in child.handed.items() if at < killed_at - 1.0}
    last = Child(tmp_path, store=str(path), is_live=True, n_frames=30)
    quiet_children.append(last)
    assert last.finish() == ""
    handed |= last.handed
    check_whole(path)
    with open_store(str(path)) as store:
        (run,) = store.runs()
        events = {event.event_id: event for event in store.events()}
        (source,) = store.sources()
    assert run.status == "completed"
    assert set(handed) <= set(events)
    visits = [event for event in events.values() if event.kind is EventKind.VISIT]
    assert all(event.end_s is not None for event in visits)
    broken_off = [event for event in visits if event.values.get("interrupted")]
    assert len(broken_off) == 2
    for event in broken_off:
        assert event.start_utc is not None
        assert event.end_utc is not None
        assert event.duration_s is not None
        # A visit lasts half a second; the rest is for a machine that is busy with something else.
        assert 0 <= event.duration_s <= 1.5
        assert (event.end_utc - event.start_utc).total_seconds() == pytest.approx(event.duration_s, abs=2e-6)
    assert all(event.start_utc is not None for event in events.values())
    assert source.frames > 100


def test_without_resume_a_killed_run_stays_beside_the_new_one(tmp_path: Path, quiet_children: list[Child]) -> None:
    path = tmp_path / "events.db"
    first = Child(tmp_path, store=str(path), sink={})
    quiet_children.append(first)
    first.kill_after(0.8)
    second = Child(tmp_path, store=str(path), sink={}, n_frames=20)
    quiet_children.append(second)
    second.finish()
    with open_store(str(path)) as store:
        assert [run.status for run in store.runs()] == ["interrupted", "completed"]
        # Of footage the newest run is looked at: its events do not count twice.
        assert len({event.run_id for event in store.events()}) == 1
        assert store.count() == 21
        assert store.count(EventFilter(run="all")) > 21
