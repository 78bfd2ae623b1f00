from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sinks.jsonl import JsonlConfig, JsonlSink

Make = Callable[..., FrameResult]


def written(path: Path, info: StreamInfo, *results: FrameResult, names: tuple[str, ...] = ("person", "car")) -> list:
    sink = JsonlSink(JsonlConfig(path=path, exist_ok=True), class_names=names)
    sink.open(info)
    for result in results:
        sink.write(result)
    sink.close()
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def crossing(**changes: Any) -> Event:
    """A car that crossed a line."""
    known: dict[str, Any] = {
        "event_id": "0123456789abcdef",
        "kind": EventKind.CROSSING,
        "rule": "door",
        "source_id": "cam",
        "start_s": 0.2,
        "end_s": 0.2,
        "captured_ns": 280_000_000,
        "frame": 7,
        "track_ids": (12,),
        "class_id": 1,
        "class_name": "car",
        "box": (1.239, 2.0, 30.5, 40.126),
    }
    return Event(**known | changes)


def test_layout(tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]) -> None:
    result = make_result(
        7,
        boxes=[(1.239, 2, 30.5, 40.126)],
        track_id=[12],
        class_id=[1],
        confidence=[0.87654],
        pts_s=0.2333333333,
        dropped_before=2,
        events=(crossing(values={"direction": "in", "count": np.int64(3), "at": np.float32(0.5)}),),
    )
    written(tmp_path / "a.jsonl", make_info(), result)
    assert (tmp_path / "a.jsonl").read_text() == (
        '{"source":"cam","frame":7,"pts_s":0.233333,"captured_ns":280000000,"emitted_ns":289000000,'
        '"latency_ms":{"queue":2.0,"detect":5.0,"track":1.5,"total":9.0},"dropped_before":2,'
        '"objects":[{"track_id":12,"class_id":1,"class":"car","confidence":0.8765,"xyxy":[1.24,2.0,30.5,40.13]}],'
        '"events":[{"event_id":"0123456789abcdef","kind":"crossing","phase":"instant","rule":"door","source":"cam",'
        '"start_s":0.2,"end_s":0.2,"frame":7,"track_ids":[12],"class_id":1,"class":"car","box":[1.24,2.0,30.5,40.13],'
        '"predicted":false,"values":{"direction":"in","count":3,"at":0.5},"snapshot":null,"clip":null}]}\n'
    )


def test_without_timing_equal_runs_give_equal_lines(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    texts = []
    for captured_ns in (1, 2_000_000):
        sink = JsonlSink(JsonlConfig(path=tmp_path / "a.jsonl", exist_ok=True, timing=False), class_names=("person",))
        sink.open(make_info())
        sink.write(make_result(boxes=[(1, 2, 3, 4)], captured_ns=captured_ns))
        sink.close()
        texts.append((tmp_path / "a.jsonl").read_text())
    assert texts[0] == texts[1]
    assert set(json.loads(texts[0])) == {"source", "frame", "pts_s", "dropped_before", "objects", "events"}


def test_an_assumed_place_is_marked(tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]) -> None:
    found = make_result(boxes=[(1, 2, 3, 4), (5, 6, 7, 8)])
    seen = found.tracks
    rows = np.array([0, -1])
    tracks = Tracks(seen.xyxy, seen.confidence, seen.class_id, seen.track_id, rows)
    (line,) = written(
        tmp_path / "a.jsonl", make_info(), FrameResult(found.frame, found.detections, tracks, found.timeline)
    )
    assert [o.get("predicted") for o in line["objects"]] == [None, True]


