from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sinks.labels
from pipeline.core.result import FrameResult
from pipeline.core.scene import Scene, SceneLayout
from sinks.draw import Annotator, DrawConfig
from sinks.heat_overlay import HeatOverlay
from sinks.labels import LabelLayout, LabelWriter
from sinks.palette import ALARM, line_color, rule_color

Make = Callable[..., FrameResult]
NAMES = ("person", "car")
SQUARE = ((100, 80), (220, 80), (220, 200), (100, 200))
NOTHING = {"lines": False, "zones": False, "counts": False, "notes": False, "trails": False}


def picture(height: int = 240, width: int = 320, level: int = 90) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def scene(
    *,
    lines: Sequence[Sequence[Sequence[float]]] = (),
    zones: Sequence[Sequence[Sequence[float]]] = (),
    line_names: Sequence[str] | None = None,
    zone_names: Sequence[str] | None = None,
    labels: tuple[str, str] = ("in", "out"),
    crossings: Sequence[tuple[int, int]] | None = None,
    occupancy: Sequence[int] | None = None,
    visits: Sequence[int] | None = None,
    alarms: Sequence[bool] | None = None,
    n_objects: Mapping[str, int] | None = None,
    heatmap: np.ndarray | None = None,
    notes: Mapping[int, str] | None = None,
) -> Scene:
    n_lines, n_zones = len(lines), len(zones)
    layout = SceneLayout(
        tuple(line_names or [f"L{i}" for i in range(n_lines)]),
        (labels,) * n_lines,
        np.array(lines, np.float64).reshape(n_lines, 2, 2),
        tuple(zone_names or [f"Z{i}" for i in range(n_zones)]),
        tuple(np.array(zone, np.float64) for zone in zones),
    )
    return Scene(
        layout,
        np.array(crossings or [(0, 0)] * n_lines, np.int64).reshape(n_lines, 2),
        np.array(occupancy or [0] * n_zones, np.int64),
        np.array(visits or [0] * n_zones, np.int64),
        np.array(alarms or [False] * n_zones, np.bool_),
        n_objects or {},
        heatmap,
        notes or {},
    )


def drawn(make_result: Make, shown: Scene, image: np.ndarray | None = None, **draw: object) -> np.ndarray:
    image = picture() if image is None else image
    result = replace(make_result(image=image), scene=shown)
    return Annotator(DrawConfig(**{**NOTHING, **draw}), NAMES).draw(result)


