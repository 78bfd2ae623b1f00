"""The sink that keeps events: what every sink promises, and what it adds to the events."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import SinkError, UsageError
from pipeline.core.event import Event, EventKind, event_id
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import ClosingSink, Sink
from pipeline.core.result import FrameResult
from pipeline.core.run_facts import RunFacts, RunSink
from pipeline.core.scene import Closing, Heatmap, Scene, SceneLayout
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.records.rows import EventFilter
from pipeline.records.snapshot_place import snapshot_path
from pipeline.records.store import open_store
from sinks.event_store import EventStoreConfig, EventStoreSink, check_store
from sinks.snapshots import SnapshotWriter, encode_snapshot

FACTS = RunFacts(
    "tracklight run", "digest", {"cam": "/videos/cam.mp4", "live": "rtsp://***@host/1"}, frozenset({"cam"})
)


def make(path: Path | str, facts: RunFacts | None = FACTS, **settings: Any) -> EventStoreSink:
    sink = EventStoreSink(EventStoreConfig(url=str(path), **settings), class_names=("person",))
    if facts is not None:
        sink.begin_run(facts)
    return sink


def info(source_id: str = "cam", is_live: bool = False) -> StreamInfo:
    return StreamInfo(source_id, 64, 48, 25.0, is_live, None)


def event(index: int, end_s: float | None = None, kind: EventKind = EventKind.VISIT, **values: Any) -> Event:
    start_s = index / 25
    given: dict[str, Any] = {
        "rule": "zone",
        "source_id": "cam",
        "captured_ns": index * 40_000_000,
        "frame": index,
        "track_ids": (1,),
        "box": (5.0, 6.0, 30.0, 40.0),
    } | values
    return Event(
        event_id(given["source_id"], kind, given["rule"], start_s, (1,)), kind, start_s=start_s, end_s=end_s, **given
    )


def result(index: int, *events: Event, source_id: str = "cam", pts_s: float | None = -1.0) -> FrameResult:
    at = index * 40_000_000
    image = np.full((48, 64, 3), 90, np.uint8)
    frame = Frame(source_id, index, image, index / 25 if pts_s == -1.0 else pts_s, at, CaptureClock.FILE)
    timeline = Timeline(at, at, at, at, at, at)
    return FrameResult(frame, Detections.empty(), Tracks.empty(), timeline, events=events)


def test_it_is_a_sink(tmp_path: Path) -> None:
    sink = make(tmp_path / "e.db")
    assert isinstance(sink, Sink)
    assert isinstance(sink, ClosingSink)
    assert isinstance(sink, RunSink)
    assert (sink.needs_image, sink.needs_main_thread, sink.is_live, sink.shared) == (False, False, False, True)
    assert make(tmp_path / "e.db", snapshots=True).needs_image
    sink.close()
    sink.close()
    sink.end_run("failed")
    assert list(tmp_path.iterdir()) == []


def test_what_a_run_tells_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "e.db"
    sink = make(path)
    sink.open(info())
    begun = event(0)
    sink.write(result(0, begun))
    sink.write(result(1))
    sink.write(result(2, event(0, 2 / 25, frame=2, values={"dwell_s": 0.08}), event(2, 2 / 25, EventKind.CROSSING)))
    sink.write(result(3, event(3)))
    heat = Heatmap(8.0, np.ones((6, 8), np.float32), np.zeros((6, 8, 2), np.float32))
    ended = event(3, 3 / 25, values={"dwell_s": 0.0})
    sink.end_source(Closing("cam", 3 / 25, 0, (ended,), None, heat, {"zone": {"occupancy_mean": 0.5}}))
    sink.close()
    sink.end_run("completed")
    assert [file.name for file in path.parent.iterdir()] == ["e.db"]
    with open_store(str(path)) as store:
        (run,) = store.runs()
        assert (run.status, run.config_digest, run.command) == ("completed", "digest", "tracklight run")
        (source,) = store.sources()
        assert (source.address, source.frames, source.first_s, source.last_s) == ("/videos/cam.mp4", 4, 0.0, 0.12)
        assert (source.ended, source.is_live, source.first_utc) == (True, False, None)
        events = list(store.events())
        assert [(e.kind, e.start_s, e.end_s) for e in events] == [
            ("visit", 0.0, 0.08),
            ("crossing", 0.08, 0.08),
            ("visit", 0.12, 0.12),
        ]
        assert [e.clip for e in events] == [
            "/videos/cam.mp4#t=0.000,0.080",
            *(f"/videos/cam.mp4#t={t}" for t in ("0.080", "0.120")),
        ]
        assert all(e.start_utc is None for e in events)
        assert len(store.heatmaps()) == 1
        assert len(store.summaries()) == 1
    assert sink.counters["stored"] >= 3


def scene(crossings: list[list[int]], visits: list[int]) -> Scene:
    layout = SceneLayout(("door",), (("enter", "leave"),), np.zeros((1, 2, 2)), ("hall",), (np.zeros((3, 2)),))
    numbers = np.array(visits)
    return Scene(layout, np.array(crossings), numbers, numbers, np.zeros(1, bool))


def test_lines_and_zones_are_known_from_the_first_frame_and_counted_at_the_end(tmp_path: Path) -> None:
    def told() -> dict[tuple[str, str], float]:
        with open_store(str(tmp_path / "e.db")) as store:
            return {(summary.rule, summary.name): summary.value for summary in store.summaries()}

    sink = make(tmp_path / "e.db")
    sink.open(info())
    sink.write(replace(result(0), scene=scene([[0, 0]], [0])))
    sink.write(replace(result(1), scene=scene([[2, 1]], [1])))
    sink.close()
    nothing = {("door", "crossings_in"): 0.0, ("door", "crossings_out"): 0.0, ("hall", "visits"): 0.0}
    assert told() == nothing
    sink = make(tmp_path / "e.db")
    sink.open(info())
    sink.write(replace(result(0), scene=scene([[0, 0]], [0])))
    sink.end_source(Closing("cam", 1.0, 0, scene=scene([[2, 1]], [1]), summary={"hall": {"visits": 1.0}}))
    sink.close()
    assert told() == {("door", "crossings_in"): 2.0, ("door", "crossings_out"): 1.0, ("hall", "visits"): 1.0}


@pytest.mark.parametrize(("is_live", "frames", "first_s"), [(True, 5, 0.0), (False, 2, 0.12)])
def test_a_source_that_begins_anew_in_the_run(tmp_path: Path, is_live: bool, frames: int, first_s: float) -> None:
    sink = make(tmp_path / "e.db")
    sink.open(info(is_live=is_live))
    for index in range(3):
        sink.write(result(index))
    sink.end_source(Closing("cam", 0.08, 0))
    sink.open(info(is_live=is_live))
    for index in (3, 4):
        sink.write(result(index))
    sink.close()
    with open_store(str(tmp_path / "e.db")) as store:
        (found,) = store.sources()
    # Footage is read from its start again, a camera goes on.
    assert (found.frames, found.first_s, found.last_s, found.ended) == (frames, first_s, 0.16, False)


@pytest.mark.parametrize("status", ["interrupted", "failed", "partial"])
def test_how_the_run_ended(tmp_path: Path, status: str) -> None:
    sink = make(tmp_path / "e.db", facts=None)
    sink.open(info())
    sink.close()
    sink.end_run(status)
    with open_store(str(tmp_path / "e.db")) as store:
        assert [run.status for run in store.runs()] == [status]
        assert store.sources()[0].address == ""


def test_a_store_is_added_to(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    for _ in range(2):
        sink = make(path)
        sink.open(info())
        sink.write(result(0, event(0)))
        sink.close()
        sink.end_run("completed")
    with open_store(str(path)) as store:
        assert len(store.runs()) == 2
        assert store.count() == 1
        assert store.count(EventFilter(run="all")) == 2


def test_write_without_open_or_after_close(tmp_path: Path) -> None:
    sink = make(tmp_path / "e.db")
    with pytest.raises(SinkError):
        sink.write(result(0))
    sink.open(info())
    with pytest.raises(SinkError):
        sink.write(result(0, source_id="other"))
    sink.close()
    with pytest.raises(SinkError):
        sink.write(result(0))
    with pytest.raises(SinkError):
        sink.end_source(Closing("cam", 0.0, 0))


@pytest.mark.parametrize("what", ["folder", "text"])
def test_what_is_in_the_way_is_told_when_the_run_begins(tmp_path: Path, what: str) -> None:
    path = tmp_path / "e.db"
    if what == "folder":
        path.mkdir()
    else:
        path.write_text("precious " * 100)
    sink = make(path)
    with pytest.raises(SinkError) as caught:
        sink.open(info())
    assert "\n" not in str(caught.value)
    sink.close()
    sink.end_run("failed")
    with pytest.raises(UsageError):
        check_store(str(path))
    assert path.is_dir() or path.read_text() == "precious " * 100


def test_check_changes_nothing(tmp_path: Path) -> None:
    check_store(str(tmp_path / "new" / "e.db"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty.db").touch()
    check_store(str(tmp_path / "empty.db"))
    with pytest.raises(UsageError, match="found mysql://"):
        check_store("mysql://host/db")


def test_wall_times_of_a_live_source(tmp_path: Path) -> None:
    import time

    # A file that is played as if it were live has no footage at these times.
    sink = make(tmp_path / "e.db", replace(FACTS, videos=frozenset({"live"})))
    sink.open(info("live", is_live=True))
    now_ns = time.monotonic_ns()
    seen = Frame("live", 0, np.zeros((48, 64, 3), np.uint8), None, now_ns, CaptureClock.RECEIVE)
    base = result(0)
    at_s = now_ns / 1e9
    begun = Event("a" * 16, EventKind.VISIT, "zone", "live", at_s, None, now_ns, 0)
    ended = Event("a" * 16, EventKind.VISIT, "zone", "live", at_s, at_s + 2.5, now_ns, 60)
    sink.write(FrameResult(seen, base.detections, base.tracks, base.timeline, events=(begun, ended)))
    sink.close()
    with open_store(str(tmp_path / "e.db")) as store:
        (found,) = store.events()
        (source,) = store.sources()
    assert found.start_utc is not None
    assert found.end_utc is not None
    assert abs(found.start_utc - datetime.now(UTC)) < timedelta(seconds=5)
    assert found.end_utc - found.start_utc == timedelta(seconds=2.5)
    assert source.first_utc == found.start_utc
    assert (found.clip, source.address) == ("", "rtsp://***@host/1")


def test_wall_times_of_footage_whose_time_is_known(tmp_path: Path) -> None:
    sink = make(tmp_path / "e.db", recorded_at={"other": "2020-01-01T00:00Z", "c*": "2026-05-01T10:00+02:00"})
    sink.open(info())
    sink.write(result(25, event(25)))
    sink.close()
    with open_store(str(tmp_path / "e.db")) as store:
        assert next(store.events()).start_utc == datetime(2026, 5, 1, 8, 0, 1, tzinfo=UTC)


def test_settings_that_cannot_work() -> None:
    for settings in (
        {"recorded_at": {"a": "2026-05-01T10:00"}},
        {"snapshot_kinds": ["party"]},
        {"spool": 1},
        {"retention_days": 0},
    ):
        with pytest.raises(ValueError, match="validation error"):
            EventStoreConfig(url="e.db", **settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        EventStoreSink(EventStoreConfig(url="mysql://user:canary@host/db"), class_names=())
    assert "canary" not in repr(EventStoreConfig(url="postgresql://user:canary@host/db"))


def test_it_goes_on_with_an_unfinished_run(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    for status, facts, resume in (
        ("failed", FACTS, False),
        ("interrupted", FACTS, True),
        ("completed", RunFacts("x", "other digest", FACTS.addresses), True),
        ("completed", FACTS, True),
        ("completed", FACTS, True),
    ):
        sink = make(path, facts, resume=resume)
        sink.open(info())
        sink.write(result(0, event(0), event(0, 0.04, frame=1)))
        sink.close()
        sink.end_run(status)
    with open_store(str(path)) as store:
        # The second goes on with the first. The third is of another configuration; the others find nothing unfinished.
        assert [run.config_digest for run in store.runs()] == ["digest", "other digest", "digest"]
        assert {run.status for run in store.runs()} == {"completed"}
        assert store.count(EventFilter(run="all")) == 3


def test_a_vanished_store_does_not_stop_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "there"
    sink = make(folder / "e.db")
    sink.open(info())
    for path in folder.glob("*"):
        path.unlink()
    folder.rmdir()
    folder.write_text("a file in the way")
    for index in range(50):
        sink.write(result(index, event(index)))
    folder.unlink()
    sink.close()
    sink.end_run("completed")
    with open_store(str(folder / "e.db")) as store:
        assert store.count() == 50
        assert store.runs()[0].status == "completed"
        assert store.sources()[0].frames == 50


# -- pictures ---------------------------------------------------------------------------------------------------------


def test_pictures_of_beginnings(tmp_path: Path) -> None:
    path = tmp_path / "e.db"
    sink = make(path, snapshots=True, snapshots_per_s=100)
    sink.open(info())
    sink.write(result(0, event(0), event(0, 0.0, EventKind.CROSSING), event(0, kind=EventKind.OBJECT)))
    # The end of one that was pictured, and one that is told only at its end.
    sink.write(result(1, event(0, 0.04, frame=1), event(1, 1.0, EventKind.LOITERING)))
    sink.close()
    with open_store(str(path)) as store:
        pictures = {e.kind: e.snapshot for e in store.events()}
        places = {kind: snapshot_path(store.address, ref) for kind, ref in pictures.items() if ref}
    assert set(places) == {EventKind.VISIT, EventKind.CROSSING}
    assert pictures[EventKind.VISIT].startswith("e_snapshots/")
    for place in places.values():
        assert place is not None
        assert cv2.imread(str(place)).shape == (48, 64, 3)
    assert len(list((tmp_path / "e_snapshots").iterdir())) == 2
    assert (sink.counters["snapshots"], sink.counters["snapshots_left_out"]) == (2, 0)


def test_a_picture_is_small_and_shows_the_box() -> None:
    image = np.full((2000, 3000, 3), 60, np.uint8)
    picture = cv2.imdecode(np.frombuffer(encode_snapshot(image, (600.0, 500.0, 1500.0, 1500.0)), np.uint8), 1)
    assert picture.shape == (853, 1280, 3)
    assert (image == 60).all()
    scale = 1280 / 3000
    assert picture[round(500 * scale), round(1000 * scale)].max() > 150
    assert abs(int(picture[round(1000 * scale), round(1000 * scale)].max()) - 60) < 8
    assert cv2.imdecode(np.frombuffer(encode_snapshot(image[:48, :64], None), np.uint8), 1).shape == (48, 64, 3)


def test_pictures_are_bounded(tmp_path: Path) -> None:
    from pipeline.records.address import parse_store_address

    writer = SnapshotWriter(parse_store_address(str(tmp_path / "e.db")), 2.0)
    writer.start()
    image = np.zeros((48, 64, 3), np.uint8)
    taken = [writer.take("run", event(index), image) for index in range(20)]
    writer.close()
    assert sum(bool(reference) for reference in taken) == 2
    assert dict(writer.counters) == {"snapshots": 2, "snapshots_left_out": 18, "snapshots_failed": 0}


def test_pictures_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "e_snapshots").write_text("a file in the way")
    sink = make(tmp_path / "e.db", snapshots=True)
    sink.open(info())
    for index in range(3):
        sink.write(result(index, event(index)))
    sink.close()
    assert sink.counters["snapshots_failed"] == 3
    assert len([record for record in caplog.records if "pictures" in record.getMessage()]) == 1
    with open_store(str(tmp_path / "e.db")) as store:
        assert store.count() == 3


def test_a_slow_store_does_not_hold_up_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.records.store import Store

    gate, real = threading.Event(), Store.put

    def slow(store: Store, records: Any) -> None:
        gate.wait(30)
        real(store, records)

    sink = make(tmp_path / "e.db")
    sink.open(info())
    monkeypatch.setattr(Store, "put", slow)
    for index in range(2000):
        sink.write(result(index, event(index)))
    assert sink.counters["stored"] == 0
    gate.set()
    sink.close()
    assert sink.counters["stored"] == 2000