def test_without_tracker_the_detections_stand_without_id(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    (line,) = written(tmp_path / "a.jsonl", make_info(), make_result(boxes=[(1, 2, 3, 4)], tracked=False))
    assert [(o["track_id"], o["class"]) for o in line["objects"]] == [(None, "person")]


def test_with_a_tracker_unconfirmed_detections_do_not_show(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    found = make_result(boxes=[(1, 2, 3, 4)])
    nothing_tracked = FrameResult(found.frame, found.detections, Tracks.empty(), found.timeline)
    (line,) = written(tmp_path / "a.jsonl", make_info(), nothing_tracked)
    assert line["objects"] == []


def test_what_is_not_known_is_null(tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]) -> None:
    result = make_result(boxes=[(1, 2, 3, 4)], class_id=[5])
    bare = FrameResult(result.frame, result.detections, result.tracks, Timeline())
    (line,) = written(tmp_path / "a.jsonl", make_info(), bare)
    assert line["pts_s"] is None
    assert line["emitted_ns"] is None
    assert line["latency_ms"] == {"queue": None, "detect": None, "track": None, "total": None}
    assert line["objects"][0]["class"] == "5"


def test_sources_share_the_file(tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]) -> None:
    sink = JsonlSink(JsonlConfig(path=tmp_path / "a.jsonl"), class_names=())
    for source in ("a", "b"):
        sink.open(make_info(source))
        sink.write(make_result(source_id=source))
    sink.write(make_result(1, source_id="a"))
    sink.close()
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(line["source"], line["frame"]) for line in lines] == [("a", 0), ("b", 0), ("a", 1)]


def test_events_that_are_no_json_are_refused(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    for value, error in ((object(), TypeError), (float("nan"), ValueError)):
        with pytest.raises(error):
            written(tmp_path / "a.jsonl", make_info(), make_result(events=(crossing(values={"x": value}),)))


def test_the_end_of_a_source_has_a_line_of_its_own(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    sink = JsonlSink(JsonlConfig(path=tmp_path / "a.jsonl"), class_names=())
    sink.open(make_info())
    sink.write(make_result())
    sink.end_source(Closing("cam", 0.2, 280_000_000, (crossing(),), summary={"door": {"mean": np.float64(0.25)}}))
    sink.close()
    frame, end = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert "end_s" not in frame
    assert "frame" not in end
    assert end == {
        "source": "cam",
        "end_s": 0.2,
        "events": [crossing().to_json()],
        "summary": {"door": {"mean": 0.25}},
    }


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    boxes=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 4), max_size=4),
    confidence=st.floats(0, 1, width=32),
    pts_s=st.none() | st.floats(0, 1e9),
    index=st.integers(0, 2**53),
)
def test_every_line_parses_to_what_was_given(
    tmp_path: Path,
    make_result: Make,
    make_info: Callable[..., StreamInfo],
    name: str,
    boxes: list[tuple[float, ...]],
    confidence: float,
    pts_s: float | None,
    index: int,
) -> None:
    n = len(boxes)
    result = make_result(boxes=boxes, confidence=[confidence] * n)
    frame = Frame("cam", index, result.frame.image, pts_s, 0, CaptureClock.FILE)
    result = FrameResult(frame, result.detections, result.tracks, result.timeline)
    (line,) = written(tmp_path / "a.jsonl", make_info(), result, names=(name,))
    assert line["frame"] == index
    assert line["pts_s"] == (None if pts_s is None else pytest.approx(pts_s, abs=1e-6))
    assert [o["class"] for o in line["objects"]] == [name] * n
    assert [o["xyxy"] for o in line["objects"]] == [pytest.approx(list(b), abs=0.0051) for b in boxes]
    assert all(o["confidence"] == pytest.approx(confidence, abs=5.1e-5) for o in line["objects"])


def test_a_line_says_for_when_its_boxes_hold(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    motion = TrackMotion(
        np.array([[100, 0, 100, 0]], np.float32), np.full(1, 3, np.float32), np.full(1, 40, np.float32)
    )
    result = replace(make_result(7, boxes=[(1, 2, 30, 40)]), motion=motion)
    plain, moved = written(tmp_path / "a.jsonl", make_info(), result, result.moved_to(380_000_000))
    assert plain.keys() == moved.keys() - {"boxes_at_ns"}
    assert plain["objects"][0].keys() == moved["objects"][0].keys() - {"std_px"}
    assert (moved["captured_ns"], moved["boxes_at_ns"]) == (280_000_000, 380_000_000)
    assert (moved["objects"][0]["xyxy"], moved["objects"][0]["std_px"]) == ([11, 2, 40, 40], 5)
    assert plain["objects"][0]["xyxy"] == [1, 2, 30, 40]