def changed(image: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    return (image != (picture() if before is None else before)).any(axis=2)


def has(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((image == np.array(color, np.uint8)).all(axis=2).any())


# -- zones ------------------------------------------------------------------------------------------------------------


def test_a_zone_tints_its_inside_and_nothing_else(make_result: Make) -> None:
    touched = changed(drawn(make_result, scene(zones=[SQUARE]), zones=True))
    assert touched[82:198, 102:218].all()
    # The outline is a pixel wide with a rim; the label stands on the zone's top edge.
    label_px = LabelWriter(10).height_px
    outside = touched.copy()
    outside[80 - label_px - 3 : 204, 96:224] = False
    assert not outside.any()


def test_the_picture_shows_through_a_zone(make_result: Make) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    inside = drawn(make_result, scene(zones=[SQUARE]), noise, zones=True)[100:190, 110:210]
    assert np.corrcoef(inside.ravel(), noise[100:190, 110:210].ravel())[0, 1] > 0.98


def test_an_alarm_is_red_and_says_so_without_color(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    calm = drawn(make_result, scene(zones=[SQUARE]), zones=True)
    alarmed = drawn(make_result, scene(zones=[SQUARE], alarms=[True]), zones=True)
    assert has(calm, rule_color(0))
    assert not has(calm, ALARM)
    assert has(alarmed, ALARM)
    assert not has(alarmed, rule_color(0))
    assert texts == ["Z0    0  now    0  visits", "!  Z0    0  now    0  visits"]


def test_an_alarm_that_begins_or_ends_is_seen_at_once(make_result: Make) -> None:
    calm = scene(zones=[SQUARE])
    annotator = Annotator(DrawConfig(), NAMES)
    red = [
        has(annotator.draw(replace(make_result(image=picture()), scene=state)), ALARM)
        for state in (calm, replace(calm, alarms=np.array([True])), calm)
    ]
    assert red == [False, True, False]


def test_sources_that_share_an_annotator_keep_their_own_zones(make_result: Make) -> None:
    annotator = Annotator(DrawConfig(), NAMES)
    left, right = scene(zones=[((0, 50), (60, 50), (60, 200))]), scene(zones=[((260, 50), (319, 50), (319, 200))])
    for _ in range(2):
        for name, state, columns in (("a", left, slice(0, 40)), ("b", right, slice(0, 40))):
            image = annotator.draw(replace(make_result(image=picture(), source_id=name), scene=state))
            assert changed(image)[100:200, columns].any() == (name == "a")


def test_a_new_layout_replaces_the_old_one(make_result: Make) -> None:
    annotator = Annotator(DrawConfig(counts=False), NAMES)
    annotator.draw(replace(make_result(image=picture()), scene=scene(zones=[SQUARE])))
    image = annotator.draw(replace(make_result(image=picture()), scene=scene(zones=[((5, 60), (40, 60), (40, 90))])))
    assert not changed(image)[100:, 120:].any()


@pytest.mark.parametrize(
    "polygon",
    [
        [(-500, -500), (900, -500), (900, 900), (-500, 900)],
        [(-50, 100), (60, 90), (60, 500), (-50, 400)],
        [(200, -40), (1e9, -40), (1e9, 1e9)],
    ],
)
def test_a_zone_partly_outside_is_drawn_as_far_as_it_is_in_the_picture(
    make_result: Make, polygon: list[tuple[float, float]]
) -> None:
    assert changed(drawn(make_result, scene(zones=[polygon]), zones=True)).any()


def test_rules_outside_the_picture_leave_it_as_it_is(make_result: Make) -> None:
    away = scene(zones=[[(400, 10), (500, 10), (500, 90)]], lines=[[(400, 10), (500, 90)]])
    assert not changed(drawn(make_result, away, zones=True, lines=True)).any()


# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ends", "in_side"),
    [
        (((60, 120), (260, 120)), (0, 1)),
        (((260, 120), (60, 120)), (0, -1)),
        (((160, 40), (160, 200)), (-1, 0)),
        (((160, 200), (160, 40)), (1, 0)),
    ],
)
def test_the_arrow_points_to_the_right_of_who_walks_along_the_line(
    make_result: Make, ends: tuple[tuple[float, float], ...], in_side: tuple[int, int]
) -> None:
    image = drawn(make_result, scene(lines=[ends]), picture(240, 320), lines=True)
    x, y = 160 + 10 * in_side[0], 120 + 10 * in_side[1]
    assert (image[y, x] == np.array(line_color(0))).all()
    away = [(column - 160) * -in_side[0] + (row - 120) * -in_side[1] for row, column in np.argwhere(changed(image))]
    assert max(away) > 12, "the label stands behind the arrow"


def test_both_counts_and_their_names_change_the_label(make_result: Make) -> None:
    line = [((60, 120), (260, 120))]
    images = [
        drawn(make_result, scene(lines=line, crossings=[counts], labels=labels), lines=True)
        for counts, labels in (((0, 0), ("in", "out")), ((1, 0), ("in", "out")), ((0, 1), ("in", "out")))
    ]
    images.append(drawn(make_result, scene(lines=line, labels=("north", "south")), lines=True))
    for i, one in enumerate(images):
        for other in images[i + 1 :]:
            assert not np.array_equal(one, other)


def test_a_line_of_no_length_is_drawn_as_a_point(make_result: Make) -> None:
    assert changed(drawn(make_result, scene(lines=[((50, 50), (50, 50))]), lines=True)).any()


# -- text -------------------------------------------------------------------------------------------------------------


def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    before = LabelWriter.write

    def write(self: LabelWriter, image: np.ndarray, text: str, *rest: object) -> None:
        texts.append(text)
        before(self, image, text, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(LabelWriter, "write", write)
    return texts


@pytest.mark.parametrize(
    ("now", "visits", "said"),
    [
        (0, 0, "0  now    0  visits"),
        (2, 1, "2  now    1  visit"),
        (12_345, 1_234_567, "12,345  now    1,234,567  visits"),
    ],
)
def test_a_zone_says_who_is_in_it_and_how_many_visits_it_had(
    make_result: Make, monkeypatch: pytest.MonkeyPatch, now: int, visits: int, said: str
) -> None:
    texts = written(monkeypatch)
    state = scene(zones=[SQUARE], zone_names=["Desk"], occupancy=[now], visits=[visits])
    drawn(make_result, state, picture(720, 1280), zones=True)
    assert texts == [f"Desk    {said}"]


def test_a_line_says_what_crossed_it(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    state = scene(lines=[((60, 120), (260, 120))], line_names=["Gate"], crossings=[(10_001, 7)])
    drawn(make_result, state, picture(720, 1280), lines=True)
    assert texts == ["Gate    in  10,001    out  7"]


def test_a_long_name_is_cut_and_the_counts_are_not(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    drawn(make_result, scene(zones=[SQUARE], zone_names=["W" * 64], visits=[12_345]), zones=True)
    assert texts[0].endswith("...    0  now    12,345  visits")
    assert LabelWriter(10).width_px(texts[0]) < 0.7 * 320


def test_an_empty_name_is_left_out(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    drawn(make_result, scene(zones=[SQUARE], zone_names=[""]), zones=True)
    assert texts == ["0  now    0  visits"]


def test_names_that_the_font_lacks_become_numbers(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sinks.labels.cv2, "FontFace", raising=False)
    texts = written(monkeypatch)
    state = scene(
        zones=[SQUARE],
        zone_names=["桌子"],
        lines=[((60, 30), (260, 30))],
        line_names=["дверь"],
        labels=("внутрь", "наружу"),
    )
    drawn(make_result, state, picture(720, 1280), zones=True, lines=True)
    assert texts == ["zone 1    0  now    0  visits", "line 1    in  0    out  0"]


def test_labels_of_rules_do_not_cover_each_other_nor_those_of_objects(make_result: Make) -> None:
    placed: list[LabelLayout] = []

    class Recorded(LabelLayout):
        def __init__(self, shape_hw: tuple[int, int]) -> None:
            super().__init__(shape_hw)
            placed.append(self)

    state = scene(
        zones=[[(300, 300), (700, 300), (700, 600)], [(300, 305), (720, 300), (700, 620)]],
        lines=[((320, 290), (680, 290))],
        n_objects={"person": 3},
    )
    result = make_result(boxes=[(300, 310, 420, 590), (20, 60, 100, 200)], image=picture(720, 1280))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinks.draw.LabelLayout", Recorded)
        Annotator(DrawConfig(), NAMES).draw(replace(result, scene=state))
    boxes = placed[0]._placed
    assert len(boxes) == 6
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        for a1, b1, a2, b2 in boxes[i + 1 :]:
            assert x2 <= a1 or a2 <= x1 or y2 <= b1 or b2 <= y1


def test_notes_stand_beside_the_label_of_their_object(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    result = make_result(boxes=[(20, 60, 120, 200), (150, 60, 250, 200)], track_id=[4, 7], image=picture())
    state = scene(notes={7: "3.4 km/h"})
    Annotator(DrawConfig(confidence=False), NAMES).draw(replace(result, scene=state))
    Annotator(DrawConfig(confidence=False, notes=False), NAMES).draw(replace(result, scene=state))
    assert texts == ["person  #4", "person  #7  3.4 km/h", "person  #4", "person  #7"]


def test_a_note_alone_is_written(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    result = make_result(boxes=[(20, 60, 120, 200), (150, 60, 250, 200)], track_id=[4, 7], image=picture())
    config = DrawConfig(labels=False, ids=False, confidence=False)
    Annotator(config, NAMES).draw(replace(result, scene=scene(notes={7: "12 s"})))
    assert texts == ["12 s"]


# -- counts -----------------------------------------------------------------------------------------------------------


def test_the_panel_lists_classes_by_number(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    drawn(make_result, scene(n_objects={"car": 3, "person": 12_345, "bus": 0}), picture(720, 1280), counts=True)
    assert texts == ["seen so far", "person", "12,345", "car", "3"]


def test_many_classes_are_summed_up(make_result: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = written(monkeypatch)
    counted = {f"class {i:02}": 100 - i for i in range(20)}
    drawn(make_result, scene(n_objects=counted), picture(720, 1280), counts=True)
    assert texts[-2:] == ["others", f"{sum(100 - i for i in range(6, 20)):,}"]


def test_the_panel_goes_where_no_rule_is(make_result: Make) -> None:
    zone = [(0, 0), (639, 0), (639, 359), (0, 359)]
    state = scene(zones=[zone], n_objects={"person": 2})
    empty = drawn(make_result, replace(state, n_objects={}), picture(720, 1280), zones=True, counts=True)
    panel = changed(drawn(make_result, state, picture(720, 1280), zones=True, counts=True), empty)
    rows, columns = np.nonzero(panel)
    assert columns.min() > 640
    assert rows.max() < 360


def test_the_panel_stays_in_its_corner(make_result: Make) -> None:
    annotator = Annotator(DrawConfig(boxes=False, labels=False, ids=False, confidence=False, trails=False), NAMES)
    first = annotator.draw(replace(make_result(image=picture(720, 1280)), scene=scene(n_objects={"person": 2})))
    crowded = make_result(1, boxes=[(0, 0, 400, 300)], image=picture(720, 1280))
    second = annotator.draw(replace(crowded, scene=scene(n_objects={"person": 2})))
    assert np.array_equal(first, second)


def test_without_objects_or_room_there_is_no_panel(make_result: Make) -> None:
    assert not changed(drawn(make_result, scene(n_objects={"person": 0}), counts=True)).any()
    tiny = picture(24, 32)
    assert not changed(drawn(make_result, scene(n_objects={"person": 4}), tiny, counts=True), tiny).any()


# -- heat map ---------------------------------------------------------------------------------------------------------


def test_the_heat_map_is_off_unless_asked_for(make_result: Make) -> None:
    state = scene(heatmap=np.ones((18, 24), np.float32))
    assert not changed(drawn(make_result, state)).any()
    assert changed(drawn(make_result, state, heatmap=True)).all()


def test_the_heat_map_lies_where_objects_were(make_result: Make) -> None:
    heat = np.zeros((18, 24), np.float32)
    heat[3:5, 18:20] = 5
    touched = changed(drawn(make_result, scene(heatmap=heat), heatmap=True))
    cell = 320 / 24
    rows, columns = np.nonzero(touched)
    assert abs(rows.mean() - 4 * cell) < 0.2 * cell
    assert abs(columns.mean() - 19 * cell) < 0.2 * cell
    assert touched.mean() < 0.1


def test_warmer_places_hide_more_of_the_picture() -> None:
    heat = np.zeros((18, 24), np.float32)
    heat[8:11, 3:6], heat[8:11, 18:21] = 0.4, 8
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    image = noise.copy()
    HeatOverlay().draw(image, heat, 0.0)
    cell = 320 / 24
    row = round(9.5 * cell)
    patches = [image[row - 4 : row + 4, round(x * cell) - 4 : round(x * cell) + 4] for x in (4.5, 19.5)]
    spread = [float(patch.std(axis=(0, 1)).mean()) for patch in patches]
    assert spread[1] < 0.6 * spread[0]
    assert spread[0] < 0.9 * noise.std()


def test_no_presence_is_no_layer(make_result: Make) -> None:
    assert not changed(drawn(make_result, scene(heatmap=np.zeros((18, 24), np.float32)), heatmap=True)).any()


def test_the_heat_map_follows_presence_and_a_new_size() -> None:
    overlay, heat = HeatOverlay(), np.zeros((18, 24), np.float32)
    overlay.draw(first := picture(), heat, 10.0)
    heat[9, 12] = 5
    overlay.draw(soon := picture(), heat, 10.1)
    overlay.draw(later := picture(), heat, 10.6)
    overlay.draw(larger := picture(480, 640), heat, 10.7)
    assert not changed(first).any()
    assert not changed(soon).any()
    assert changed(later).any()
    assert changed(larger, picture(480, 640)).any()
    heat[:] = 0
    overlay.draw(anew := picture(480, 640), heat, 0.0)
    assert not changed(anew, picture(480, 640)).any()


# -- all of it --------------------------------------------------------------------------------------------------------

FULL = scene(
    zones=[SQUARE],
    lines=[((20, 210), (300, 220))],
    n_objects={"person": 2},
    heatmap=np.ones((18, 24), np.float32),
)


@pytest.mark.parametrize("part", ["lines", "zones", "counts", "heatmap"])
def test_every_part_can_be_had_alone_and_left_out(make_result: Make, part: str) -> None:
    assert changed(drawn(make_result, FULL, **{part: True})).any()
    assert not changed(drawn(make_result, FULL)).any()


@pytest.mark.parametrize("hw", [(240, 320), (1080, 1920), (2160, 3840), (1, 1), (7, 200)])
@pytest.mark.parametrize("level", [0, 255])
def test_the_frame_itself_is_not_drawn_on_at_any_size(make_result: Make, hw: tuple[int, int], level: int) -> None:
    image = picture(*hw, level=level)
    result = replace(make_result(image=image, boxes=[(1, 1, 5, 5)]), scene=FULL)
    annotator = Annotator(DrawConfig(heatmap=True), NAMES)
    first, again = annotator.draw(result), annotator.draw(result)
    assert (result.frame.image == level).all()
    assert first.shape == image.shape
    assert np.array_equal(first, again)


coordinate = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 63.5, 1e12, -1e12])


@settings(max_examples=60, deadline=None)
@given(
    polygon=st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=8),
    line=st.tuples(st.tuples(coordinate, coordinate), st.tuples(coordinate, coordinate)),
    name=st.text(max_size=70),
    counts=st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)),
    h=st.integers(1, 90),
    w=st.integers(1, 120),
)
def test_any_rule_on_any_picture(
    make_result: Make,
    polygon: list[tuple[float, float]],
    line: tuple[tuple[float, float], tuple[float, float]],
    name: str,
    counts: tuple[int, int],
    h: int,
    w: int,
) -> None:
    state = scene(
        zones=[polygon], lines=[line], zone_names=[name], line_names=[name], crossings=[counts], visits=[counts[0]]
    )
    assert drawn(make_result, state, picture(h, w), zones=True, lines=True, counts=True).shape == (h, w, 3)


def test_opencv_puts_nothing_where_nothing_is_painted() -> None:
    """The arithmetic of tints is exact where they are clear."""
    levels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    result = cv2.multiply(levels, np.full_like(levels, 255), scale=1 / 255)
    assert np.array_equal(result, levels)
