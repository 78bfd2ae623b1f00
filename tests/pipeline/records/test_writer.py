"""The writer's thread: what it writes when all is well, and what becomes of records when the store is away."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.records import writer as writer_module
from pipeline.records.address import parse_store_address
from pipeline.records.making import source_record
from pipeline.records.rows import StoredEvent
from pipeline.records.schema import EVENTS, Record
from pipeline.records.store import Store, open_store
from pipeline.records.unsaved import read_unsaved
from pipeline.records.writer import StoreWriter

Wait = Callable[[Callable[[], bool]], None]


def stored(url: str) -> list[StoredEvent]:
    with open_store(url) as store:
        return list(store.events())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short patience, and the folder of the test as working folder."""
    monkeypatch.setattr(writer_module, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(writer_module, "CLOSE_S", 0.5)
    monkeypatch.setattr(writer_module, "HEARTBEAT_S", 0.1)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make_writer(makes: Any, hurried: None) -> Iterator[Callable[..., StoreWriter]]:
    """Starts a writer that knows of one source; closed at the end of the test."""
    made: list[StoreWriter] = []

    def make(url: str, **settings: Any) -> StoreWriter:
        writer = StoreWriter(parse_store_address(url), makes.run(), **settings)
        made.append(writer)
        writer.put_source(makes.source())
        writer.start()
        return writer

    yield make
    for writer in made:
        writer.close()


def test_records_are_there_within_a_second(store_url: str, makes: Any, make_writer: Any, wait_for: Wait) -> None:
    writer = make_writer(store_url)
    wait_for(lambda: writer.counters["stored"] == 0 and _has_run(store_url))
    at = time.monotonic()
    writer.put(makes.record(1.0))
    wait_for(lambda: len(stored(store_url)) == 1)
    assert time.monotonic() - at < 1.0


def _has_run(url: str) -> bool:
    from pipeline.core.errors import TracklightError

    try:
        with open_store(url) as store:
            return bool(store.sources())
    except TracklightError:
        return False


def test_everything_is_written_at_the_end(store_url: str, makes: Any, make_writer: Any) -> None:
    writer = make_writer(store_url)
    for at in range(5000):
        writer.put(makes.record(float(at)))
        writer.put(makes.record(float(at), at + 1.0))
    writer.close()
    writer.close()
    writer.end_run("completed")
    events = stored(store_url)
    assert len(events) == 5000
    assert all(event.end_s == event.start_s + 1 for event in events)
    with open_store(store_url) as store:
        (run,) = store.runs()
    assert run.status == "completed"
    assert run.ended_utc is not None
    assert writer.counters["unsaved"] == writer.counters["dropped"] == writer.counters["outages"] == 0


def test_it_shows_that_it_lives(store_url: str, make_writer: Any, wait_for: Wait) -> None:
    make_writer(store_url)
    wait_for(lambda: _has_run(store_url))

    def alive() -> Any:
        with open_store(store_url) as store:
            return store.runs()[0].alive_utc

    first = alive()
    wait_for(lambda: alive() > first)


def test_a_server_that_restarts(
    postgres_server: Any,
    new_database: Callable[[], str],
    makes: Any,
    make_writer: Any,
    wait_for: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = new_database()
    writer = make_writer(url)
    writer.put(makes.record(0.0))
    wait_for(lambda: writer.counters["stored"] == 1)
    postgres_server.stop()
    try:
        slowest_s = 0.0
        for at in range(1, 500):
            began = time.monotonic()
            writer.put(makes.record(float(at)))
            slowest_s = max(slowest_s, time.monotonic() - began)
        wait_for(lambda: writer.counters["outages"] == 1)
        assert slowest_s < 0.5
    finally:
        postgres_server.start()
    wait_for(lambda: writer.counters["stored"] >= 500)
    writer.close()
    assert len(stored(url)) == 500
    said = warnings(caplog)
    assert len(said) == 2
    assert "the run goes on" in said[0]
    assert "is back after" in said[1]
    assert "canary-password" not in caplog.text


def test_a_server_that_stays_away(
    postgres_server: Any,
    new_database: Callable[[], str],
    makes: Any,
    make_writer: Any,
    wait_for: Wait,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    url = new_database()
    writer = make_writer(url)
    writer.put(makes.record(0.0))
    wait_for(lambda: writer.counters["stored"] == 1)
    postgres_server.stop()
    try:
        for at in range(1, 10):
            writer.put(makes.record(float(at)))
        writer.close()
        writer.end_run("interrupted")
    finally:
        postgres_server.start()
    (path,) = tmp_path.glob("*.jsonl")
    assert path.name == f"tracklight.unsaved-{writer.run_id}.jsonl"
    assert any(str(path) in text and "events import" in text for text in warnings(caplog))
    assert "canary-password" not in caplog.text + path.read_text()
    with open_store(url, read_only=False) as store:
        store.put(read_unsaved(path))
        store.put(read_unsaved(path))
        assert store.count() == 10
        assert [run.status for run in store.runs()] == ["interrupted"]
    assert writer.counters["unsaved"] == 12
    assert writer.counters["lost"] == 0


def test_a_server_that_freezes(
    postgres_server: Any,
    new_database: Callable[[], str],
    makes: Any,
    make_writer: Any,
    wait_for: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import psycopg

    monkeypatch.setattr(writer_module, "STUCK_S", 0.3)
    url = new_database()
    writer = make_writer(url)
    writer.put(makes.record(0.0))
    wait_for(lambda: writer.counters["stored"] == 1)
    with psycopg.connect(url, autocommit=True) as connection:
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'tracklight' AND datname = current_database()"
        ((process,),) = connection.execute(sql).fetchall()
    os.kill(process, signal.SIGSTOP)
    try:
        numbers = iter(range(1, 10_000))

        def noticed() -> bool:
            writer.put(makes.record(float(next(numbers))))
            return bool(writer.counters["outages"])

        wait_for(noticed)
    finally:
        os.kill(process, signal.SIGCONT)
    n_put = next(numbers)
    wait_for(lambda: writer.counters["stored"] >= n_put)
    writer.close()
    assert len(stored(url)) == n_put


def test_a_store_that_is_removed(
    tmp_path: Path, makes: Any, make_writer: Any, wait_for: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    url = str(tmp_path / "events.db")
    writer = make_writer(url)
    writer.put(makes.record(0.0))
    wait_for(lambda: writer.counters["stored"] == 1)
    for path in tmp_path.glob("events.db*"):
        path.unlink()
    writer.put(makes.record(1.0))
    writer.close()
    writer.end_run("completed")
    assert [event.start_s for event in stored(url)] == [1.0]
    with open_store(url) as store:
        assert [run.status for run in store.runs()] == ["completed"]
    assert ["removed" in text for text in warnings(caplog)] == [True]


def test_a_record_that_the_store_does_not_take_goes_aside_and_holds_up_nothing(
    store_url: str, makes: Any, make_writer: Any, wait_for: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    """Numbers that no column holds, and half a character: from files whose names are no text."""
    writer = make_writer(store_url)
    refused = [
        makes.record(30.0, frame=2**70),
        makes.record(40.0, class_name="caf\udce9"),
        source_record(makes.source(source_id="caf\udce9")),
    ]
    nameless = makes.source(source_id="n\udcff")
    for record in (*map(makes.record, (0.0, 1.0, 2.0)), *refused, makes.record(3.0)):
        writer.put(record)
    writer.put_source(nameless)
    wait_for(lambda: (writer.counters["stored"], writer.counters["refused"]) == (4, 4))
    # With later signs of life it is not tried again.
    alive_utc = _alive(store_url)
    wait_for(lambda: _alive(store_url) > alive_utc)
    writer.close()
    assert [event.start_s for event in stored(store_url)] == [0.0, 1.0, 2.0, 3.0]
    assert writer.counters == {"stored": 4, "dropped": 0, "refused": 4, "unsaved": 4, "lost": 0, "outages": 0}
    (said,) = warnings(caplog)
    assert "fails to take a record" in said
    kept = read_unsaved(Path(said.split("it is in ")[1].split(", the rest")[0]))
    assert {record.key for record in kept} == {record.key for record in (*refused, source_record(nameless))}


def _alive(url: str) -> datetime:
    with open_store(url) as store:
        (run,) = store.runs()
        return run.alive_utc


def test_the_spool_has_a_bound(
    tmp_path: Path, makes: Any, make_writer: Any, wait_for: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    writer = make_writer(str(folder / "events.db"), spool=100)
    writer.put(makes.record(0.0))
    wait_for(lambda: writer.counters["stored"] == 1)
    _remove(folder)
    folder.write_text("a file in the way")
    wait_for(lambda: writer.counters["outages"] == 1)
    for at in range(1, 251):
        writer.put(makes.record(float(at)))
        writer.put(makes.record(float(at), at + 1.0))
    assert writer.counters["dropped"] == 150
    folder.unlink()
    writer.put(makes.record(300.0))
    wait_for(lambda: writer.counters["stored"] >= 101)
    writer.close()
    # The newest are kept, each once, with its end.
    events = stored(str(folder / "events.db"))
    assert [event.start_s for event in events] == [*(float(at) for at in range(152, 251)), 300.0]
    assert all(event.end_s is not None for event in events[:-1])
    assert "151 were dropped" in warnings(caplog)[-1]


def test_no_place_takes_what_is_left(
    tmp_path: Path, makes: Any, make_writer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "gone"
    folder.write_text("a file in the way")
    monkeypatch.setattr("tempfile.tempdir", str(folder / "below"))
    writer = make_writer(str(folder / "events.db"))
    writer.put(makes.record(0.0))
    writer.close()
    assert writer.counters["lost"] == 3
    assert "3 records are lost" in warnings(caplog)[-1]


def _remove(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_two_runs_write_one_store_at_once(store_url: str, makes: Any, hurried: None) -> None:
    runs = [makes.run(f"2026050{n}-080000-000-aaaa") for n in (1, 2)]
    writers = [StoreWriter(parse_store_address(store_url), run) for run in runs]
    for writer in writers:
        writer.put_source(makes.source(writer.run_id, is_live=True))
        writer.start()
    for at in range(1000):
        for writer in writers:
            writer.put(makes.record(float(at), run_id=writer.run_id))
    for writer in writers:
        writer.close()
        writer.end_run("completed")
    events = stored(store_url)
    assert len(events) == 2000
    assert len({(event.run_id, event.event_id) for event in events}) == 2000
    assert not any(writer.counters["outages"] for writer in writers)


DISK_FULL = """
import json, logging, resource, signal, sys, threading
from pipeline.records.address import parse_store_address
from pipeline.records.making import event_record
from pipeline.records.schema import Record
from pipeline.records import writer as module
from pipeline.records.rows import StoredRun
from pipeline.records.process import this_process
from datetime import UTC, datetime

logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
module.CLOSE_S = 0.5
path, made = sys.argv[1], json.load(open(sys.argv[2]))
now = datetime.now(UTC)
run = StoredRun("20260501-080000-000-aaaa", now, None, now, "running", "0", "d", "c", this_process())
writer = module.StoreWriter(parse_store_address(path), run)
records = [Record.from_json(record) for record in made]
writer.start()
writer.put(records[0])
pause = threading.Event()
while not writer.counters["stored"]:
    pause.wait(0.02)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit = 120_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for record in records[1:]:
    writer.put(record)
while not writer.counters["outages"]:
    pause.wait(0.02)
if sys.argv[3] == "frees":
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    while writer.counters["stored"] < len(records):
        pause.wait(0.02)
writer.close()
print("done", json.dumps(dict(writer.counters)))
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("then", ["frees", "stays full"])
def test_a_disk_without_room(tmp_path: Path, makes: Any, then: str) -> None:
    """The system refuses to make the file larger, as on a full disk."""
    import json

    path = tmp_path / "events.db"
    with open_store(str(path), read_only=False) as store:
        store.put(makes.start())
    records = [makes.record(float(at)) for at in range(3000)]
    (tmp_path / "records.json").write_text(json.dumps([record.to_json() for record in records]))
    done = subprocess.run(
        [sys.executable, "-c", DISK_FULL, str(path), str(tmp_path / "records.json"), then],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3]), "TMPDIR": str(tmp_path)},
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    counters = json.loads(lines[-1].removeprefix("done "))
    assert counters["outages"] == 1
    assert counters["dropped"] == 0
    assert "the run goes on" in lines[0]
    with open_store(str(path)) as store:
        n_stored = store.count()
        assert list(store.engine.rows("PRAGMA integrity_check")) == [("ok",)]
    if then == "frees":
        assert n_stored == 3000
        assert "is back" in lines[1]
    else:
        assert 1 <= n_stored < 3000
        assert counters["lost"] > 0 or counters["unsaved"] > 0
        assert n_stored + counters["lost"] + counters["unsaved"] - 1 == 3000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with 400 kB."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_that_is_freed(
    small_disk: Path, makes: Any, make_writer: Any, wait_for: Wait, caplog: pytest.LogCaptureFixture
) -> None:
    url = str(small_disk / "events.db")
    writer = make_writer(url)
    for at in range(2000):
        writer.put(makes.record(float(at)))
    wait_for(lambda: writer.counters["outages"] == 1)
    assert "disk" in warnings(caplog)[0] or "full" in warnings(caplog)[0]
    subprocess.run(["mount", "-o", "remount,size=9m", str(small_disk)], check=True)
    wait_for(lambda: writer.counters["stored"] >= 2000)
    writer.close()
    assert len(stored(url)) == 2000
    assert len(warnings(caplog)) == 2


def test_an_end_that_comes_while_its_beginning_is_written(
    tmp_path: Path, makes: Any, make_writer: Any, wait_for: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()
    real = Store.put

    def slow(store: Store, records: Sequence[Record]) -> None:
        if any(record.table is EVENTS for record in records):
            writing.set()
            assert go_on.wait(10)
        real(store, records)

    monkeypatch.setattr(Store, "put", slow)
    writer = make_writer(str(tmp_path / "e.db"))
    writer.put(makes.record(1.0))
    assert writing.wait(10)
    writer.put(makes.record(1.0, 3.0))
    go_on.set()
    wait_for(lambda: writer.counters["stored"] == 2)
    assert [event.end_s for event in stored(str(tmp_path / "e.db"))] == [3.0]
