from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sinks.labels
from pipeline.core.motion import TrackMotion
from pipeline.core.result import FrameResult
from pipeline.core.tracks import Tracks
from sinks.draw import Annotator, DrawConfig
from sinks.labels import LabelLayout, LabelWriter
from sinks.palette import color_of, lighter, text_color_on
from sinks.trails import MAX_POINTS, Trails

Make = Callable[..., FrameResult]
NAMES = ("person", "car")
ONLY_BOXES = DrawConfig(labels=False, ids=False, confidence=False, trails=False)
NOTHING = DrawConfig(boxes=False, labels=False, ids=False, confidence=False, trails=False)


def grey(height: int = 240, width: int = 320) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def has_color(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((image == np.array(color, np.uint8)).all(axis=2).any())


def test_the_frame_itself_is_not_drawn_on(make_result: Make) -> None:
    image = grey()
    result = make_result(boxes=[(20, 60, 120, 200)], image=image)
    drawn = Annotator(DrawConfig(), NAMES).draw(result)
    assert (image == 90).all()
    assert drawn.flags.writeable
    assert not np.shares_memory(drawn, result.frame.image)
    assert (drawn != 90).any()


def test_nothing_is_drawn_where_all_is_off(make_result: Make) -> None:
    result = make_result(boxes=[(20, 60, 120, 200)], image=grey())
    assert (Annotator(NOTHING, NAMES).draw(result) == 90).all()


@pytest.mark.parametrize("part", ["boxes", "labels", "ids", "confidence"])
def test_every_part_can_be_had_alone(make_result: Make, part: str) -> None:
    config = DrawConfig(
        **{"boxes": False, "labels": False, "ids": False, "confidence": False, "trails": False, part: True}
    )
    drawn = Annotator(config, NAMES).draw(make_result(boxes=[(20, 60, 120, 200)], image=grey()))
    assert (drawn != 90).any()


def test_boxes_have_the_color_of_the_class_or_the_track(make_result: Make) -> None:
    result = make_result(boxes=[(20, 60, 120, 200)], class_id=[1], track_id=[4], image=grey(720, 1280))
    assert has_color(Annotator(ONLY_BOXES, NAMES).draw(result), color_of(1))
    by_track = DrawConfig(labels=False, ids=False, confidence=False, trails=False, color_by="track")
    assert has_color(Annotator(by_track, NAMES).draw(result), color_of(4))


def test_detections_are_drawn_where_no_tracker_ran(make_result: Make) -> None:
    result = make_result(boxes=[(20, 60, 120, 200)], image=grey(720, 1280), tracked=False)
    assert has_color(Annotator(ONLY_BOXES, NAMES).draw(result), color_of(0))
    tracked_nothing = FrameResult(result.frame, result.detections, Tracks.empty(), result.timeline)
    assert (Annotator(DrawConfig(), NAMES).draw(tracked_nothing) == 90).all()


def test_a_predicted_track_is_dashed_and_lighter(make_result: Make) -> None:
    box = [(20, 60, 220, 200)]
    full = Annotator(ONLY_BOXES, NAMES).draw(make_result(boxes=box, image=grey(720, 1280)))
    dashed = Annotator(ONLY_BOXES, NAMES).draw(make_result(boxes=box, predicted=[0], image=grey(720, 1280)))
    assert has_color(dashed, lighter(color_of(0)))
    assert not has_color(dashed, color_of(0))
    share = (dashed[60, 20:220] != 90).any(axis=1).mean() / (full[60, 20:220] != 90).any(axis=1).mean()
    assert 0.3 < share < 0.9


def test_boxes_of_a_filled_frame_look_like_those_of_a_detected_one(make_result: Make) -> None:
    box = [(20, 60, 220, 200)]
    full = make_result(boxes=box, image=grey(720, 1280))
    filled = replace(make_result(boxes=box, predicted=[0], image=grey(720, 1280)), filled=True)
    assert np.array_equal(Annotator(ONLY_BOXES, NAMES).draw(filled), Annotator(ONLY_BOXES, NAMES).draw(full))


@pytest.mark.parametrize(
    ("hw", "line_px", "text_px"), [((240, 426), 1, 10), ((720, 1280), 2, 15), ((2160, 3840), 6, 45)]
)
def test_lines_and_text_grow_with_the_picture(
    make_result: Make, hw: tuple[int, int], line_px: int, text_px: int
) -> None:
    height, width = hw
    box = [(width * 0.25, height * 0.25, width * 0.75, height * 0.75)]
    drawn = Annotator(ONLY_BOXES, NAMES).draw(make_result(boxes=box, image=grey(*hw)))
    column = drawn[:, width // 2]
    upper_half = column[: height // 2]
    in_color = (np.abs(upper_half.astype(int) - color_of(0)).max(axis=1) < 40).sum()
    assert abs(in_color - line_px) <= 1
    labels = Annotator(DrawConfig(boxes=False, trails=False), NAMES).draw(make_result(boxes=box, image=grey(*hw)))
    label_rows = (labels != 90).any(axis=(1, 2)).sum()
    assert label_rows == LabelWriter(text_px).height_px


def test_sizes_can_be_set(make_result: Make) -> None:
    config = DrawConfig(boxes=False, trails=False, text_size_px=40)
    drawn = Annotator(config, NAMES).draw(make_result(boxes=[(20, 100, 120, 200)], image=grey()))
    assert (drawn != 90).any(axis=(1, 2)).sum() == LabelWriter(40).height_px


numbers = st.floats(-1e9, 1e9, width=32) | st.sampled_from([0.0, -0.5, 63.9, 1e30, -1e30])


@settings(max_examples=80, deadline=None)
@given(
    boxes=st.lists(st.tuples(numbers, numbers, numbers, numbers), max_size=4),
    h=st.integers(1, 80),
    w=st.integers(1, 80),
)
def test_any_box_on_any_picture(make_result: Make, boxes: list[tuple[float, ...]], h: int, w: int) -> None:
    annotator = Annotator(DrawConfig(), NAMES)
    for index in range(2):
        result = make_result(index, boxes=boxes, predicted=range(0, len(boxes), 2), image=grey(h, w), pts_s=index / 25)
        assert annotator.draw(result).shape == (h, w, 3)


def test_trails_show_where_a_track_was(make_result: Make) -> None:
    config = DrawConfig(boxes=False, labels=False, ids=False, confidence=False, trail_s=1.0)
    annotator = Annotator(config, NAMES)
    for index in range(10):
        result = make_result(index, boxes=[(20 * index, 50, 20 * index + 20, 100)], image=grey(), pts_s=index / 10)
        drawn = annotator.draw(result)
    touched = (drawn != 90).any(axis=2)
    assert touched[100, 20:180].all()
    assert not touched[:95].any()


@pytest.mark.parametrize("name", ["Fußgänger", "行人", "пешеход", "πεζός", "보행자"])
@pytest.mark.skipif(not hasattr(cv2, "FontFace"), reason="OpenCV 4 has ASCII stroke fonts only")
def test_names_in_other_scripts_are_written(make_result: Make, name: str) -> None:
    config = DrawConfig(boxes=False, ids=False, confidence=False, trails=False)
    result = make_result(boxes=[(20, 100, 220, 200)], image=grey())
    written = Annotator(config, (name,)).draw(result)
    question_marks = Annotator(config, ("?" * len(name),)).draw(result)
    assert not np.array_equal(written, question_marks)


def test_without_the_unicode_font_a_name_in_another_script_becomes_its_number(
    make_result: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(sinks.labels.cv2, "FontFace", raising=False)
    config = DrawConfig(boxes=False, ids=False, confidence=False, trails=False)
    result = make_result(boxes=[(20, 100, 220, 200)], image=grey())
    assert np.array_equal(Annotator(config, ("行人",)).draw(result), Annotator(config, ("class 0",)).draw(result))
    assert (Annotator(config, ("person",)).draw(result) != 90).any()


# -- labels -----------------------------------------------------------------------------------------------------------


def test_a_label_stands_above_its_box_and_moves_where_that_is_taken() -> None:
    layout = LabelLayout((200, 300))
    assert layout.place((50, 100, 150, 180), 60, 20) == (50, 80)
    assert layout.place((50, 100, 170, 180), 60, 20) == (110, 80)
    assert layout.place((50, 100, 150, 150), 60, 20) == (50, 150)


def test_a_box_at_the_upper_edge_has_its_label_below() -> None:
    assert LabelLayout((200, 300)).place((50, -5, 150, 100), 60, 20) == (50, 100)


def test_a_box_that_fills_the_picture_has_its_label_inside() -> None:
    assert LabelLayout((200, 300)).place((0, 0, 300, 200), 60, 20) == (0, 0)


@given(box=st.tuples(*[st.integers(-500, 800)] * 4), width=st.integers(1, 300), height=st.integers(1, 200))
def test_a_label_that_fits_stays_inside(box: tuple[int, int, int, int], width: int, height: int) -> None:
    left, top = LabelLayout((200, 300)).place(box, width, height)
    assert 0 <= left <= 300 - width
    assert 0 <= top <= 200 - height


@pytest.mark.parametrize("number", range(0, 200, 3))
def test_text_can_be_read_on_every_color(number: int) -> None:
    def luminance(color: tuple[int, int, int]) -> float:
        blue, green, red = (
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (c / 255 for c in color)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for background in (color_of(number), lighter(color_of(number))):
        dark, light = sorted((luminance(background), luminance(text_color_on(background))))
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_classes_next_to_each_other_have_different_colors() -> None:
    colors = [np.array(color_of(number), int) for number in range(20)]
    assert min(int(np.abs(a - b).sum()) for a, b in itertools.combinations(colors, 2)) > 40


# -- trails -----------------------------------------------------------------------------------------------------------


def tracks_at(x: float, *ids: int) -> Tracks:
    n = len(ids)
    box = np.tile(np.array([[x - 5, 0, x + 5, 20]], np.float32), (n, 1))
    number = np.array(ids, np.int64)
    return Tracks(box, np.ones(n, np.float32), np.zeros(n, np.int64), number, np.zeros(n, np.int64))


@pytest.mark.parametrize("fps", [1, 25, 1000])
def test_a_trail_is_as_long_in_seconds_at_any_frame_rate(fps: int) -> None:
    trails = Trails(2.0)
    for index in range(5 * fps + 1):
        trails.add(tracks_at(index / fps, 1), index / fps)
    path = trails.path(1)
    assert len(path) <= MAX_POINTS
    assert path[-1].tolist() == [5.0, 20.0]
    assert path[0][0] == pytest.approx(3.0, abs=max(1 / fps, 0.05))


def test_tracks_that_are_gone_are_forgotten() -> None:
    trails = Trails(1.0)
    for index in range(1000):
        trails.add(tracks_at(index, index + 1), index / 10)
    assert len(trails) <= 12
    assert len(trails.path(1)) == 0


class TestTrailsOfTracksThatWereMoved:
    """An object goes to the right at 100 px/s, is found at 0 and 10 px, and foreseen to go twice as fast."""

    @staticmethod
    def views(make_result: Make, found_px: float, found_ms: int, *shown_ms: int) -> list[FrameResult]:
        motion = TrackMotion(np.array([[200, 0, 200, 0]], np.float32), np.ones(1, np.float32), np.zeros(1, np.float32))
        box = (found_px - 5, 0, found_px + 5, 20)
        result = replace(make_result(boxes=[box], captured_ns=found_ms * 1_000_000), motion=motion)
        return [result.on_frame(replace(result.frame, captured_ns=ms * 1_000_000)) for ms in shown_ms]

    def test_only_what_was_measured_stays(self, make_result: Make) -> None:
        trails = Trails(2.0)
        for shown_ms, view in zip((100, 150), self.views(make_result, 0, 0, 100, 150), strict=True):
            trails.add_result(view, shown_ms / 1e3)
            assert trails.path(1).tolist() == [[0, 20]]
            assert trails.path_to(view.tracks, 0).tolist() == [[0, 20], [shown_ms / 5, 20]]
        [view] = self.views(make_result, 10, 100, 200)
        trails.add_result(view, 0.2)
        assert trails.path_to(view.tracks, 0).tolist() == [[0, 20], [10, 20], [30, 20]]

    def test_jitter_between_the_clocks_is_no_new_beginning(self, make_result: Make) -> None:
        trails = Trails(2.0)
        [first], [second] = self.views(make_result, 0, 0, 100), self.views(make_result, 10, 100, 300)
        trails.add_result(first, 5.1)
        trails.add_result(second, 5.15)
        assert len(trails.path(1)) == 2
        [anew] = self.views(make_result, 20, 400, 500)
        trails.add_result(anew, 0.1)
        assert trails.path(1).tolist() == [[20, 20]]

    def test_a_track_that_nothing_confirms_only_keeps_what_it_has(self, make_result: Make) -> None:
        trails = Trails(2.0)
        [first], [second] = self.views(make_result, 0, 0, 100), self.views(make_result, 10, 100, 200)
        trails.add_result(first, 0.1)
        lost = replace(second, tracks=replace(second.tracks, detection_row=np.array([-1])))
        trails.add_result(lost, 0.2)
        assert trails.path_to(lost.tracks, 0).tolist() == [[0, 20], [30, 20]]


def test_a_stream_that_begins_anew_has_no_old_trails() -> None:
    trails = Trails(10.0)
    trails.add(tracks_at(1, 1), 100.0)
    trails.add(tracks_at(2, 1), 0.0)
    assert trails.path(1).tolist() == [[2.0, 20.0]]
