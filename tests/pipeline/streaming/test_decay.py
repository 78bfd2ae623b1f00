"""How fast boxes become wrong, by results of now against earlier ones."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from pipeline.streaming.decay import DELAYS_S, REMEMBERED, Decay


def _tracks(lefts: dict[int, float], width: float = 100) -> Tracks:
    """Tracks by id, each with its left edge."""
    n = len(lefts)
    xyxy = np.array([[left, 0, left + width, 50] for left in lefts.values()], np.float32).reshape(n, 4)
    ids = np.array(list(lefts), np.int64)
    return Tracks(xyxy, np.ones(n, np.float32), np.zeros(n, np.int64), ids, np.arange(n))


def _motion(*speeds: float) -> TrackMotion:
    n = len(speeds)
    velocity = np.array([[speed, 0, speed, 0] for speed in speeds], np.float32).reshape(n, 4)
    return TrackMotion(velocity, np.ones(n, np.float32), np.ones(n, np.float32))


def _walk(decay: Decay, speed: float, n_frames: int = 60, interval_s: float = 0.04, begin_s: float = 0.0) -> Decay:
    for k in range(n_frames):
        tracks = _tracks({7: speed * k * interval_s})
        decay.add("a", begin_s + k * interval_s, tracks, _motion(speed), compare=True)
    return decay


def test_nothing_seen_or_nothing_moving_loses_nothing() -> None:
    delays = np.array([0.0, 0.1, 5.0])
    assert Decay().kept(delays).tolist() == [1, 1, 1]
    assert _walk(Decay(), 0).kept(delays) == pytest.approx([1, 1, 1])
    empty = Decay()
    for k in range(9):
        empty.add("a", k / 25, Tracks.empty(), None, compare=True)
    assert empty.kept(delays).tolist() == [1, 1, 1]


def test_what_is_kept_is_the_share_of_thresholds_that_are_reached() -> None:
    # 100 px wide at 200 px/s. After 0.08 s 16 px, IoU 84/116 = 0.72: 5 of 10 thresholds; after 0.24 s 52/148: none.
    decay, delays = _walk(Decay(), 200), np.array([0.0, 0.08, 0.24, 3.0])
    assert decay.kept(delays) == pytest.approx([1, 0.5, 0, 0])
    # 48 px, IoU 0.35, is still the same object to a tracker; 64 px, 0.22, is not.
    assert decay.followed(np.array([0.08, 0.24, 0.32])) == pytest.approx([1, 1, 0], abs=0.03)


def test_boxes_that_are_moved_on_are_compared_where_they_are_moved_to() -> None:
    assert _walk(Decay(moved=True), 200).kept(np.array([0.08, 0.24])) == pytest.approx([1, 1])


def test_tracks_that_come_and_go_count_as_wrong() -> None:
    decay = Decay()
    for k in range(60):
        # One stays; every 0.04 s another one stands beside it.
        decay.add("a", k * 0.04, _tracks({1: 0, 100 + k: 300}), None, compare=True)
    assert decay.kept(np.array([0.04, 0.64])) == pytest.approx([0.5, 0.5])
    assert decay.followed(np.array([0.04, 0.64])) == pytest.approx([0.5, 0.5])


def test_results_that_come_seldom_tell_of_long_delays_only() -> None:
    # Every 0.3 s, 10 px: after 0.3 s an IoU of 90/110 = 0.82, 7 of 10.
    decay = _walk(Decay(), 10 / 0.3, 20, 0.3)
    assert decay.kept(np.array([0.15, 0.3])) == pytest.approx([0.85, 0.7], abs=0.01)


def test_old_comparisons_are_forgotten() -> None:
    decay = _walk(Decay(), 200)
    _walk(decay, 0, REMEMBERED + int(DELAYS_S[-1] * 25) + 2, begin_s=100)
    assert decay.kept(np.array([0.08, 0.24])) == pytest.approx([1, 1])


def test_only_what_is_asked_for_is_compared_and_sources_stay_apart() -> None:
    decay = Decay()
    for k in range(20):
        decay.add("a", k * 0.04, _tracks({1: 40.0 * k}), None, compare=False)
        decay.add("b", k * 0.04, _tracks({1: 0}), None, compare=True)
    assert decay.kept(np.array([0.08])) == pytest.approx([1])


def test_time_that_runs_back_begins_anew() -> None:
    decay = _walk(Decay(), 0, 30, begin_s=100)
    decay.add("a", 1.0, _tracks({7: 500}), None, compare=True)
    decay.add("a", 1.04, _tracks({7: 500}), None, compare=True)
    assert decay.kept(np.array([0.04, 0.5])) == pytest.approx([1, 1])
