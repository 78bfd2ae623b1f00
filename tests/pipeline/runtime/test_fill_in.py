"""Frames that were not detected get the tracks of the last one that was, moved on."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from pipeline.runtime.fill_in import FillIn

INTERVAL_S = 0.05


def _frame(index: int, pts_s: float | None) -> Frame:
    return Frame("a", index, np.zeros((100, 200, 3), np.uint8), pts_s, 0, CaptureClock.RECEIVE)


def _tracks(*lefts: float) -> Tracks:
    n = len(lefts)
    xyxy = np.array([[left, 10, left + 20, 30] for left in lefts], np.float32)
    return Tracks(xyxy, np.full(n, 0.9, np.float32), np.arange(n), np.arange(7, 7 + n), np.arange(n))


def _motion(*speeds: float) -> TrackMotion:
    n = len(speeds)
    velocity = np.array([[speed, 0, speed, 0] for speed in speeds], np.float32)
    return TrackMotion(velocity, np.full(n, 3, np.float32), np.full(n, 40, np.float32))


@pytest.mark.parametrize(
    ("then", "now", "ahead_s"),
    [
        ((3, 1.0), (5, 1.2), 0.2),  # media time where there is any
        ((3, None), (5, None), 0.1),
        ((3, 1.0), (4, None), 0.05),
        ((3, 2.0), (4, 1.0), 0.05),  # media time that runs back says nothing
        ((3, None), (0, None), 0.0),
    ],
)
def test_boxes_move_with_the_time_that_passed(
    then: tuple[int, float | None], now: tuple[int, float | None], ahead_s: float
) -> None:
    fill_in = FillIn()
    fill_in.remember(_frame(*then), _tracks(0, 100), _motion(50, -50), INTERVAL_S)
    tracks, motion = fill_in.at(_frame(*now))
    assert tracks.xyxy[:, 0] == pytest.approx([50 * ahead_s, 100 - 50 * ahead_s])
    assert tracks.track_id.tolist() == [7, 8]
    assert tracks.class_id.tolist() == [0, 1]
    assert tracks.detection_row.tolist() == [-1, -1]
    assert motion is not None
    assert motion.std_px == pytest.approx(np.full(2, np.hypot(3, 40 * ahead_s)))
    assert motion.velocity[:, 0].tolist() == [50, -50]


def test_the_second_frame_moves_from_the_detected_one_again() -> None:
    fill_in = FillIn()
    fill_in.remember(_frame(0, 0.0), _tracks(0), _motion(100), INTERVAL_S)
    assert [float(fill_in.at(_frame(k, k / 10))[0].xyxy[0, 0]) for k in (1, 2, 3)] == pytest.approx([10, 20, 30])


def test_a_box_that_has_left_the_picture_is_left_out_with_its_motion() -> None:
    fill_in = FillIn()
    fill_in.remember(_frame(0, 0.0), _tracks(10, 150), _motion(0, 600), INTERVAL_S)
    tracks, motion = fill_in.at(_frame(1, 0.1))
    assert tracks.track_id.tolist() == [7]
    assert motion is not None
    assert len(motion) == 1


def test_without_a_word_on_motion_boxes_stay() -> None:
    fill_in = FillIn()
    fill_in.remember(_frame(0, 0.0), _tracks(10), None, INTERVAL_S)
    tracks, motion = fill_in.at(_frame(1, 0.1))
    assert (tracks.xyxy[0, 0], motion) == (10, None)


def test_nothing_is_known_before_the_first_and_after_forgetting() -> None:
    fill_in = FillIn()
    assert len(fill_in.at(_frame(0, 0.0))[0]) == 0
    fill_in.remember(_frame(0, 0.0), _tracks(10), _motion(1), INTERVAL_S)
    fill_in.forget("a")
    assert len(fill_in.at(_frame(1, 0.1))[0]) == 0
