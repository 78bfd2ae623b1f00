"""Enter, exit, dwell, loitering: one visitor and a clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.analytics.config import ZoneConfig
from pipeline.core.event import Event, EventKind

SQUARE = ((100.0, 100.0), (300.0, 100.0), (300.0, 300.0), (100.0, 300.0))
I, B, F, O = (200.0, 200.0), (310.0, 200.0), (330.0, 200.0), (350.0, 200.0)  # noqa: E741
WHERE = {"i": I, "b": B, "f": F, "o": O}


def _visits(events: list[Event]) -> list[tuple[float, float]]:
    return [(e.start_s, e.end_s) for e in events if e.kind is EventKind.VISIT and e.end_s is not None]


def _walk(watched: object, steps: str, dt_s: float = 0.5) -> list[Event]:
    """One letter per frame: i inside, b in the band of 20 px, f beyond it, o beyond twice the band, - not seen."""
    for number, step in enumerate(steps):
        watched.at(number * dt_s, {1: WHERE[step]} if step in WHERE else {})
    return watched.finish()


@pytest.mark.parametrize(
    ("steps", "visits"),
    [
        ("ooo", []),
        ("iio", [(0.0, 0.5)]),
        ("oiiiio", [(0.5, 2.0)]),
        ("oi", [(0.5, 0.5)]),
        ("oboboo", []),  # the band is no way in
        ("oibbio", [(0.5, 2.0)]),  # and no way out
        ("oibbbo", [(0.5, 0.5)]),  # the end is the last sighting inside
        ("oioio", [(0.5, 0.5), (1.5, 1.5)]),
        ("oififbfio", [(0.5, 3.5)]),  # nor is one sighting beyond it
        ("oiffio", [(0.5, 0.5), (2.0, 2.0)]),  # two are, 0.05 s or more apart
        ("oif-fio", [(0.5, 0.5), (2.5, 2.5)]),
        ("oii--iio", [(0.5, 3.0)]),  # unseen for 1 s = grace_s: goes on
        ("oii---iio", [(0.5, 1.0), (3.0, 3.5)]),  # unseen for 1.5 s and more: two visits
        ("oii-o", [(0.5, 1.0)]),
        ("oib---", [(0.5, 0.5)]),
        ("oii", [(0.5, 1.0)]),  # the end of the source
        ("oi-", [(0.5, 0.5)]),
        ("---i", [(1.5, 1.5)]),
    ],
)
def test_enter_and_exit(watch_zones: Callable[..., object], steps: str, visits: list[tuple[float, float]]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, band_px=20.0, grace_s=1.0))
    events = _walk(watched, steps)
    assert _visits(events) == visits
    assert watched.zones.visits.tolist() == [len(visits)]


def test_a_short_time_beyond_the_band_is_no_exit(watch_zones: Callable[..., object]) -> None:
    """At 25 frames per second, two sightings span 0.04 s and three span 0.08 s."""
    for steps, visits in (("iffiffbffio", [(0.0, 0.36)]), ("ifffio", [(0.0, 0.0), (0.16, 0.16)])):
        watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, band_px=20.0))
        assert _visits(_walk(watched, steps, dt_s=0.04)) == visits


def test_slow_sources_break_no_visit(watch_zones: Callable[..., object]) -> None:
    """A frame every 4 s shows the visitor each time: nothing was missed, whatever the grace time."""
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, grace_s=1.0))
    assert _visits(_walk(watched, "iiiio", dt_s=4.0)) == [(0.0, 12.0)]


def test_a_forgotten_object_has_left(watch_zones: Callable[..., object]) -> None:
    """Longer than forget_s between two frames: the same id is a new object, with a first visit of its own."""
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, grace_s=60.0), forget_s=2.0)
    watched.at(0.0, {1: I})
    watched.at(1.0, {1: I})
    end, begin = watched.at(9.0, {1: I})
    assert (end.phase, end.start_s, end.end_s, end.track_ids) == ("end", 0.0, 1.0, (1,))
    assert (begin.phase, begin.start_s, begin.values["visit"]) == ("begin", 9.0, 1)
    assert end.event_id != begin.event_id
    assert watched.zones.occupancy.tolist() == [1]


def test_a_forgotten_slot_serves_another_in_the_same_frame(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, grace_s=60.0), forget_s=2.0)
    watched.at(0.0, {1: I, 2: I})
    told = watched.at(9.0, {3: I, 4: O})
    assert sorted((e.phase, e.track_ids) for e in told) == [("begin", (3,)), ("end", (1,)), ("end", (2,))]


def test_what_a_visit_says(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, band_px=20.0), source_id="gate")
    [begin, end, again, last] = _walk(watched, "oiiio" + "iio")
    assert (begin.kind, begin.phase, begin.rule, begin.source_id) == (EventKind.VISIT, "begin", "door", "gate")
    assert (begin.start_s, begin.end_s, begin.frame, begin.captured_ns) == (0.5, None, 1, 500_000_000)
    assert (begin.track_ids, begin.class_name, begin.box) == ((1,), "person", (180.0, 120.0, 220.0, 200.0))
    assert begin.values == {"visit": 1}
    assert (begin.snapshot, begin.clip) == ("", "")
    assert (end.event_id, end.phase, end.start_s, end.end_s, end.frame) == (begin.event_id, "end", 0.5, 1.5, 4)
    assert end.captured_ns == begin.captured_ns
    assert end.values == {"dwell_s": 1.0, "object_dwell_s": 1.0, "visit": 1}
    assert again.event_id != begin.event_id
    assert last.values == {"dwell_s": 0.5, "object_dwell_s": 1.5, "visit": 2}


def test_a_prediction_says_so(
    watch_zones: Callable[..., object], make_frame: Callable[..., object], make_tracks: Callable[..., object]
) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE))
    [begin] = watched.see(make_frame(0, 0.0), make_tracks([1], [I], predicted=True), 0.0)
    assert begin.predicted


def test_overlapping_zones_are_told_each(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="a", polygon=SQUARE), ZoneConfig(name="b", polygon=SQUARE))
    assert [(e.rule, e.phase) for e in _walk(watched, "io")] == [
        ("a", "begin"),
        ("b", "begin"),
        ("a", "end"),
        ("b", "end"),
    ]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ("oiio", []),  # 0.5 s
        ("oiiio", [(0.5, None, 3), (0.5, 1.5, 4)]),  # 1 s: begun once it has lasted so long, dated back
        ("oibbbio", [(0.5, None, 5), (0.5, 2.5, 6)]),  # the band counts once it is inside again
        ("oibbbbo", []),
        ("oi--i--o", [(0.5, None, 4), (0.5, 2.0, 7)]),
        ("ioioioio", []),  # short stays don't add up
    ],
)
def test_short_stays_are_no_visits(watch_zones: Callable[..., object], steps: str, told: list[object]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, band_px=20.0, min_visit_s=1.0))
    events = _walk(watched, steps)
    assert [(e.start_s, e.end_s, e.frame) for e in events] == told
    assert watched.zones.visits.tolist() == [len(told) // 2]
    assert watched.zones.summary()["door"]["occupancy_max"] == 1.0


@pytest.mark.parametrize(
    ("steps", "loitering"),
    [
        ("oiiiio", []),  # 1.5 s
        ("oiiiiio", [(2.5, 2.5)]),
        ("oiiiiiiio", [(2.5, 3.5)]),
        ("oiiibbbbo", []),  # not seen inside after 2 s
        ("oiiibbbio", [(4 * 0.5 + 1.5, 3.5)]),
        ("oii--ii--", [(2.5, 3.0)]),
        ("oiiiiiii", [(2.5, 3.5)]),
    ],
)
def test_loitering(watch_zones: Callable[..., object], steps: str, loitering: list[tuple[float, float]]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, band_px=20.0, loiter_s=2.0))
    told = [e for e in _walk(watched, steps) if e.kind is EventKind.LOITERING]
    assert [(e.start_s, e.end_s) for e in told if e.phase == "end"] == loitering
    assert len(told) == 2 * len(loitering)
    for begin, end in zip(told[::2], told[1::2], strict=True):
        assert begin.event_id == end.event_id
        assert begin.start_s == begin.frame * 0.5
        assert begin.values == {"threshold_s": 2.0, "dwell_s": begin.start_s - 0.5}
        assert end.values == {"threshold_s": 2.0, "dwell_s": end.end_s - 0.5}


def test_loitering_is_never_told_of_what_is_no_visit_yet(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE, loiter_s=1.0, min_visit_s=2.0))
    told = [(e.kind, e.phase, e.start_s, e.frame) for e in _walk(watched, "iiiiio")]
    assert told[:2] == [(EventKind.VISIT, "begin", 0.0, 4), (EventKind.LOITERING, "begin", 2.0, 4)]


@pytest.mark.parametrize(("last", "ids"), [(3, (1, 2, 3)), (1, (1, 2))], ids=["third", "first-again"])
def test_a_stitched_object_goes_on_visiting(
    watch_zones: Callable[..., object], last: int, ids: tuple[int, ...]
) -> None:
    """Its ids are one object, as their boxes fit: one visit, one id of the event."""
    watched = watch_zones(ZoneConfig(name="door", polygon=SQUARE))
    for number, track_id in enumerate([1, 1, 1, None, 2, 2, 2, None, last, last, last]):
        watched.at(number / 10, {} if track_id is None else {track_id: I})
    begin, end = watched.finish()
    assert begin.event_id == end.event_id
    assert (end.start_s, end.end_s) == (0.0, 1.0)
    assert (begin.track_ids, end.track_ids) == ((1,), ids)
