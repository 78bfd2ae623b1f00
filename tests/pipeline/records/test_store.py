"""What is put into a store comes back, from either database the same."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import StoreError, UsageError
from pipeline.core.event import EventKind
from pipeline.core.scene import Closing, Heatmap
from pipeline.records.making import closing_records, run_record, source_record
from pipeline.records.rows import EventFilter, StoredEvent
from pipeline.records.schema import Record
from pipeline.records.store import open_store

RUN = "20260501-080000-000-aaaa"
LATER = "20260502-080000-000-bbbb"


def filled(url: str, *records: Record) -> None:
    with open_store(url, read_only=False) as store:
        store.put(records)


def test_a_new_store_is_empty(store_url: str) -> None:
    filled(store_url)
    with open_store(store_url) as store:
        assert (store.runs(), store.sources("all"), list(store.events()), store.heatmaps(), store.summaries()) == (
            *([], [], [], [], []),
        )


def test_an_event_comes_back_whole(store_url: str, makes: Any) -> None:
    filled(store_url, *makes.start(), makes.record(1.5, 4.0, is_timed=True, picture="a.jpg", footage="b.mp4#t=1.5,4"))
    event = makes.event(1.5, 4.0)
    with open_store(store_url) as store:
        (found,) = store.events()
    assert found == StoredEvent(
        *(RUN, event.event_id, EventKind.VISIT, "zone", "gate", 1.5, 4.0),
        *(makes.began + timedelta(seconds=1.5), makes.began + timedelta(seconds=4)),
        *(37, 0, "person", (7, 9), (1.0, 2.5, 30.25, 40.0), False),
        *({"dwell_s": 2.5, "unit": "m", "n": 3, "yes": True}, "a.jpg", "b.mp4#t=1.5,4"),
    )
    assert found.values["yes"] is True
    plain = found.to_json()
    assert {**plain, **event.to_json(), "snapshot": "a.jpg", "clip": "b.mp4#t=1.5,4"} == plain
    assert plain["start_utc"] == "2026-05-01T08:00:01.500Z"


def test_an_event_of_no_object_and_odd_names(store_url: str, makes: Any) -> None:
    odd = {"source_id": "größe ' \"; DROP TABLE events;-- ☃ ? %s", "rule": "%(x)s ?"}
    record = makes.record(
        0.0, kind=EventKind.EMPTY, class_id=-1, class_name="", track_ids=(), box=None, values={}, **odd
    )
    filled(store_url, *makes.start(source_id=odd["source_id"]), record)
    with open_store(store_url) as store:
        (found,) = store.events(EventFilter(sources=(odd["source_id"],), rules=(odd["rule"],)))
    assert (found.source_id, found.rule, found.box, found.track_ids, found.class_id) == (*odd.values(), None, (), -1)
    assert found.end_s is None
    assert found.start_utc is None


def test_runs_sources_heatmaps_and_summaries_come_back(store_url: str, makes: Any) -> None:
    rng = np.random.default_rng(0)
    presence, flow = rng.random((3, 4), np.float32), rng.random((3, 4, 2), np.float32)
    closing = Closing("gate", 9.0, 0, heatmap=Heatmap(16.0, presence, flow), summary={"zone": {"b": 0.1, "a": 2.0}})
    run = makes.run(ended_utc=makes.began + timedelta(hours=1), status="completed")
    source = makes.source(first_utc=makes.began, is_live=True, ended=True)
    filled(store_url, run_record(run), source_record(source), *closing_records(RUN, closing))
    with open_store(store_url) as store:
        assert store.runs() == [run]
        assert store.sources() == store.sources(RUN) == [source]
        assert store.sources("other") == []
        (stored,) = store.heatmaps()
        assert (stored.heatmap.presence_s == presence).all()
        assert (stored.heatmap.flow_px_s == flow).all()
        assert (stored.run_id, stored.source_id, stored.heatmap.cell_px) == (RUN, "gate", 16.0)
        assert [(s.rule, s.name, s.value) for s in store.summaries()] == [("zone", "a", 2.0), ("zone", "b", 0.1)]


def test_a_lasting_event_is_one_row(store_url: str, makes: Any) -> None:
    begin = makes.record(1.0, values={}, picture="a.jpg")
    end = makes.record(1.0, 3.0, values={"dwell_s": 2.0})
    for order in ((begin, end), (begin, begin, end, end), (end, begin)):
        filled(store_url, *makes.start(), *order)
        with open_store(store_url) as store:
            (event,) = store.events()
        assert (event.end_s, event.values, event.duration_s) == (3.0, {"dwell_s": 2.0}, 2.0)
        assert event.snapshot == "a.jpg"


def test_an_old_record_of_a_run_does_not_reopen_it(store_url: str, makes: Any) -> None:
    run = makes.run()
    later = replace(run, status="completed", alive_utc=makes.began + timedelta(seconds=1))
    filled(store_url, run_record(later), run_record(run))
    with open_store(store_url) as store:
        assert store.runs() == [later]


def test_order_is_by_wall_time_source_and_own_time(store_url: str, makes: Any) -> None:
    places = [(2.0, "B"), (1.0, "a"), (3.0, "a"), (1.0, "B")]
    records = [makes.record(at, at, source_id=name) for at, name in places]
    records.append(makes.record(0.5, 0.5, source_id="a", is_timed=True))
    filled(store_url, *makes.start(source_id="a"), *makes.start(source_id="B"), *records)
    with open_store(store_url) as store:
        found = [(event.source_id, event.start_s) for event in store.events()]
        newest = [(event.source_id, event.start_s) for event in store.events(EventFilter(limit=2))]
    assert found == [("B", 1.0), ("B", 2.0), ("a", 1.0), ("a", 3.0), ("a", 0.5)]
    assert newest == found[-2:]


@pytest.mark.parametrize(
    ("wanted", "starts"),
    [
        ({}, [1.0, 2.0, 3.0]),
        ({"kinds": ("crossing",)}, [2.0]),
        ({"kinds": ("crossing", "visit")}, [1.0, 2.0, 3.0]),
        ({"rules": ("door",)}, [3.0]),
        ({"classes": ("car",)}, [2.0]),
        ({"sources": ("gate",), "classes": ("person",)}, [1.0, 3.0]),
        ({"sources": ("yard",)}, []),
        ({"since": 2.0}, [2.0, 3.0]),
        ({"until": 2.0}, [1.0]),
        ({"since": 1.5, "until": 2.5}, [2.0]),
        ({"limit": 1}, [3.0]),
        ({"run": RUN}, [1.0, 2.0, 3.0]),
        ({"run": "other"}, []),
    ],
)
def test_filters(tmp_path: Path, makes: Any, wanted: dict[str, Any], starts: list[float]) -> None:
    url = str(tmp_path / "e.db")
    filled(
        url,
        *makes.start(),
        makes.record(1.0),
        makes.record(2.0, 2.0, kind=EventKind.CROSSING, class_name="car"),
        makes.record(3.0, rule="door"),
    )
    with open_store(url) as store:
        assert [event.start_s for event in store.events(EventFilter(**wanted))] == starts
        assert store.count(EventFilter(**{**wanted, "limit": None})) >= len(starts)


def test_wall_times_bound_events_that_have_one(store_url: str, makes: Any) -> None:
    filled(store_url, *makes.start(), *(makes.record(float(at), is_timed=at > 0) for at in range(4)))
    with open_store(store_url) as store:
        since = EventFilter(since=makes.began + timedelta(seconds=2))
        assert [event.start_s for event in store.events(since)] == [2.0, 3.0]
        until = EventFilter(until=(makes.began + timedelta(seconds=2)).astimezone())
        assert [event.start_s for event in store.events(until)] == [1.0]


def test_of_footage_the_newest_run_counts_and_of_live_sources_all(store_url: str, makes: Any) -> None:
    records: list[Record] = []
    for run_id in (RUN, LATER):
        records += [
            run_record(makes.run(run_id)),
            source_record(makes.source(run_id)),
            source_record(makes.source(run_id, "cam", address="rtsp://cam", is_live=True)),
            # The same name for another file: no newer run of the same footage.
            source_record(makes.source(run_id, "clip", address=f"/{run_id}/clip.mp4")),
            *(makes.record(1.0, source_id=name, run_id=run_id) for name in ("gate", "cam", "clip")),
        ]
    filled(store_url, *records)
    with open_store(store_url) as store:
        shown = sorted((event.source_id, event.run_id) for event in store.events())
        assert shown == [("cam", RUN), ("cam", LATER), ("clip", RUN), ("clip", LATER), ("gate", LATER)]
        assert sorted((s.source_id, s.run_id) for s in store.sources()) == shown
        assert {event.run_id for event in store.events(EventFilter(run=RUN))} == {RUN}
        assert store.count(EventFilter(run="all")) == 6


def test_both_databases_give_the_same_rows(new_database: Callable[[], str], tmp_path: Path, makes: Any) -> None:
    rng = np.random.default_rng(1)
    kinds, names = list(EventKind), ["b", "A", "a-1", "a1", "ä"]
    records = [record for name in names for record in makes.start(source_id=name)]
    for _ in range(300):
        start_s = float(rng.integers(0, 40)) + float(rng.random())
        end_s = None if rng.random() < 0.3 else start_s + float(rng.random()) * 9
        kind, name = kinds[rng.integers(len(kinds))], names[rng.integers(len(names))]
        records.append(makes.record(start_s, end_s, kind=kind, source_id=name, is_timed=bool(rng.random() < 0.5)))
    found = []
    for url in (str(tmp_path / "e.db"), new_database()):
        filled(url, *records)
        with open_store(url) as store:
            found.append((list(store.events()), list(store.events(EventFilter(limit=20))), store.sources()))
    assert len(found[0][0]) == 300
    assert found[0] == found[1]


def test_what_fails_leaves_nothing_behind(store_url: str, makes: Any) -> None:
    good = makes.record(1.0)
    bad = Record(good.table, (*good.row[:5], None, *good.row[6:]))
    with open_store(store_url, read_only=False) as store:
        store.put(makes.start())
        with pytest.raises(StoreError, match="fails") as caught:
            store.put([good, bad])
        assert "\n" not in str(caught.value)
        assert list(store.events()) == []
        store.put([good])
        assert store.count() == 1


def test_a_reader_changes_nothing_and_sees_what_a_writer_adds(store_url: str, makes: Any) -> None:
    with open_store(store_url, read_only=False) as writer, open_store(store_url) as reader:
        assert reader.count() == 0
        writer.put([*makes.start(), makes.record(1.0)])
        assert reader.count() == 1
        with pytest.raises(StoreError):
            reader.put([makes.record(2.0)])
        assert writer.count() == 1


def test_many_open_a_new_store_at_once_and_write(store_url: str, makes: Any) -> None:
    barrier = threading.Barrier(4)
    errors: list[StoreError] = []

    def fill(number: int) -> None:
        run_id = f"{RUN}{number}"
        try:
            barrier.wait()
            with open_store(store_url, read_only=False) as store:
                store.put(makes.start(run_id))
                for at in range(20):
                    store.put([makes.record(float(at), run_id=run_id)])
        except StoreError as error:
            errors.append(error)

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with open_store(store_url) as store:
        assert store.count(EventFilter(run="all")) == 80


def test_one_query_is_read_while_another_one_is(store_url: str, makes: Any) -> None:
    filled(store_url, *makes.start(), *(makes.record(float(at)) for at in range(2500)))
    with open_store(store_url) as store:
        outer, inner = store.events(), store.events(EventFilter(since=10.0))
        pairs = list(zip(outer, inner, (len(store.sources()) for _ in range(500)), strict=False))
        assert len(pairs) == 500
        assert all(b.start_s - a.start_s == 10 and n == 1 for a, b, n in pairs)
        # One that is not read to its end is in nobody's way.
        next(store.events())
        assert store.count() == 2500


# -- bad input --------------------------------------------------------------------------------------------------------


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such event store"):
        open_store(str(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    ("content", "says"),
    [(b"precious text, no database" * 99, "no whole SQLite"), (None, "found a folder"), ("other", "something else")],
)
def test_what_is_no_store_is_left_alone(tmp_path: Path, content: Any, says: str, read_only: bool) -> None:
    path = tmp_path / "events.db"
    if content is None:
        path.mkdir()
    elif content == "other":
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE photos (name TEXT)")
        connection.close()
    else:
        path.write_bytes(content)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(UsageError, match=says) as caught:
        open_store(str(path), read_only=read_only)
    assert "\n" not in str(caught.value)
    if before is not None:
        assert path.read_bytes() == before


def test_a_damaged_store(tmp_path: Path, makes: Any) -> None:
    path = tmp_path / "events.db"
    filled(str(path), *makes.start(), *(makes.record(float(at)) for at in range(2000)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match="whole SQLite database"), open_store(str(path)) as store:
        list(store.events())


def test_records_of_somebody_else(tmp_path: Path, makes: Any) -> None:
    path = tmp_path / "events.db"
    filled(str(path), *makes.start(), makes.record(1.0))
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE events SET kind = 'miracle'")
    connection.close()
    with open_store(str(path)) as store, pytest.raises(StoreError, match="miracle"):
        list(store.events())


def test_a_server_that_is_not_there() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://user:canary-password@127.0.0.1:1/events")
    assert "canary-password" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_database(new_database: Callable[[], str]) -> None:
    with pytest.raises(UsageError, match="found an empty database"):
        open_store(new_database())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_on_a_medium_that_cannot_be_written(tmp_path: Path, makes: Any) -> None:
    filled(str(tmp_path / "e.db"), *makes.start(), makes.record(1.0))
    tmp_path.chmod(0o555)
    try:
        with open_store(str(tmp_path / "e.db")) as store:
            assert store.count() == 1
    finally:
        tmp_path.chmod(0o755)
