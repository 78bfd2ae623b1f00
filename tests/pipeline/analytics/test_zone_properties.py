"""What holds of zones whatever walks through them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.analytics.config import StitchConfig, ZoneConfig
from pipeline.core.event import Event, EventKind

UNSTITCHED = StitchConfig(enabled=False)
SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ZONES = (
    ZoneConfig(name="all-rules", polygon=((100, 100), (500, 80), (520, 400), (90, 420)), loiter_s=1.0, crowd=2,
               crowd_s=0.3, empty_s=0.5, grace_s=0.4),
    ZoneConfig(name="slow", polygon=((300, 200), (700, 200), (700, 600), (300, 600)), min_visit_s=0.5, grace_s=0.2),
    ZoneConfig(name="strict", polygon=((0, 0), (640, 360), (0, 700)), band_px=0.0, grace_s=0.0, crowd=1, crowd_s=0.0),
    ZoneConfig(name="cars", polygon=((100, 100), (900, 100), (900, 600)), classes=("car",), empty_s=0.2),
)  # fmt: skip

Walk = list[tuple[float, dict[int, tuple[float, float]]]]
"""Seconds and where each id stands."""


@st.composite
def walks(draw: st.DrawFn) -> Walk:
    """Up to six who roam, vanish and come back, at an uneven pace."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, speed, shown = draw(st.integers(1, 6)), draw(st.sampled_from([5, 40, 150])), draw(st.sampled_from([0.5, 0.9, 1]))
    place, heading = rng.uniform([0, 80], [1280, 720], (n, 2)), rng.normal(0, 1, (n, 2))
    time_s, walk = 0.0, []
    for _ in range(draw(st.integers(1, 80))):
        heading = 0.9 * heading + rng.normal(0, 0.5, (n, 2))
        place = np.clip(place + speed * heading, [0, 80], [1280, 720])
        walk.append((time_s, {i + 1: tuple(place[i].tolist()) for i in range(n) if rng.random() < shown}))
        time_s += float(rng.choice([0.04, 0.1, 0.1, 0.1, 0.7, 7.0], p=[0.2, 0.25, 0.25, 0.24, 0.05, 0.01]))
    return walk


def _kinds(events: list[Event]) -> list[tuple[object, ...]]:
    return sorted(
        (e.event_id, e.phase, e.rule, e.start_s, e.end_s or -1.0, e.frame, e.track_ids, sorted(e.values.items()))
        for e in events
    )


@SOME
@given(walk=walks(), stitch=st.booleans())
def test_enters_minus_exits_are_there_and_each_beginning_ends_once(
    watch_zones: Callable[..., object], walk: Walk, stitch: bool
) -> None:
    watched = watch_zones(*ZONES, forget_s=2.0, stitch=StitchConfig(enabled=stitch))
    zones, going_on, told = watched.zones, Counter(), Counter()
    for time_s, places in walk:
        for event in watched.at(time_s, places):
            assert event.start_s <= time_s
            assert event.end_s is None or event.start_s <= event.end_s <= time_s
            if event.kind is EventKind.VISIT:
                begins = event.phase == "begin"
                going_on[event.rule] += 1 if begins else -1
                told[event.rule] += begins
        occupancy = dict(zip([zone.name for zone in ZONES], zones.occupancy.tolist(), strict=True))
        for zone in ZONES:
            if zone.min_visit_s:
                assert 0 <= going_on[zone.name] <= occupancy[zone.name]
            else:
                assert going_on[zone.name] == occupancy[zone.name]
        assert zones.visits.tolist() == [told[zone.name] for zone in ZONES]
        assert zones.inside.sum(axis=0).tolist() == zones.occupancy.tolist()
    events = watched.finish()
    begins = [e.event_id for e in events if e.phase == "begin"]
    ends = [e.event_id for e in events if e.phase == "end"]
    assert len(set(begins)) == len(begins)
    assert sorted(begins) == sorted(ends)
    start_of = {e.event_id: e.start_s for e in events if e.phase == "begin"}
    assert all(start_of[e.event_id] == e.start_s for e in events if e.phase == "end")


@SOME
@given(walk=walks())
def test_dwell_adds_up(watch_zones: Callable[..., object], walk: Walk) -> None:
    watched = watch_zones(*ZONES, forget_s=1e3, stitch=UNSTITCHED)
    for time_s, places in walk:
        watched.at(time_s, places)
    sums: Counter[tuple[str, int]] = Counter()
    numbers: Counter[tuple[str, int]] = Counter()
    for event in watched.finish():
        if event.kind is EventKind.VISIT and event.phase == "end":
            key = event.rule, event.track_ids[0]
            sums[key] += event.values["dwell_s"]
            numbers[key] += 1
            assert event.values["dwell_s"] == event.end_s - event.start_s
            assert event.values["object_dwell_s"] == pytest.approx(sums[key])
            assert event.values["visit"] == numbers[key]


