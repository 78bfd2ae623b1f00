from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import LineConfig, SourceRules, StitchConfig
from pipeline.core.errors import UsageError
from pipeline.core.event import Event, EventKind
from pipeline.core.scene import Scene
from pipeline.core.tracks import Tracks

FPS = 30.0
HW = (720, 1280)
EAST = LineConfig(name="east", points=((200, 300), (1000, 300)))
"""Right of it is below: down is in. Its band is 15 px."""


@pytest.fixture(scope="module")
def walk(
    make_frame: Callable[..., Any], make_info: Callable[..., Any], make_tracks: Callable[..., Any]
) -> Callable[..., tuple[list[Event], Scene]]:
    """Sends objects along paths of bottom centres, by id; None or nan = not seen in that frame."""

    def go(
        paths: dict[int, Any],
        *lines: LineConfig,
        hw: tuple[int, int] = HW,
        fps: float = FPS,
        class_id: int = 0,
        predicted: frozenset[int] = frozenset(),
        order: Callable[[list[int]], list[int]] = sorted,
        **rules: Any,
    ) -> tuple[list[Event], Scene]:
        values = {"units": "px", "stitch": StitchConfig(enabled=False), "objects": False, **rules}
        analyst = RuleAnalyst(SourceRules(lines=lines, **values), make_info(hw, fps), ("person", "car"))
        nowhere = (np.nan, np.nan)
        tables = {i: np.array([nowhere if p is None else p for p in path], float) for i, path in paths.items()}
        events: list[Event] = []
        for index in range(max(map(len, tables.values()))):
            here = [i for i, table in tables.items() if index < len(table) and not np.isnan(table[index, 0])]
            here = order(here)
            tracks = make_tracks(here, [tables[i][index] for i in here], class_id, index in predicted)
            told, scene = analyst.update(make_frame(index, index / fps, hw), tracks)
            events += told
        assert analyst.finish().events == ()
        return events, scene

    return go


def down(x: float, *ys: float) -> list[tuple[float, float]]:
    return [(x, y) for y in ys]


FAR = 40.0
NEAR = 20.0

PATHS = {
    "straight over": (down(600, 300 - FAR, 300 + FAR), [1, 0]),
    "straight back": (down(600, 300 + FAR, 300 - FAR), [0, 1]),
    "there and back": (down(600, 260, 340, 260), [1, 1]),
    "only into the band": (down(600, 260, 310, 314, 260), [0, 0]),
    "beyond the band once": (down(600, 260, 320, 310, 320, 310, 260), [0, 0]),
    "beyond the band for 33 ms": (down(600, 260, 320, 320, 310, 260), [0, 0]),
    "beyond the band for 67 ms": (down(600, 260, 320, 320, 320, 310, 260), [1, 1]),
    "beyond it, unseen, beyond it": ([(600, 260), (600, 320), None, (600, 320)], [1, 0]),
    "never far off": (down(600, 280, 280, 280, 320, 320, 320), [1, 0]),
    "begins in the band": (down(600, 299, 340), [0, 0]),
    "begins in the band, goes back over": (down(600, 299, 340, 260), [0, 1]),
    "past the end": (down(100, 260, 340), [0, 0]),
    "over, and back round the end": ([(600, 260), (600, 340), (100, 340), (100, 260)], [1, 0]),
    "over, round the end within the band": ([(210, 260), (210, 310), (190, 310), (190, 290), (190, 260)], [0, 0]),
    "over and back within the band, then round the end": (
        [(210, 260), (210, 305), (210, 295), (190, 295), (190, 340)],
        [0, 0],
    ),
    "beyond the band when first seen": (down(600, 280, 295, 340), [1, 0]),
    "round the end, then over": ([(100, 260), (100, 340), (600, 340), (600, 260)], [0, 1]),
    "over and over within the band": (down(600, 260, 305, 295, 305, 340), [1, 0]),
    "slowly along, then over": ([(300 + 10 * i, 260 + 2 * i) for i in range(41)], [1, 0]),
    "unseen for 4 s": ([(600, 260), *[None] * 119, (600, 340)], [1, 0]),
    "unseen for longer than forget_s": ([(600, 260), *[None] * 160, (600, 340)], [0, 0]),
}


@pytest.mark.parametrize(("path", "expected"), PATHS.values(), ids=PATHS.keys())
def test_a_crossing_is_a_change_of_sides_through_the_line(path: Any, expected: list[int], walk: Any) -> None:
    events, scene = walk({1: path}, EAST)
    assert scene.crossings.tolist() == [expected]
    assert len(events) == sum(expected)


