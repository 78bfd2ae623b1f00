"""Points in polygons, and what zones tell of themselves."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analytics.config import StitchConfig, ZoneConfig
from pipeline.analytics.durations import Durations
from pipeline.analytics.polygons import Polygons
from pipeline.analytics.view import Rule
from pipeline.core.errors import ConfigError, UsageError
from pipeline.core.event import Event, EventKind

SQUARE = ((100.0, 100.0), (300.0, 100.0), (300.0, 300.0), (100.0, 300.0))
IN, EDGE, OUT = (200.0, 200.0), (305.0, 200.0), (400.0, 200.0)


def _inside(corners: object, x: float, y: float) -> bool:
    return bool(Polygons([np.array(corners, float)]).contain(np.array([[x, y]]))[0, 0])


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [
        (200, 200, True),
        (100, 200, True),
        (300, 200, False),
        (200, 100, True),
        (200, 300, False),
        (100, 100, True),
        (300, 100, False),
        (100, 300, False),
        (300, 300, False),
        (99.999, 200, False),
        (299.999, 299.999, True),
    ],
)
@pytest.mark.parametrize("way", [1, -1], ids=["clockwise", "counter-clockwise"])
def test_left_and_upper_edges_belong_to_a_polygon(x: float, y: float, inside: bool, way: int) -> None:
    assert _inside(SQUARE[::way], x, y) is inside


def test_even_odd_leaves_a_hole() -> None:
    ring = [(0, 0), (90, 0), (90, 90), (0, 90), (0, 0), (30, 30), (60, 30), (60, 60), (30, 60), (30, 30)]
    assert _inside(ring, 15, 45)
    assert not _inside(ring, 45, 45)


@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=9),
    st.lists(st.floats(0.05, 0.95), min_size=1, max_size=5),
)
def test_a_point_on_a_shared_edge_lies_in_exactly_one(around: list[tuple[float, float]], shares: list[float]) -> None:
    """A fan of triangles around a convex outline: points on the spokes, also as rounded, lie in one triangle."""
    hull = shapely.MultiPoint(around).convex_hull
    if hull.geom_type != "Polygon" or hull.area < 1:
        return
    outline = np.array(hull.exterior.coords)[:-1]
    centre = np.array(hull.centroid.coords[0])
    fan = Polygons([np.array([centre, a, b]) for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True)])
    points = np.array([centre + share * (corner - centre) for corner in outline for share in shares])
    assert (fan.contain(points).sum(axis=1) == 1).all()


def test_a_grid_of_zones_covers_every_point_once() -> None:
    tiles = [
        np.array([(x, y), (x + 10, y), (x + 10, y + 10), (x, y + 10)], float)[:: 1 if (x + y) % 20 else -1]
        for x in range(0, 50, 10)
        for y in range(0, 50, 10)
    ]
    points = np.stack(np.meshgrid(np.arange(0, 50, 2.5), np.arange(0, 50, 2.5)), axis=-1).reshape(-1, 2)
    assert (Polygons(tiles).contain(points).sum(axis=1) == 1).all()


def test_inside_and_distance_are_opencvs_and_shapelys() -> None:
    rng = np.random.default_rng(3)
    corners = [rng.uniform(0, 500, (n, 2)).astype(np.float32).astype(float) for n in (3, 4, 7, 12)]
    points = rng.uniform(-50, 550, (300, 2))
    polygons = Polygons(corners)
    inside = polygons.contain(points)
    for number, polygon in enumerate(corners):
        contour = polygon.astype(np.float32).reshape(-1, 1, 2)
        expected = [cv2.pointPolygonTest(contour, point, False) > 0 for point in points.tolist()]
        assert inside[:, number].tolist() == expected
        found = polygons.distance(points, np.full(len(points), number))
        ring = shapely.LinearRing(polygon)
        assert np.allclose(found, shapely.distance(ring, shapely.points(points)), atol=1e-9)


def test_no_points_and_no_polygons() -> None:
    assert Polygons([]).contain(np.zeros((3, 2))).shape == (3, 0)
    assert Polygons([np.array(SQUARE)]).contain(np.zeros((0, 2))).shape == (0, 1)


def test_corners_that_stand_twice_are_no_harm() -> None:
    doubled = [corner for corner in SQUARE for _ in range(2)]
    assert _inside(doubled, 200, 200)
    polygons = Polygons([np.array(doubled)])
    assert polygons.distance(np.array([[400.0, 200.0]]), np.array([0])).tolist() == [100.0]


def test_zones_are_a_rule_and_tell_how_things_stand(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="a", polygon=SQUARE), ZoneConfig(name="b", polygon=SQUARE, loiter_s=2.0))
    zones = watched.zones
    rule: Rule = zones
    assert rule is zones
    watched.at(0.0, {1: IN, 2: OUT})
    slots = {ids: slot for slot in range(2) for ids in watched.objects.track_ids(slot)}
    assert zones.occupancy.tolist() == [1, 1]
    assert zones.visits.tolist() == [1, 1]
    assert zones.inside[slots[1]].all()
    assert not zones.inside[slots[2]].any()
    watched.at(2.0, {1: IN, 2: OUT})
    assert zones.alarms.tolist() == [False, True]
    assert zones.dwell_s(np.array([slots[1]])).tolist() == [[2.0, 2.0]]
    assert not zones.dwell_s(np.array([slots[2]])).any()
    watched.finish()
    assert zones.occupancy.tolist() == [0, 0]
    assert zones.alarms.tolist() == [False, False]
    assert not zones.inside.any()


def test_fractions_and_pixels_lay_the_same_zone(watch_zones: Callable[..., object]) -> None:
    fractions = tuple((x / 1280, y / 720) for x, y in SQUARE)
    for units, polygon in (("px", SQUARE), ("fraction", fractions)):
        watched = watch_zones(ZoneConfig(name="a", polygon=polygon), units=units)
        assert np.allclose(watched.zones.polygons_px[0], SQUARE)
        watched.at(0.0, {1: (101.0, 101.0), 2: (301.0, 200.0)})
        assert watched.zones.occupancy.tolist() == [1]


def test_a_picture_of_another_size_keeps_visits(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="a", polygon=((0, 0), (0.5, 0), (0.5, 1), (0, 1))), units="fraction")
    watched.at(0.0, {1: (600.0, 500.0)})
    watched.zones.place((360, 640))
    watched.shape_hw = (360, 640)
    assert watched.at(1.0, {1: (300.0, 250.0)}) == []
    [end] = watched.at(2.0, {1: (360.0, 250.0)})
    assert (end.kind, end.start_s, end.end_s) == (EventKind.VISIT, 0.0, 1.0)


def test_a_zone_outside_the_picture_is_refused(watch_zones: Callable[..., object]) -> None:
    with pytest.raises(UsageError, match="'a': wanted points inside the picture"):
        watch_zones(ZoneConfig(name="a", polygon=((0, 0), (2000, 0), (2000, 100))))


def test_only_its_classes_enter_and_a_visit_outlasts_a_change_of_class(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(
        ZoneConfig(name="cars", polygon=SQUARE, classes=("car",)),
        ZoneConfig(name="both", polygon=SQUARE, classes=("car", "person")),
        ZoneConfig(name="all", polygon=SQUARE),
    )
    assert [event.rule for event in watched.at(0.0, {1: IN})] == ["both", "all"]
    assert [event.rule for event in watched.at(0.1, {1: IN}, class_id=1)] == []
    [enter] = watched.at(0.2, {1: IN}, class_id=1)
    assert (enter.rule, enter.class_name) == ("cars", "car")
    for i in range(3, 9):
        assert watched.at(i / 10, {1: IN}, class_id=0) == []
    ends = watched.at(1.0, {1: OUT})
    assert {(event.rule, event.phase) for event in ends} == {("cars", "end"), ("both", "end"), ("all", "end")}


def test_a_class_without_a_name_enters_zones_for_all(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(
        ZoneConfig(name="cars", polygon=SQUARE, classes=("car",)), ZoneConfig(name="all", polygon=SQUARE)
    )
    assert [event.rule for event in watched.at(0.0, {1: IN}, class_id=77)] == ["all"]


def test_an_unknown_class_is_refused(watch_zones: Callable[..., object]) -> None:
    with pytest.raises(ConfigError, match="did you mean 'car'"):
        watch_zones(ZoneConfig(name="a", polygon=SQUARE, classes=("cra",)))


def test_no_zones_and_no_frames(watch_zones: Callable[..., object]) -> None:
    nothing = watch_zones()
    assert nothing.at(0.0, {1: IN}) == []
    assert nothing.finish() == []
    assert nothing.zones.summary() == {}
    unseen = watch_zones(ZoneConfig(name="a", polygon=SQUARE, empty_s=1.0, crowd=1))
    assert unseen.finish() == []
    assert unseen.zones.summary() == {"a": {"occupancy_mean": 0.0, "occupancy_max": 0.0, "visits": 0.0}}


def test_summary(watch_zones: Callable[..., object]) -> None:
    watched = watch_zones(ZoneConfig(name="a", polygon=SQUARE), ZoneConfig(name="b", polygon=((0, 0), (9, 0), (0, 9))))
    watched.at(0.0, {})
    watched.at(1.0, {1: IN, 2: IN})
    watched.at(3.0, {1: IN, 2: OUT})
    watched.at(4.0, {1: OUT})
    watched.finish()
    told = watched.zones.summary()
    # Nobody for 1 s, two for 2 s, one for 1 s; dwell 2 s (seen inside at 1 s and 3 s) and 0 s.
    assert told["a"] == {
        "occupancy_mean": 1.25,
        "occupancy_max": 2.0,
        "visits": 2.0,
        "dwell_mean_s": 1.0,
        "dwell_median_s": 0.0,
    }
    assert told["b"] == {"occupancy_mean": 0.0, "occupancy_max": 0.0, "visits": 0.0}


def test_many_durations_take_little_memory_and_keep_the_median() -> None:
    rng = np.random.default_rng(1)
    values = rng.lognormal(3, 1.5, 50_001)
    durations = Durations()
    for value in values.tolist():
        durations.add(value)
    assert len(durations) == len(values)
    assert durations.mean_s == pytest.approx(values.mean())
    assert durations.median_s == pytest.approx(np.median(values), rel=0.006)
    assert len(durations._classes) < 2_000


def test_memory_stays_flat(watch_zones: Callable[..., object]) -> None:
    """Two thousand objects come and go, some out of sight inside: slots and arrays don't grow."""
    watched = watch_zones(
        ZoneConfig(name="a", polygon=SQUARE, loiter_s=2.0, crowd=3, empty_s=1.0),
        forget_s=2.0,
        stitch=StitchConfig(enabled=False),
    )
    for i in range(2000):
        watched.at(i * 1.0, {i + 1: IN, i + 5001: OUT if i % 3 else IN})
        watched.at(i * 1.0 + 0.5, {i + 1: OUT if i % 2 else IN})
    assert len(watched.zones.inside) <= 64
    assert watched.zones.visits.tolist() == [2000 + 667]
    events: list[Event] = watched.finish()
    begins = [event.event_id for event in events if event.phase == "begin"]
    ends = [event.event_id for event in events if event.phase == "end"]
    assert sorted(begins) == sorted(ends)
    assert len(set(begins)) == len(begins)
