"""A whole run whose database restarts in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.records.rows import EventFilter
from pipeline.records.store import open_store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[3]
N_FRAMES = 150


def test_nothing_is_lost(postgres_server: Any, new_database: Callable[[], str], tmp_path: Path) -> None:
    url = new_database()
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"store": url, "n_frames": N_FRAMES, "is_live": False, "sink": {}}))
    child = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "e2e" / "store_child.py"), str(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert child.stdout is not None
        # Half a second of events is enough to be in the middle.
        for _ in range(25):
            assert child.stdout.readline()
        postgres_server.stop()
        try:
            for _ in range(25):
                assert child.stdout.readline()
        finally:
            postgres_server.start()
        out, errors = child.communicate(timeout=60)
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    counters = json.loads(out.splitlines()[-1].removeprefix("done "))
    assert (counters["outages"], counters["dropped"], counters["unsaved"], counters["lost"]) == (1, 0, 0, 0)
    said = errors.splitlines()
    assert len(said) == 2
    assert "the run goes on" in said[0]
    assert "is back after" in said[1]
    assert "canary-password" not in errors
    with open_store(url) as store:
        (run,) = store.runs()
        assert run.status == "completed"
        events = list(store.events(EventFilter(run="all")))
        (source,) = store.sources()
    assert len(events) == N_FRAMES + N_FRAMES // 25
    assert all(event.end_s is not None for event in events)
    assert source.frames == N_FRAMES