def test_the_event_says_what_happened_and_when(walk: Any) -> None:
    line = LineConfig(name="door", points=((200, 300), (1000, 300)), label_in="enter", label_out="leave")
    (event,), _ = walk({7: down(600, 240, 270, 310, 318, 318, 318)}, line)
    # The path meets y = 300 at three quarters of the second step; the third sighting beyond the band makes it certain.
    assert event.start_s == event.end_s == pytest.approx(1.75 / FPS)
    assert event.captured_ns == pytest.approx(1.75 / FPS * 1e9, abs=2)
    assert (event.kind, event.phase, event.rule, event.frame) == (EventKind.CROSSING, "instant", "door", 5)
    assert event.values == {"direction": "in", "label": "enter"}
    assert (event.track_ids, event.class_name, event.predicted) == ((7,), "person", False)
    assert event.box == (580, 238, 620, 318)


def test_an_event_by_a_predicted_box_says_so(walk: Any) -> None:
    (event,), _ = walk({1: down(600, 260, 340, 340)}, EAST, predicted=frozenset({1}))
    assert event.predicted
    (event,), _ = walk({1: down(600, 260, 340, 340)}, EAST)
    assert not event.predicted


def test_only_wanted_classes_count(walk: Any) -> None:
    cars = replace(EAST, name="cars", classes=("car",))
    events, scene = walk({1: down(600, 260, 340)}, EAST, cars)
    assert scene.crossings.tolist() == [[1, 0], [0, 0]]
    events, scene = walk({1: down(600, 260, 340)}, EAST, cars, class_id=1)
    assert scene.crossings.tolist() == [[1, 0], [1, 0]]
    assert {event.class_name for event in events} == {"car"}


def test_in_is_from_left_to_right_along_the_line(walk: Any) -> None:
    lines = [
        LineConfig(name="up", points=((600, 500), (600, 200))),
        LineConfig(name="down", points=((600, 200), (600, 500))),
        LineConfig(name="slope", points=((500, 500), (700, 200))),
    ]
    _, scene = walk({1: [(400, 350), (800, 350)]}, *lines)
    assert scene.crossings.tolist() == [[1, 0], [0, 1], [1, 0]]


def test_anchor_is_the_point_that_counts(walk: Any) -> None:
    # Boxes are 80 px high: their centres are 40 px above their bottoms.
    path = {1: down(600, 300, 380)}
    assert walk(path, EAST, anchor="bottom_center")[1].crossings.tolist() == [[0, 0]]
    assert walk(path, EAST, anchor="center")[1].crossings.tolist() == [[1, 0]]


def test_the_band_is_as_wide_as_it_is_said(walk: Any) -> None:
    path = {1: down(600, 290, 290, 290, 310, 310, 310)}
    assert walk(path, EAST)[1].crossings.tolist() == [[0, 0]]
    assert walk(path, replace(EAST, band_px=8))[1].crossings.tolist() == [[1, 0]]
    assert walk(path, replace(EAST, band_px=0))[1].crossings.tolist() == [[1, 0]]


def test_a_new_object_in_an_old_place_has_crossed_nothing(walk: Any) -> None:
    # Id 2 takes the slot that id 1 left.
    gone = [None] * 20
    _, scene = walk({1: down(600, 260), 2: [*gone, (600, 340), (600, 340), (600, 340)]}, EAST, forget_s=0.1)
    assert scene.crossings.tolist() == [[0, 0]]


