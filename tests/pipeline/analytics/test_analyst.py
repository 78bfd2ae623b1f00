from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import SourceRules
from pipeline.core.event import Event, EventKind
from pipeline.core.protocols import Analyst

RULES: dict[str, Any] = {
    "lines": [
        {"name": "door", "points": [[0.5, 0.0], [0.5, 1.0]], "label_in": "west", "label_out": "east"},
        {"name": "shelf", "points": [[0.0, 0.5], [1.0, 0.5]]},
    ],
    "zones": [{"name": "left half", "polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "crowd": 1, "crowd_s": 0.2}],
    "heatmap": {"columns": 16},
}


@pytest.fixture
def analyst(make_info: Callable[..., Any], class_names: tuple[str, ...]) -> Callable[..., RuleAnalyst]:
    def make(source_id: str = "cam", is_live: bool = False, **more: Any) -> RuleAnalyst:
        rules: SourceRules = TypeAdapter(SourceRules).validate_python({**RULES, **more})
        return RuleAnalyst(rules, make_info(source_id=source_id, is_live=is_live), class_names)

    return make


def test_it_is_an_analyst(analyst: Any) -> None:
    assert isinstance(analyst(), Analyst)


def test_scene_and_closing(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    one = analyst()
    events: list[Event] = []
    for i in range(40):
        # 1 walks from left to right, 2 (a car) stands on the left.
        tracks = make_tracks([1, 2], [(140 + 25 * i, 700), (100, 200)], class_id=[0, 1])
        told, scene = one.update(make_frame(i, i / 10), tracks)
        events += told
        if i == 10:
            assert scene.occupancy.tolist() == [2]
            assert scene.alarms.tolist() == [True]
            assert scene.notes == {1: "1 s", 2: "1 s"}
    # Who stands at the top of the door line and looks down has the left of the picture on the right hand.
    assert scene.crossings.tolist() == [[0, 1], [0, 0]]
    assert (scene.occupancy.tolist(), scene.visits.tolist(), scene.alarms.tolist()) == ([1], [2], [False])
    assert scene.n_objects == {"person": 1, "car": 1}
    assert scene.heatmap is not None
    assert scene.heatmap.sum() == pytest.approx(2 * 3.9, abs=1e-4)
    assert scene.layout.line_names == ("door", "shelf")
    assert scene.layout.line_labels == (("west", "east"), ("in", "out"))
    assert scene.layout.lines_px.tolist() == [[[640, 0], [640, 720]], [[0, 360], [1280, 360]]]
    assert scene.layout.zone_names == ("left half",)
    assert [polygon.tolist() for polygon in scene.layout.zones_px] == [[[0, 0], [640, 0], [640, 720], [0, 720]]]
    (crossing,) = (event for event in events if event.kind is EventKind.CROSSING)
    assert crossing.start_s == pytest.approx(2.0)
    assert crossing.values == {"direction": "out", "label": "east"}

    closing = one.finish()
    assert (closing.source_id, closing.end_s, closing.captured_ns) == ("cam", 3.9, 3_900_000_000)
    assert closing.scene is not None
    assert closing.heatmap is not None
    assert closing.summary["left half"]["occupancy_max"] == 2
    # What has begun has ended.
    begun = {event.event_id for event in events if event.phase == "begin"}
    assert begun == {event.event_id for event in (*events, *closing.events) if event.phase == "end"}
    json.dumps([event.to_json() for event in (*events, *closing.events)])


def test_a_scene_keeps_what_it_said(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    one = analyst()
    scenes = [one.update(make_frame(i, i / 10), make_tracks([1], [(140 + 100 * i, 700)]))[1] for i in range(9)]
    assert scenes[0].crossings.sum() == 0
    assert scenes[-1].crossings.sum() == 1
    assert all(scene.layout is scenes[0].layout for scene in scenes)


def test_a_source_without_frames(analyst: Any) -> None:
    closing = analyst().finish()
    assert (closing.events, closing.scene, closing.heatmap) == ((), None, None)


def test_another_size_makes_another_layout(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    one = analyst()
    _, before = one.update(make_frame(0, 0.0), make_tracks([1], [(100, 700)]))
    _, after = one.update(make_frame(1, 0.1, (360, 640)), make_tracks([1], [(50, 350)]))
    assert after.layout is not before.layout
    assert after.layout.lines_px.tolist() == [[[320, 0], [320, 360]], [[0, 180], [640, 180]]]
    assert after.n_objects == {"person": 1}


def test_live_events_have_the_time_of_capture(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    one = analyst(is_live=True)
    start_ns = 86_400 * 10**9
    events: list[Event] = []
    for i in range(10):
        frame = make_frame(i, None, captured_ns=start_ns + i * 10**8)
        events += one.update(frame, make_tracks([1], [(240 + 100 * i, 700)]))[0]
    (crossing,) = (event for event in events if event.kind is EventKind.CROSSING)
    assert crossing.captured_ns / 1e9 == pytest.approx(crossing.start_s, abs=1e-6)
    assert crossing.start_s == pytest.approx(86_400.4)


def crowd(seed: int, make_frame: Any, make_tracks: Any) -> list[tuple[Any, Any]]:
    """People who wander about, get lost and come back under other ids."""
    rng = np.random.default_rng(seed)
    place, step = rng.uniform(0, 1, (12, 2)) * [1280, 720], rng.normal(0, 12, (12, 2))
    ids = np.arange(1, 13)
    footage = []
    for i in range(150):
        place = place + step + rng.normal(0, 2, (12, 2))
        step = np.where((place < 0) | (place > [1280, 720]), -step, step)
        lost = rng.random(12) < 0.1
        footage.append((make_frame(i, i / 15), make_tracks(ids[~lost], place[~lost])))
        broken = lost & (rng.random(12) < 0.5)
        ids = np.where(broken, ids.max() + np.cumsum(broken), ids)
    return footage


def told(one: RuleAnalyst, footage: list[tuple[Any, Any]]) -> list[dict[str, object]]:
    events = [event for frame, tracks in footage for event in one.update(frame, tracks)[0]]
    return [event.to_json() for event in (*events, *one.finish().events)]


def test_sources_know_nothing_of_each_other(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    footage = {name: crowd(seed, make_frame, make_tracks) for seed, name in enumerate(("a", "b", "c"))}
    alone = {name: told(analyst(name), of) for name, of in footage.items()}
    assert all(len(events) > 50 for events in alone.values())
    analysts = {name: analyst(name) for name in footage}
    mixed: dict[str, list[dict[str, object]]] = {name: [] for name in footage}
    for frames in zip(*footage.values(), strict=True):
        for name, (frame, tracks) in zip(footage, frames, strict=True):
            mixed[name] += [event.to_json() for event in analysts[name].update(frame, tracks)[0]]
    for name, one in analysts.items():
        mixed[name] += [event.to_json() for event in one.finish().events]
    assert mixed == alone


def test_the_same_footage_gives_the_same_events(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    footage = crowd(5, make_frame, make_tracks)
    events = told(analyst(), footage)
    assert events == told(analyst(), footage)
    # Each event has an id of its own; a lasting one is told twice under it.
    phases = [(event["event_id"], event["phase"]) for event in events]
    assert len(set(phases)) == len(phases)
    assert {phase for _, phase in phases} == {"begin", "end", "instant"}


def test_nothing_grows_over_the_hours(analyst: Any, make_frame: Any, make_tracks: Any) -> None:
    one = analyst()
    for i in range(3000):
        # A new visitor every second, for half a second.
        seen = [1 + i // 10] if i % 10 < 5 else []
        one.update(make_frame(i, i / 10), make_tracks(seen, [(100 + 20 * (i % 10), 300)] * len(seen)))
    assert one._objects.capacity == 64
    assert one._objects.n_by_class == {0: 300}
