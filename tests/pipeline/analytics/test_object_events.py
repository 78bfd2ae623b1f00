"""One event per object: when it came, when it was last seen, how far it went."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import GroundPlaneConfig, SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.object_events import ObjectEvents
from pipeline.analytics.objects import ObjectTable
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.tracks import Tracks

HW = (720, 1280)
IMAGE = np.broadcast_to(np.uint8(0), (*HW, 3))
NAMES = ("person", "car")


class Film:
    def __init__(self, **rules: Any) -> None:
        config = SourceRules(units="px", **rules)
        self.objects = ObjectTable(config)
        maker = EventMaker("cam", NAMES, self.objects)
        self.rule = ObjectEvents(config, NAMES, self.objects, maker)
        self.rule.place(HW)
        self.index = 0
        self.events: list[Event] = []

    def step(self, time_s: float, feet: dict[int, Any], class_id: int = 0, predicted: bool = False) -> None:
        ids = np.array(list(feet), np.int64)
        x, y = np.array(list(feet.values()), float).reshape(-1, 2).T
        xyxy = np.stack([x - 10, y - 50, x + 10, y], axis=1).astype(np.float32)
        n = len(ids)
        rows = np.full(n, -1) if predicted else np.arange(n)
        tracks = Tracks(xyxy, np.ones(n, np.float32), np.full(n, class_id), ids, rows)
        frame = Frame("cam", self.index, IMAGE, time_s, int(time_s * 1e9) + 7, CaptureClock.FILE)
        self.index += 1
        self.events += self.rule.update(self.objects.see(frame, tracks, time_s))

    def finish(self) -> list[Event]:
        self.events += self.rule.finish()
        return self.events


def test_from_the_first_to_the_last_sighting() -> None:
    film = Film(forget_s=2.0)
    for i in range(31):
        film.step(1 + i / 10, {5: (100 + 10 * i, 300)}, predicted=i in (4, 5, 6))
    for i in range(31, 61):
        film.step(1 + i / 10, {})
    begin, end = film.events
    assert begin.kind is end.kind is EventKind.OBJECT
    assert begin.event_id == end.event_id
    assert (begin.start_s, begin.end_s, begin.phase, begin.frame, begin.captured_ns) == (1, None, "begin", 0, 10**9 + 7)
    assert (end.start_s, end.end_s, end.phase, end.track_ids) == (1, pytest.approx(4), "end", (5,))
    assert end.class_name == "person"
    values = dict(end.values)
    assert values.pop("path_px") == pytest.approx(300, abs=15)
    assert values == {"seconds": pytest.approx(3), "sightings": 31, "predicted_share": pytest.approx(3 / 31)}
    assert film.finish() == [begin, end]


def test_the_end_of_the_source_ends_every_stay_at_its_last_sighting() -> None:
    film = Film()
    film.step(0, {1: (100, 300), 2: (500, 300)})
    film.step(1, {2: (500, 300)})
    ends = {event.track_ids: event.end_s for event in film.finish() if event.phase == "end"}
    assert ends == {(1,): 0, (2,): 1}


def test_seen_once_is_seen() -> None:
    film = Film()
    film.step(3, {1: (100, 300)})
    begin, end = film.finish()
    assert end.start_s == end.end_s == 3
    assert end.values == {"seconds": 0, "sightings": 1, "predicted_share": 0, "path_px": 0}
    assert begin.event_id == end.event_id


@pytest.mark.parametrize("fps", [5, 30])
def test_a_trembling_box_goes_nowhere(fps: int) -> None:
    rng = np.random.default_rng(0)
    film = Film()
    for i in range(60 * fps):
        film.step(i / fps, {1: (100 + rng.uniform(-5, 5), 300 + rng.uniform(-5, 5))})
    assert film.finish()[-1].values["path_px"] == 0


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_the_path_is_the_way_and_not_the_distance(fps: int) -> None:
    """To and fro, 10 times 200 px, with a box that trembles by 2 px: 2,000 px within 10 %."""
    rng = np.random.default_rng(1)
    film = Film()
    for i in range(20 * fps + 1):
        t = i / fps % 4
        film.step(i / fps, {1: (200 + 100 * min(t, 4 - t) + rng.normal(0, 2), 300 + rng.normal(0, 2))})
    assert film.finish()[-1].values["path_px"] == pytest.approx(2000, rel=0.1)


def test_on_a_ground_plane_the_path_is_in_metres() -> None:
    corners = ((100.0, 100.0), (1100.0, 100.0), (1100.0, 600.0), (100.0, 600.0))
    plane = GroundPlaneConfig(image=corners, world_m=tuple((x / 50, y / 50) for x, y in corners))
    film = Film(ground_plane=plane)
    for i in range(101):
        film.step(i / 20, {1: (200 + 8 * i, 500)})
    assert film.finish()[-1].values["path_m"] == pytest.approx(800 / 50, abs=15 / 50)


def test_a_slot_that_serves_again_starts_anew() -> None:
    film = Film(forget_s=0.5)
    for i in range(5):
        film.step(i / 10, {1: (100 + 50 * i, 300)})
    film.step(2, {})
    film.step(2.1, {})
    film.step(2.2, {9: (900, 300)})
    first, second = [event for event in film.finish() if event.phase == "end"]
    assert first.values["sightings"] == 5
    assert second.values == {"seconds": 0, "sightings": 1, "predicted_share": 0, "path_px": 0}


def test_off_says_nothing() -> None:
    film = Film(objects=False)
    film.step(0, {1: (100, 300)})
    film.step(10, {})
    assert film.finish() == []