def test_a_smaller_picture_shows_the_same_scene(
    make_frame: Callable[..., Any], make_info: Callable[..., Any], make_tracks: Callable[..., Any]
) -> None:
    analyst = RuleAnalyst(SourceRules(units="px", lines=(EAST,), objects=False), make_info(HW), ("person",))
    half = (HW[0] // 2, HW[1] // 2)
    _, before = analyst.update(make_frame(0, 0.0, HW), make_tracks([1], [(600, 260)]))
    events, after = analyst.update(make_frame(1, 0.1, half), make_tracks([1], [(300, 190)]))
    assert after.layout.lines_px.tolist() == [[[100, 150], [500, 150]]]
    assert before.layout.lines_px.tolist() == [[[200, 300], [1000, 300]]]
    # From y = 130 to 190 in the new pixels: the line is a third of the way.
    assert after.crossings.tolist() == [[1, 0]]
    assert events[0].start_s == pytest.approx(0.1 / 3)


def test_a_line_outside_the_picture_is_refused(walk: Any) -> None:
    outside = LineConfig(name="far", points=((0, 0), (1281, 0)))
    with pytest.raises(UsageError) as caught:
        walk({1: down(600, 260)}, outside)
    assert str(caught.value) == (
        "'far': wanted points inside the picture of 1280x720 px, found (1281, 0); correct it, or give fractions with "
        "units: fraction"
    )


NOISE = {
    "gaussian": lambda rng, shape: rng.normal(0, 5, shape),
    "uniform": lambda rng, shape: rng.uniform(-5 * np.sqrt(3), 5 * np.sqrt(3), shape),
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
@pytest.mark.parametrize("hw", [(360, 640), (1080, 1920)])
@pytest.mark.parametrize("comes_from_afar", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_trembling_on_a_line_is_no_crossing(
    noise: Any, hw: tuple[int, int], comes_from_afar: bool, seed: int, walk: Any
) -> None:
    rng = np.random.default_rng(seed)
    across = LineConfig(name="across", points=((0, hw[0] / 2), (hw[1], hw[0] / 2)))
    slant = LineConfig(name="slant", points=((0, hw[0] / 2 - 100), (hw[1], hw[0] / 2 + 100)))
    x = rng.uniform(0.3, 0.7, 20) * hw[1]
    paths = {}
    for number in range(20):
        on = slant if number % 2 else across
        (_, ay), (_, by) = on.points
        y = ay + (by - ay) * x[number] / hw[1]
        path = np.array([x[number], y]) + noise(rng, (1000, 2))
        if comes_from_afar:
            path[0] = x[number], y + (80 if number % 4 < 2 else -80)
        paths[number + 1] = path
    of = {across.name: range(1, 21, 2), slant.name: range(2, 21, 2)}
    events, _ = walk(paths, across, slant, hw=hw)
    assert [event for event in events if event.track_ids[0] in of[event.rule]] == []


SIDES = st.sampled_from([-1, 1])
# The end at 1280 is not on the line: paths lie an infinitely small step further right.
STEPS = st.lists(st.tuples(st.integers(0, 1279), st.integers(-300, 300)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(objects=st.lists(st.tuples(SIDES, STEPS, SIDES), min_size=1, max_size=6), tilt=st.integers(-100, 100))
def test_in_minus_out_is_the_change_of_who_is_where(objects: Any, tilt: int, walk: Any) -> None:
    line = LineConfig(name="across", points=((0, 360 - tilt), (1280, 360 + tilt)))
    at_start = at_end = 0
    paths = {}
    for number, (begins, between, ends) in enumerate(objects, 1):
        points = [(640, 100 * begins), *between, (640, 100 * ends)]
        paths[number] = [(x, 360 + tilt * (x - 640) / 640 + dy) for x, dy in points]
        at_start += begins > 0
        at_end += ends > 0
    longest = max(map(len, paths.values()))
    paths = {number: path + [path[-1]] * (longest - len(path)) for number, path in paths.items()}
    events, scene = walk(paths, line)
    n_in, n_out = scene.crossings[0].tolist()
    assert n_in - n_out == at_end - at_start
    assert n_in == sum(event.values["direction"] == "in" for event in events)
    # Of one object, crossings alternate.
    for number in paths:
        ways = [event.values["direction"] for event in events if event.track_ids == (number,)]
        assert all(a != b for a, b in pairwise(ways))


GRID = st.tuples(st.integers(1, 9), st.integers(1, 7))


@settings(max_examples=200, deadline=None)
@given(a=GRID, b=GRID, c=GRID, start=GRID, end=GRID)
@example(a=(1, 1), b=(5, 5), c=(9, 1), start=(5, 6), end=(5, 4))
@example(a=(1, 4), b=(5, 4), c=(9, 4), start=(5, 6), end=(5, 2))
def test_a_path_through_a_common_end_crosses_exactly_one_of_two_lines(
    a: Any, b: Any, c: Any, start: Any, end: Any, walk: Any
) -> None:
    """In and out of a triangle on a coarse grid, where paths meet corners all the time, the books are even."""
    turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if turn == 0:
        return
    corners = [a, b, c] if turn > 0 else [a, c, b]
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    side = [[(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in edges] for x, y in (start, end)]
    if 0 in side[0] or 0 in side[1]:
        return
    lines = [
        LineConfig(name=str(i), points=((100 * p[0], 100 * p[1]), (100 * q[0], 100 * q[1])), band_px=0)
        for i, (p, q) in enumerate(edges)
    ]
    _, scene = walk({1: [(100 * start[0], 100 * start[1]), (100 * end[0], 100 * end[1])]}, *lines)
    n_in, n_out = scene.crossings.sum(axis=0).tolist()
    inside = [all(value > 0 for value in of) for of in side]
    assert n_in - n_out == inside[1] - inside[0]
    assert n_in <= 1
    assert n_out <= 1


@pytest.mark.parametrize("step", [(100, 0), (0, 100), (-100, 0), (0, -100), (70, 50), (-50, 70), (-70, -50), (50, -70)])
@pytest.mark.parametrize("turned", [False, True])
def test_who_stops_on_a_common_end_crosses_exactly_one_line(step: tuple[int, int], turned: bool, walk: Any) -> None:
    (x, y), (dx, dy) = (640, 360), step
    one, other = ((x - dy, y + dx), (x, y)), ((x, y), (x + dy, y - dx))
    lines = [LineConfig(name="a", points=one), LineConfig(name="b", points=other[::-1] if turned else other)]
    _, scene = walk({1: [(x - dx, y - dy), (x, y), (x + dx, y + dy)]}, *lines)
    assert scene.crossings.sum() == 1


def test_who_turns_on_a_common_end_crosses_exactly_one_line(walk: Any) -> None:
    """From the left of two lines that share an end, to just that end, to the right of both."""
    rng = np.random.default_rng(11)
    b = np.array([5, 4])

    def side(p: np.ndarray, q: np.ndarray, of: np.ndarray) -> int:
        return int(np.sign((q[0] - p[0]) * (of[1] - p[1]) - (q[1] - p[1]) * (of[0] - p[0])))

    cases = 0
    while cases < 200:
        a, c, start, end = rng.integers(1, 8, (4, 2))
        sides = [(side(a, b, point), side(b, c, point)) for point in (start, end)]
        if sides != [(-1, -1), (1, 1)]:
            continue
        lines = [
            LineConfig(name=name, points=tuple(map(tuple, (100 * np.stack(ends)).tolist())), band_px=0)
            for name, ends in {"a-b": (a, b), "b-c": (b, c)}.items()
        ]
        _, scene = walk({1: 100 * np.stack([start, b, end])}, *lines)
        assert scene.crossings.sum() == 1, (a, c, start, end)
        cases += 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), shuffle=st.randoms(use_true_random=False))
def test_the_order_of_objects_in_a_frame_means_nothing(seed: int, shuffle: Any, walk: Any) -> None:
    rng = np.random.default_rng(seed)
    paths = {i: rng.uniform(0, 1, (40, 2)) * [1280, 720] for i in range(1, 9)}
    for path in paths.values():
        path[rng.random(40) < 0.2] = np.nan
    lines = [LineConfig(name=f"l{i}", points=tuple(map(tuple, rng.uniform(0, 700, (2, 2)).tolist()))) for i in range(5)]

    def mixed(ids: list[int]) -> list[int]:
        ids = list(ids)
        shuffle.shuffle(ids)
        return ids

    stitch = StitchConfig(gap_s=0.2, min_iou=0.1)
    expected, scene = walk(paths, *lines, stitch=stitch)
    events, mixed_scene = walk(paths, *lines, stitch=stitch, order=mixed)
    assert len(expected) > 10
    assert [event.to_json() for event in events] == [event.to_json() for event in expected]
    assert mixed_scene.crossings.tolist() == scene.crossings.tolist()
    assert mixed_scene.n_objects == scene.n_objects


def test_one_object_more_changes_nothing_for_the_others(walk: Any) -> None:
    rng = np.random.default_rng(3)
    paths = {i: rng.uniform(0, 1, (60, 2)) * [1280, 720] for i in range(1, 7)}
    of_all, _ = walk(paths, EAST)
    of_each = [event for i, path in paths.items() for event in walk({i: path}, EAST)[0]]
    assert len(of_each) > 30
    assert sorted(map(str, of_all)) == sorted(map(str, of_each))


def test_empty_frames_and_no_lines(walk: Any, make_tracks: Callable[..., Tracks]) -> None:
    _, scene = walk({1: [None, None, (600, 260), None, (600, 340), None]}, EAST)
    assert scene.crossings.tolist() == [[1, 0]]
    events, scene = walk({1: down(600, 260, 340)})
    assert (events, scene.crossings.shape) == ([], (0, 2))