@SOME
@given(walk=walks(), seed=st.integers(0, 1000))
def test_the_order_of_objects_means_nothing(watch_zones: Callable[..., object], walk: Walk, seed: int) -> None:
    rng = np.random.default_rng(seed)
    told = []
    for shuffle in (False, True):
        watched = watch_zones(*ZONES, forget_s=2.0)
        for time_s, places in walk:
            ids = rng.permutation(list(places)).tolist() if shuffle else list(places)
            watched.at(time_s, {i: places[i] for i in ids})
        told.append(watched.finish())
    crowds = [
        [(*row[:6], *map(sorted, row[6:])) for row in _kinds(events)] for events in told
    ]  # ids in a crowd come in no order
    assert crowds[0] == crowds[1]


@SOME
@given(walk=walks())
def test_zones_do_not_know_of_one_another(watch_zones: Callable[..., object], walk: Walk) -> None:
    def events_of(*zones: ZoneConfig) -> list[Event]:
        watched = watch_zones(*zones, forget_s=2.0)
        for time_s, places in walk:
            watched.at(time_s, places)
        return watched.finish()

    together = events_of(*ZONES)
    for zone in ZONES:
        assert _kinds(events_of(zone)) == _kinds([event for event in together if event.rule == zone.name])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_jitter_at_the_edge_is_one_visit_at_most(watch_zones: Callable[..., object], seed: int, noise: str) -> None:
    """A thousand frames at 30 per second on a zone's edges and corners, 5 px of noise in x and y.

    Uniform: up to 5 px. Normal: standard deviation.
    """
    rng = np.random.default_rng(seed)
    edge = ZoneConfig(name="a", polygon=((200, 200), (600, 200), (600, 500), (200, 500)))
    spots = {1: (200, 350), 2: (600, 350), 3: (400, 200), 4: (400, 500), 5: (200, 200), 6: (600, 500), 7: (601, 501)}
    watched = watch_zones(edge, stitch=UNSTITCHED)
    for i in range(1000):
        by = rng.uniform(-5, 5, (8, 2)) if noise == "uniform" else rng.normal(0, 5, (8, 2))
        watched.at(i / 30, {track_id: (x + by[track_id, 0], y + by[track_id, 1]) for track_id, (x, y) in spots.items()})
    visits = Counter(e.track_ids[0] for e in watched.finish() if e.phase == "end")
    assert set(visits) == set(spots)
    assert max(visits.values()) == 1


@pytest.mark.parametrize("fps", [10, 30])
@pytest.mark.parametrize("seed", range(6))
def test_half_the_frame_rate_changes_little(watch_zones: Callable[..., object], seed: int, fps: int) -> None:
    """Walkers who are always seen. h is the interval of the halved rate.

    A visit that is found at half the rate begins up to h / 2 later and ends up to h / 2 earlier. Not found are stays
    shorter than h; and two visits become one where the walker was beyond the band for less than 2 h + 0.05 s between
    them.
    """
    rng = np.random.default_rng(seed)
    corners = ((300, 150), (900, 250), (800, 650), (350, 500))
    outline = shapely.Polygon(corners)
    n, h, seconds = 8, 2 / fps, 40
    turns = np.repeat(rng.normal(0, 150, (seconds // 2, n, 2)), 2 * fps, axis=0)
    path = rng.uniform([200, 200], [1000, 600], (n, 2)) + np.cumsum(turns / fps, axis=0)
    path = np.abs((path - np.array([40, 80])) % [2400, 1280] - [1200, 640]) + np.array(
        [40, 80]
    )  # they turn round at the picture's edges
    visits = []
    for every in (1, 2):
        watched = watch_zones(ZoneConfig(name="a", polygon=corners), stitch=UNSTITCHED)
        for i in range(0, len(path), every):
            watched.at(i / fps, {k + 1: tuple(path[i, k].tolist()) for k in range(n)})
        ends = [e for e in watched.finish() if e.phase == "end"]
        visits.append(sorted((e.track_ids[0], e.start_s, e.end_s) for e in ends))
    full, half = visits
    tiny = 1e-9
    assert len(half) > 15
    for track_id, start_s, end_s in half:
        parts = [(a, b) for i, a, b in full if i == track_id and b >= start_s - tiny and a <= end_s + tiny]
        assert parts
        assert -tiny <= start_s - parts[0][0] <= h / 2 + tiny
        assert -tiny <= parts[-1][1] - end_s <= h / 2 + tiny
        for (_, left_s), (back_s, _) in itertools.pairwise(parts):
            between = path[round(left_s * fps) : round(back_s * fps), track_id - 1]
            assert (shapely.distance(outline, shapely.points(between)) > 15).sum() / fps < 2 * h + 0.05
    for track_id, a, b in full:
        found = any(i == track_id and start_s <= b + tiny and end_s >= a - tiny for i, start_s, end_s in half)
        assert found or b - a < h - tiny
