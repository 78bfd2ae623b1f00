"""Crowds, emptiness, and how many are there."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.analytics.config import ZoneConfig
from pipeline.core.event import Event, EventKind

SQUARE = ((100.0, 100.0), (300.0, 100.0), (300.0, 300.0), (100.0, 300.0))


def _counts(watched: object, counts: list[int], dt_s: float = 0.5) -> list[Event]:
    """So many objects inside at each frame; the others stand outside."""
    for number, n in enumerate(counts):
        watched.at(number * dt_s, {i + 1: (150.0 + 10 * i, 200.0 if i < n else 500.0) for i in range(max(counts))})
        assert watched.zones.occupancy.tolist() == [n]
    return watched.finish()


def _spans(events: list[Event], kind: EventKind) -> list[tuple[float, float, int]]:
    """Start, end, and the frame that told the beginning; each beginning has its end."""
    begins = {e.event_id: e for e in events if e.kind is kind and e.phase == "begin"}
    ends = {e.event_id: e for e in events if e.kind is kind and e.phase == "end"}
    assert begins.keys() == ends.keys()
    assert all(begins[i].start_s == ends[i].start_s for i in begins)
    return [(e.start_s, e.end_s, begins[e.event_id].frame) for e in ends.values()]


@pytest.mark.parametrize(
    ("counts", "crowds"),
    [
        ([0, 2, 2, 2, 2, 0], []),  # no more than it allows
        ([0, 3, 3, 0, 0, 0], []),  # 1 s is not reached: the last frame above is 0.5 s after the first
        ([0, 3, 3, 3, 0, 0, 0, 0], [(0.5, 2.0, 3)]),
        ([3, 3, 2, 3, 3, 2, 0], []),  # a break starts it anew
        ([3, 3, 3, 2, 3, 2, 2, 2], [(0.0, 2.5, 2)]),  # a break of less than crowd_s doesn't end it
        ([3, 3, 3, 2, 2, 2, 3, 3, 3], [(0.0, 1.5, 2), (3.0, 4.0, 8)]),
        ([3, 4, 5, 4, 3], [(0.0, 2.0, 2)]),  # the source ends
        ([3, 3, 3, 3, 1], [(0.0, 2.0, 2)]),  # the source ends within the break
    ],
)
def test_crowding(
    watch_zones: Callable[..., object], counts: list[int], crowds: list[tuple[float, float, int]]
) -> None:
    events = _counts(watch_zones(ZoneConfig(name="hall", polygon=SQUARE, crowd=2, crowd_s=1.0)), counts)
    assert _spans(events, EventKind.CROWDING) == crowds


def test_what_a_crowd_says(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="hall", polygon=SQUARE, crowd=2, crowd_s=1.0))
    events = _counts(watched, [3, 3, 4, 5, 3, 1, 1, 1])
    begin, end = [e for e in events if e.kind is EventKind.CROWDING]
    assert begin.values == {"threshold": 2, "peak": 4}
    assert begin.track_ids == (1, 2, 3, 4)
    assert end.values == {"threshold": 2, "peak": 5}
    assert end.track_ids == (1,)
    assert (begin.box, begin.class_id, begin.class_name) == (None, -1, "")
    assert (end.start_s, end.end_s, end.captured_ns) == (0.0, 2.5, 0)


def test_without_a_delay_a_crowd_is_told_at_once(watch_zones: Callable[..., object]) -> None:
    events = _counts(watch_zones(ZoneConfig(name="hall", polygon=SQUARE, crowd=1, crowd_s=0.0)), [1, 2, 1, 2, 1])
    assert _spans(events, EventKind.CROWDING) == [(0.5, 1.0, 1), (1.5, 2.0, 3)]


@pytest.mark.parametrize(
    ("counts", "empty"),
    [
        ([0, 0, 0, 1], []),  # 1 s is not longer than 1 s
        ([0, 0, 0, 0, 1, 1], [(0.0, 2.0, 3)]),
        ([1, 1, 0, 0, 1], []),
        ([1, 1, 0, 0, 0, 0, 1], [(0.5, 3.0, 4)]),  # since the last sighting inside
        ([1, 0, 0, 0, 0], [(0.0, 2.0, 3)]),  # the source ends
        ([0, 0, 0, 0, 1, 0, 0, 0, 1], [(0.0, 2.0, 3), (2.0, 4.0, 7)]),
    ],
)
def test_emptiness(
    watch_zones: Callable[..., object], counts: list[int], empty: list[tuple[float, float, int]]
) -> None:
    events = _counts(watch_zones(ZoneConfig(name="desk", polygon=SQUARE, empty_s=1.0)), counts)
    assert _spans(events, EventKind.EMPTY) == empty


def test_time_passes_without_any_object(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="desk", polygon=SQUARE, empty_s=10.0))
    told = [watched.at(float(i), {}) for i in range(12)]
    assert [len(events) for events in told] == [0] * 11 + [1]
    [begin] = told[11]
    assert (begin.start_s, begin.values, begin.track_ids) == (0.0, {"threshold_s": 10.0, "empty_s": 11.0}, ())
    assert watched.zones.alarms.tolist() == [True]
    [end, enter] = sorted(watched.at(20.0, {1: (200.0, 200.0)}), key=lambda event: event.kind)
    assert (end.kind, end.end_s, end.values["empty_s"]) == (EventKind.EMPTY, 20.0, 20.0)
    assert enter.kind is EventKind.VISIT
    assert watched.zones.alarms.tolist() == [False]


def test_who_is_out_of_sight_for_a_moment_still_counts(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="desk", polygon=SQUARE, grace_s=1.0, empty_s=0.1))
    inside = (200.0, 200.0)
    assert [e.kind for e in watched.at(0.0, {1: inside})] == [EventKind.VISIT]
    assert watched.at(1.0, {}) == []
    assert watched.zones.occupancy.tolist() == [1]
    exit_, empty = watched.at(1.1, {})
    assert (exit_.kind, exit_.end_s) == (EventKind.VISIT, 0.0)
    assert (empty.kind, empty.start_s) == (EventKind.EMPTY, 0.0)
    assert watched.zones.occupancy.tolist() == [0]


def test_a_live_source_that_starts_late_is_not_empty_since_zero(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="desk", polygon=SQUARE, empty_s=5.0))
    assert watched.at(5_000.0, {}) == []
    [begin] = watched.at(5_006.0, {})
    assert (begin.start_s, begin.captured_ns) == (5_000.0, 5_000_000_000_000)
