"""Which run goes on, and what becomes of what it left open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.records.making import run_record, source_record
from pipeline.records.process import is_dead, this_process
from pipeline.records.resume import take_over, unfinished_run
from pipeline.records.store import open_store

ADDRESSES = {"gate": "/videos/gate.mp4"}
DEAD = "nowhere/1/1"


@pytest.mark.parametrize(
    ("values", "address", "is_found"),
    [
        ({"status": "interrupted"}, "/videos/gate.mp4", True),
        ({"status": "failed"}, "/videos/gate.mp4", True),
        ({"status": "partial"}, "/videos/gate.mp4", True),
        ({"status": "running", "process": DEAD}, "/videos/gate.mp4", True),
        ({"status": "running"}, "/videos/gate.mp4", False),
        ({"status": "completed"}, "/videos/gate.mp4", False),
        ({"status": "interrupted", "config_digest": "other"}, "/videos/gate.mp4", False),
        ({"status": "interrupted"}, "/other/gate.mp4", False),
    ],
)
def test_which_run_goes_on(store_url: str, makes: Any, values: dict[str, Any], address: str, is_found: bool) -> None:
    run = makes.run(**values)
    with open_store(store_url, read_only=False) as store:
        store.put([run_record(run), source_record(makes.source(address=address))])
        found = unfinished_run(store, "digest", ADDRESSES)
    assert (found is not None) == is_found


def test_the_newest_goes_on(store_url: str, makes: Any) -> None:
    with open_store(store_url, read_only=False) as store:
        store.put([run_record(makes.run(name, status="failed")) for name in ("1", "3", "2")])
        found = unfinished_run(store, "digest", ADDRESSES)
    assert found is not None
    assert found.run_id == "3"


def test_open_events_of_live_sources_end_where_it_was_last_alive(store_url: str, makes: Any) -> None:
    run = makes.run(status="interrupted", ended_utc=makes.began)
    camera = makes.source(source_id="cam", is_live=True, last_s=8.0)
    records = [
        *(run_record(run), source_record(camera), source_record(makes.source())),
        *(makes.record(2.0, source_id="cam", is_timed=True), makes.record(9.0, source_id="cam")),
        *(makes.record(3.0, 4.0, source_id="cam"), makes.record(5.0, source_id="gate")),
    ]
    with open_store(store_url, read_only=False) as store:
        store.put(records)
        going_on, sources = take_over(store, run, "tracklight again")
        assert store.runs() == [going_on]
        events = {event.start_s: event for event in store.events()}
    assert (going_on.status, going_on.ended_utc, going_on.process) == ("running", None, this_process())
    assert going_on.started_utc == run.started_utc
    assert {source.source_id for source in sources} == {"cam", "gate"}
    assert (events[2.0].end_s, events[2.0].values["interrupted"]) == (8.0, True)
    assert events[2.0].values["n"] == 3
    assert events[2.0].end_utc == makes.began + timedelta(seconds=8)
    assert (events[9.0].end_s, events[9.0].end_utc) == (9.0, None)
    assert "interrupted" not in events[3.0].values
    assert events[5.0].end_s is None


def test_who_is_dead() -> None:
    now = datetime.now(UTC)
    host, number, started = this_process().split("/")
    assert not is_dead(this_process(), now - timedelta(days=1))
    assert is_dead(f"{host}/{number}/{int(started) + 1}", now)
    assert is_dead(f"{host}/999999999/1", now)
    # Elsewhere only its silence tells.
    assert not is_dead("elsewhere/1/1", now)
    assert is_dead("elsewhere/1/1", now - timedelta(minutes=2))
