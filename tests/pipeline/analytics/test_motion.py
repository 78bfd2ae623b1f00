"""Speeding, wrong ways, stands and sudden stops against motion that is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import GroundPlaneConfig, MotionConfig, SourceRules, ZoneConfig
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.motion import Motion, check_motion
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.zones import Zones
from pipeline.core.errors import ConfigError
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.tracks import Tracks

HW = (720, 1280)
IMAGE = np.broadcast_to(np.uint8(0), (*HW, 3))
EVERYWHERE = ((0.0, 0.0), (1280.0, 0.0), (1280.0, 720.0), (0.0, 720.0))
EAST = ((100.0, 300.0), (200.0, 300.0))
At = Callable[[float], Any]


class Film:
    """Zone `gate`, in px; ids are 1, 2, ...; None = not seen."""

    def __init__(self, motion: dict[str, Any], polygon: Any = EVERYWHERE, zones: Any = None, **rules: Any) -> None:
        watched = (ZoneConfig(name="gate", polygon=polygon, motion=MotionConfig(**motion)),)
        config = SourceRules(units="px", zones=zones or watched, **rules)
        self.objects = ObjectTable(config)
        maker = EventMaker("cam", ("car",), self.objects)
        self.zones = Zones(config, ("car",), self.objects, maker)
        self.motion = Motion(config, ("car",), self.objects, maker, self.zones)
        self.zones.place(HW)
        self.motion.place(HW)
        self.events: list[Event] = []
        self.alarms: list[list[bool]] = []

    def run(self, seconds: float, *ways: At, fps: float = 30, noise_px: float = 0, predicted: Any = None) -> Film:
        rng = np.random.default_rng(0)
        for i in range(round(seconds * fps) + 1):
            t = i / fps
            feet = {number: way(t) for number, way in enumerate(ways, 1) if way(t) is not None}
            x, y = (np.array(list(feet.values()), float).reshape(-1, 2) + rng.normal(0, noise_px, (len(feet), 2))).T
            xyxy = np.stack([x - 20, y - 60, x + 20, y], axis=1).astype(np.float32)
            n, ids = len(feet), np.array(list(feet), np.int64)
            rows = np.full(n, -1) if predicted and predicted(t) else np.arange(n)
            tracks = Tracks(xyxy, np.ones(n, np.float32), np.zeros(n, np.int64), ids, rows)
            view = self.objects.see(Frame("cam", i, IMAGE, t, int(t * 1e9), CaptureClock.FILE), tracks, t)
            self.zones.update(view)
            self.events += self.motion.update(view)
            self.alarms.append(self.motion.alarms.tolist())
        return self

    def end(self) -> list[Event]:
        self.events += self.motion.finish()
        return self.events


def steady(start: Any, velocity: Any) -> At:
    return lambda t: np.array(start, float) + np.array(velocity, float) * t


def stop_at(start: Any, velocity: Any, at: float, brake_s: float = 0.0, go_at: float = 1e9) -> At:
    """Steady, then evenly slower for brake_s from `at` on, then standing, then off again."""

    def way(t: float) -> np.ndarray:
        braking = min(max(t - at, 0), brake_s)
        moved = min(t, at) + (braking - braking**2 / (2 * brake_s) if brake_s else 0.0) + max(t - go_at, 0)
        return np.array(start, float) + np.array(velocity, float) * moved

    return way


def kinds(events: list[Event]) -> list[tuple[str, str]]:
    return [(str(event.kind), event.phase) for event in events]


def test_speeding_is_one_event_with_its_peak() -> None:
    """100 px/s, from 3 to 6 s 200 px/s, limit 150: the mean over 1 s passes it at 3.5 s, and is new every 1/8 s."""

    def way(t: float) -> np.ndarray:
        return np.array([100 + 100 * t + 100 * (min(max(t, 3), 6) - 3), 300])

    begin, end = Film({"max_speed": 150}).run(8, way).end()
    assert kinds([begin, end]) == [("speeding", "begin"), ("speeding", "end")]
    assert begin.event_id == end.event_id
    assert begin.rule == "gate"
    assert begin.values["limit"] == 150
    assert begin.values["unit"] == "px/s"
    assert 3.45 <= begin.start_s <= 3.5 + 1 / 8 + 1 / 30
    assert end.end_s == pytest.approx(6.55, abs=0.15)
    assert end.values["peak"] == pytest.approx(200, rel=1e-4)


@pytest.mark.parametrize("fps", [10, 30, 60])
def test_a_speed_at_the_limit_is_one_event(fps: float) -> None:
    """A motion 2 % above the limit, with noise of 1 px: up to 3 % of the speed, and events end 10 % below."""
    film = Film({"max_speed": 40})
    film.run(28, steady([40, 300], [40.8, 0]), fps=fps, noise_px=1)
    assert kinds(film.end()) == [("speeding", "begin"), ("speeding", "end")]


def test_slower_is_no_event() -> None:
    assert Film({"max_speed": 150}).run(8, steady([100, 300], [140, 0])).end() == []


def test_leaving_the_zone_ends_speeding() -> None:
    """The zone ends at x = 600, its band is 15 px: 200 px/s from x = 100 are outside after 2.6 s, told 1/8 s later."""
    left = ((0.0, 0.0), (600.0, 0.0), (600.0, 720.0), (0.0, 720.0))
    _, end = Film({"max_speed": 150}, left).run(5, steady([100, 300], [200, 0])).end()
    assert 515 / 200 <= end.end_s <= 515 / 200 + 1 / 30 + 1 / 8


def test_nothing_outside_the_zone() -> None:
    away = ((0.0, 500.0), (1280.0, 500.0), (1280.0, 720.0), (0.0, 720.0))
    film = Film({"max_speed": 50, "direction": EAST, "stopped_s": 1, "sudden_stop_from": 50}, away)
    assert film.run(8, steady([900, 300], [-90, 0]), stop_at([100, 200], [100, 0], 3)).end() == []


@pytest.mark.parametrize(
    ("to_deg", "wrong"), [(180, True), (125, True), (-125, True), (115, False), (90, False), (0, False)]
)
def test_wrong_is_what_is_near_the_opposite(to_deg: float, wrong: bool) -> None:
    """Tolerance 60: wrong from 120 degrees off on; motion across is neither right nor wrong."""
    way = 80 * np.array([np.cos(np.radians(to_deg)), np.sin(np.radians(to_deg))])
    events = Film({"direction": EAST}).run(4, steady([640, 360], way)).end()
    assert kinds(events) == ([("wrong_way", "begin"), ("wrong_way", "end")] if wrong else [])
    for event in events:
        assert event.values["heading_deg"] == pytest.approx(abs(to_deg), abs=0.1)
        assert event.values["speed"] == pytest.approx(80, rel=1e-3)
        assert event.start_s == pytest.approx(0.5, abs=0.05)


def test_what_is_slow_has_no_direction() -> None:
    """5 % of 720 px per second is 36 px/s."""
    assert Film({"direction": EAST}).run(4, steady([640, 360], [-33, 0])).end() == []
    assert Film({"direction": EAST}).run(4, steady([640, 360], [-39, 0])).end() != []
    assert Film({"direction": EAST, "min_speed": 10}).run(4, steady([640, 360], [-33, 0])).end() != []


def test_a_short_step_back_is_no_wrong_way() -> None:
    """0.6 s back shows for less than half a second in means over 1 s."""

    def way(t: float) -> np.ndarray:
        back = min(max(t - 3, 0), 0.6)
        return np.array([200 + 80 * (t - 2 * back), 300])

    assert Film({"direction": EAST}).run(8, way).end() == []


@pytest.mark.parametrize("fps", [5, 30])
def test_a_stand_is_told_once_it_has_lasted(fps: float) -> None:
    """Stands from 3 to 10 s. Means over 1 s show it up to a second late, and its end up to a second late too."""
    film = Film({"stopped_s": 4}).run(14, stop_at([100, 300], [80, 0], 3, go_at=10), fps=fps, noise_px=1)
    begin, end = film.end()
    assert kinds([begin, end]) == [("stopped", "begin"), ("stopped", "end")]
    assert 3 <= begin.start_s <= 4.05
    assert begin.frame / fps == pytest.approx(begin.start_s + 4, abs=max(1.5 / fps, 0.16))
    assert begin.values["threshold_s"] == 4
    assert begin.values["stopped_s"] == pytest.approx(4, abs=max(1.5 / fps, 0.16))
    assert 10 <= end.end_s <= 11
    assert end.values["stopped_s"] == pytest.approx(end.end_s - end.start_s)


def test_a_shorter_stand_is_none() -> None:
    assert Film({"stopped_s": 4}).run(14, stop_at([100, 300], [80, 0], 3, go_at=6)).end() == []


def test_a_parked_car_that_is_seen_now_and_then_stands_once() -> None:
    """Seen for 2 s of every 4: while nobody knows its speed, nothing is over."""
    film = Film({"stopped_s": 10}, forget_s=5.0)
    film.run(60, lambda t: np.array([400, 300]) if t % 4 < 2 else None)
    begin, end = film.end()
    assert begin.start_s == pytest.approx(0.5, abs=0.05)
    assert begin.values["stopped_s"] < 14
    assert end.end_s == pytest.approx(60, abs=2.1)


def test_an_object_that_vanishes_ends_its_stand_at_its_last_sighting() -> None:
    film = Film({"stopped_s": 2}, forget_s=3.0)
    film.run(20, lambda t: np.array([400, 300]) if t < 8 else None)
    assert kinds(film.events) == [("stopped", "begin"), ("stopped", "end")]
    assert film.events[1].end_s == pytest.approx(8, abs=0.05)
    assert film.end() == film.events


def test_ten_minutes_of_trembling_are_one_stand_and_nothing_else() -> None:
    """A box that trembles by 3 px stands; it has no direction, no speed to lose and no speed to exceed."""
    every = {"max_speed": 60, "direction": EAST, "stopped_s": 5, "sudden_stop_from": 60}
    film = Film(every).run(600, lambda t: np.array([400, 300]), fps=10, noise_px=3)
    assert kinds(film.end()) == [("stopped", "begin"), ("stopped", "end")]


@pytest.mark.parametrize("brake_s", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("fps", [10, 30])
def test_a_sudden_stop_is_told_once(brake_s: float, fps: float) -> None:
    film = Film({"sudden_stop_from": 60, "sudden_stop_s": 1.0})
    [event] = film.run(10, stop_at([100, 300], [120, 0], 3, brake_s), fps=fps, noise_px=1).end()
    assert event.kind is EventKind.SUDDEN_STOP
    assert event.phase == "instant"
    assert 3 + brake_s <= event.start_s <= 4.1 + brake_s
    assert event.values["from_speed"] == pytest.approx(120, rel=0.05)
    assert event.values["to_speed"] < 0.02 * 720


def test_a_gentle_stop_is_not_sudden() -> None:
    """From 120 px/s in 6 s: 3 s from 60 px/s to a stand."""
    assert Film({"sudden_stop_from": 60, "sudden_stop_s": 1.0}).run(14, stop_at([100, 300], [120, 0], 2, 6)).end() == []


def test_two_stops_are_two() -> None:
    def way(t: float) -> np.ndarray:
        return np.array([100 + 100 * (min(t, 3) + max(min(t, 10) - 7, 0)), 300])

    events = Film({"sudden_stop_from": 60}).run(14, way).end()
    assert [event.kind for event in events] == [EventKind.SUDDEN_STOP] * 2
    assert len({event.event_id for event in events}) == 2


def test_driving_out_of_the_picture_is_no_stop() -> None:
    """The box ends 8 px above the picture's edge for two seconds."""
    film = Film({"sudden_stop_from": 60, "stopped_s": 0.5})
    film.run(5, lambda t: np.array([600, min(500 + 100 * t, 712.0)]) if t < 4 else None)
    assert film.end() == []


