"""How fast boxes become wrong, by how their tracks move."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.motion import TrackMotion
from pipeline.streaming.decay import Decay

DELAYS = np.array([0.0, 0.1, 0.2, 0.4, 5.0])


def _add(decay: Decay, widths: list[float], speeds: list[float]) -> None:
    n = len(widths)
    xyxy = np.array([[0, 0, width, 50] for width in widths], np.float32).reshape(n, 4)
    velocity = np.array([[speed, 0, speed, 0] for speed in speeds], np.float32).reshape(n, 4)
    decay.add(xyxy, TrackMotion(velocity, np.ones(n, np.float32), np.ones(n, np.float32)))


def test_nothing_seen_or_nothing_moving_loses_nothing() -> None:
    decay = Decay()
    assert decay.kept(DELAYS).tolist() == [1] * 5
    _add(decay, [], [])
    assert decay.kept(DELAYS).tolist() == [1] * 5
    _add(decay, [100, 20], [0, 0])
    assert decay.kept(DELAYS) == pytest.approx([1] * 5)


def test_what_is_kept_is_the_share_of_thresholds_that_the_moved_box_reaches() -> None:
    # 100 px wide at 200 px/s: after 0.1 s 20 px, IoU 80/120 = 0.667: 4 of 10 thresholds; after 0.2 s 60/140: none.
    decay = Decay()
    _add(decay, [100], [200])
    assert decay.kept(DELAYS) == pytest.approx([1, 0.4, 0, 0, 0])


def test_boxes_and_frames_are_averaged() -> None:
    decay = Decay()
    _add(decay, [100, 100], [200, 0])
    assert decay.kept(DELAYS[:2]) == pytest.approx([1, 0.7])
    _add(decay, [100, 100], [0, 0])
    assert decay.kept(DELAYS[:2]) == pytest.approx([1, 0.85])


def test_old_frames_are_forgotten() -> None:
    decay = Decay()
    _add(decay, [100], [200])
    for _ in range(64):
        _add(decay, [100], [0])
    assert decay.kept(DELAYS) == pytest.approx([1] * 5)


def test_small_boxes_lose_more_than_large_ones_at_one_speed() -> None:
    small, large = Decay(), Decay()
    _add(small, [20], [60])
    _add(large, [200], [60])
    assert small.kept(DELAYS)[1] < large.kept(DELAYS)[1]