def test_predicted_boxes_start_nothing() -> None:
    """The tracker moves on at 120 px/s what it lost; the object stood at 100 px/s below the limit."""
    film = Film({"max_speed": 110})
    way = lambda t: np.array([100 + 100 * min(t, 3) + 300 * max(t - 3, 0), 300])  # noqa: E731
    assert film.run(5, way, predicted=lambda t: t > 3).end() == []


def test_zones_have_their_own_limits_and_alarms() -> None:
    half = [
        ((0.0, 0.0), (640.0, 0.0), (640.0, 720.0), (0.0, 720.0)),
        ((640.0, 0.0), (1280.0, 0.0), (1280.0, 720.0), (640.0, 720.0)),
    ]
    zones = (
        ZoneConfig(name="left", polygon=half[0], motion=MotionConfig(max_speed=50)),
        ZoneConfig(name="quiet", polygon=EVERYWHERE),
        ZoneConfig(name="right", polygon=half[1], motion=MotionConfig(max_speed=150, stopped_s=2)),
    )
    film = Film({}, zones=zones).run(12, stop_at([100, 300], [100, 0], 8))
    assert [(e.rule, *kind) for e, kind in zip(film.end(), kinds(film.events), strict=True)] == [
        ("left", "speeding", "begin"),
        ("left", "speeding", "end"),
        ("right", "stopped", "begin"),
        ("right", "stopped", "end"),
    ]
    assert film.alarms[90] == [True, False, False]
    assert film.alarms[-1] == [False, False, True]
    assert not any(film.motion.alarms)


def test_objects_do_not_disturb_each_other() -> None:
    every = {"max_speed": 150, "direction": EAST, "stopped_s": 3, "sudden_stop_from": 60}
    ways = [steady([100, 100], [160, 0]), steady([1200, 200], [-80, 0]), stop_at([100, 300], [100, 0], 3)]
    alone = [event for way in ways for event in Film(every).run(7, way).end()]
    together = Film(every).run(7, *ways).end()
    told = lambda events: sorted((str(e.kind), e.start_s, e.end_s or -1) for e in events)  # noqa: E731
    assert told(together) == told(alone)
    assert {event.kind for event in alone} == {
        *(EventKind(k) for k in ("speeding", "wrong_way", "stopped", "sudden_stop"))
    }


def test_half_the_frames_tell_the_same() -> None:
    every = {"max_speed": 150, "direction": EAST, "stopped_s": 3, "sudden_stop_from": 60}
    ways = [steady([100, 100], [160, 0]), steady([1200, 200], [-80, 0]), stop_at([100, 300], [100, 0], 3)]
    whole, half = (Film(every).run(7, *ways, fps=fps, noise_px=1).end() for fps in (30, 15))
    order = lambda event: (event.kind, event.phase)  # noqa: E731
    assert sorted(kinds(whole)) == sorted(kinds(half))
    for a, b in zip(sorted(whole, key=order), sorted(half, key=order), strict=True):
        assert a.start_s == pytest.approx(b.start_s, abs=0.2)


PLANE = GroundPlaneConfig(  # 1 m is 20 px to the right and 60 px down
    image=((100, 100), (1100, 100), (1100, 700), (100, 700)), world_m=((0, 0), (50, 0), (50, 10), (0, 10))
)


def test_on_a_ground_plane_limits_are_km_per_h() -> None:
    """200 px/s to the right are 10 m/s, 36 km/h."""
    events = Film({"max_speed": 30}, ground_plane=PLANE).run(4, steady([150, 300], [200, 0])).end()
    assert events[-1].values == {"limit": 30, "peak": pytest.approx(36, rel=1e-3), "unit": "km/h"}
    assert Film({"max_speed": 40}, ground_plane=PLANE).run(4, steady([150, 300], [200, 0])).end() == []


def test_on_a_ground_plane_directions_are_compared_on_the_ground() -> None:
    """(-60, 120) px/s is 117 degrees off east in the picture, but (-3, 2) m/s, 146 degrees, on the ground."""
    way = steady([700, 150], [-60, 120])
    [begin, _] = Film({"direction": EAST}, ground_plane=PLANE).run(4, way).end()
    assert begin.values["heading_deg"] == pytest.approx(146.3, abs=0.2)
    assert Film({"direction": EAST}).run(4, way).end() == []


def test_a_direction_in_the_sky_is_refused() -> None:
    plane = GroundPlaneConfig(
        image=((100, 700), (1100, 700), (700, 400), (500, 400)), world_m=((0, 0), (10, 0), (10, 40), (0, 40))
    )
    with pytest.raises(ConfigError, match=r"zone 'gate': .* above the horizon"):
        Film({"direction": ((600, 600), (600, 100))}, ground_plane=plane)


@pytest.mark.parametrize(
    ("motion", "plane", "says"),
    [
        ({"direction": (EAST[0], EAST[0])}, None, r"zones\.gate\.motion\.direction: wanted two points"),
        (
            {"sudden_stop_from": 5, "stopped_speed": 6},
            None,
            r"sudden_stop_from: wanted more than stopped_speed 6, found 5",
        ),
        ({"sudden_stop_from": 0.5}, PLANE, r"sudden_stop_from: wanted more than stopped_speed 1, found 0\.5"),
    ],
)
def test_motion_that_cannot_be_is_refused(motion: Any, plane: Any, says: str) -> None:
    zone = ZoneConfig(name="gate", polygon=EVERYWHERE, motion=MotionConfig(**motion))
    with pytest.raises(ConfigError, match=says):
        check_motion(zone, plane, "zones.gate")
    check_motion(ZoneConfig(name="gate", polygon=EVERYWHERE), plane, "zones.gate")


def test_without_motion_rules_nothing_is_worked_out() -> None:
    film = Film({}, zones=(ZoneConfig(name="gate", polygon=EVERYWHERE),)).run(2, steady([100, 300], [100, 0]))
    assert film.end() == []
    assert film.motion.alarms.tolist() == [False]
    assert len(film.motion.speeds.speed) == 0
