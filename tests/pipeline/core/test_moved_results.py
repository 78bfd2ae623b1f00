"""Results whose tracks are moved to a later instant, or onto a later frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.detections import Detections
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.motion import TrackMotion
from pipeline.core.result import HORIZON_S, STALE_S, FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks

MS = 1_000_000
T0 = 7_000 * MS
EVENT = Event("0" * 16, EventKind.CROSSING, "door", "cam", 0.0, 0.0, T0, 5)


def frame(
    captured_ns: int = T0, index: int = 5, hw: tuple[int, int] = (48, 64), n_breaks: int = 0, pts_s: float | None = None
) -> Frame:
    return Frame("cam", index, np.zeros((*hw, 3), np.uint8), pts_s, captured_ns, CaptureClock.RECEIVE, n_breaks)


def result(velocity: tuple[float, ...] = (100, 0, 100, 0), *, motion: bool = True) -> FrameResult:
    """One track at (10, 10, 30, 40); 3 px sure of its place and 40 px/s of its velocity."""
    xyxy, one = np.array([[10, 10, 30, 40]], np.float32), np.ones(1, np.int64)
    score = np.array([0.5], np.float32)
    moves = TrackMotion(np.array([velocity], np.float32), np.array([3], np.float32), np.array([40], np.float32))
    return FrameResult(
        frame(),
        Detections(xyxy, score, one),
        Tracks(xyxy, score, one, one, one - 1),
        Timeline(captured=T0),
        events=(EVENT,),
        motion=moves if motion else None,
    )


def test_tracks_go_where_they_will_be_and_nothing_else_changes() -> None:
    before = result((100, -50, 120, -50))
    moved = before.moved_to(T0 + 100 * MS)
    assert moved.tracks.xyxy.tolist() == [[20, 5, 42, 35]]
    assert moved.boxes_at_ns == T0 + 100 * MS
    assert moved.motion is not None
    assert moved.motion.std_px.tolist() == [5.0], "3 px, and 4 px from 40 px/s over 100 ms"
    assert moved.motion.velocity.tolist() == [[100, -50, 120, -50]]
    assert (moved.frame, moved.detections, moved.events) == (before.frame, before.detections, before.events)
    assert moved.tracks.track_id.tolist() == [1]
    assert (before.tracks.xyxy.tolist(), before.boxes_at_ns) == ([[10, 10, 30, 40]], None)


@pytest.mark.parametrize(
    ("asked_ms", "got_ms"),
    [(0, 0), (-30, 0), (999, 999), (HORIZON_S * 1e3, HORIZON_S * 1e3), (60_000, HORIZON_S * 1e3)],
)
def test_neither_backwards_nor_farther_than_the_horizon(asked_ms: float, got_ms: float) -> None:
    moved = result().moved_to(T0 + round(asked_ms * MS))
    assert moved.boxes_at_ns == T0 + round(got_ms * MS)
    assert moved.tracks.xyxy[0, 0] == pytest.approx(10 + got_ms / 10)


def test_without_motion_it_is_the_same() -> None:
    plain = result(motion=False)
    assert plain.moved_to(T0 + MS) is plain


def test_no_tracks_are_moved_too() -> None:
    nothing = TrackMotion(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32))
    moved = replace(result(), tracks=Tracks.empty(), motion=nothing).moved_to(T0 + 5)
    assert (len(moved.tracks), moved.boxes_at_ns) == (0, T0 + 5)


@given(st.integers(0, 200), st.integers(0, 1000))
def test_moving_twice_ends_where_moving_once_does(first_ms: int, then_ms: int) -> None:
    twice = result((70, 30, -20, 10)).moved_to(T0 + first_ms * MS).moved_to(T0 + then_ms * MS)
    once = result((70, 30, -20, 10)).moved_to(T0 + then_ms * MS)
    assert twice.boxes_at_ns == once.boxes_at_ns
    np.testing.assert_allclose(twice.tracks.xyxy, once.tracks.xyxy, atol=1e-3)


def test_a_later_frame_gets_the_tracks_at_its_own_capture_and_no_events() -> None:
    later = frame(T0 + 200 * MS, index=10)
    view = result().on_frame(later)
    assert view.frame is later
    assert view.tracks.xyxy.tolist() == [[30, 10, 50, 40]]
    assert (view.boxes_at_ns, view.events) == (T0 + 200 * MS, ())


@pytest.mark.parametrize(
    ("pts_s", "later_pts_s", "left"),
    [(1.0, 1.15, 25), (None, 1.15, 30), (1.0, None, 30), (9.0, 1.0, 30), (1.0, 3.0, 110)],
    ids=["media time", "none before", "none now", "runs back", "to the horizon"],
)
def test_a_later_frame_is_as_late_as_the_source_says(
    pts_s: float | None, later_pts_s: float | None, left: float
) -> None:
    """It came 200 ms later, but 50 ms of that are the network's."""
    before = replace(result(), frame=frame(pts_s=pts_s))
    view = before.on_frame(frame(T0 + 200 * MS, pts_s=later_pts_s))
    assert view.tracks.xyxy[0, 0] == pytest.approx(left)
    assert view.boxes_at_ns == T0 + 200 * MS


def test_beyond_the_horizon_boxes_wait_where_they_are() -> None:
    view = result().on_frame(frame(T0 + 3_000 * MS))
    assert view.tracks.xyxy.tolist() == [[110, 10, 130, 40]]
    assert view.boxes_at_ns == T0 + 1_000 * MS


@pytest.mark.parametrize(
    "other",
    [frame(T0 + 40 * MS, hw=(24, 32)), frame(T0 + 40 * MS, n_breaks=1), frame(T0 + round(STALE_S * 1e9))],
    ids=["another size", "after a break", "stale"],
)
def test_a_frame_that_the_tracks_say_nothing_about_is_shown_without(other: Frame) -> None:
    view = result().on_frame(other)
    assert view.frame is other
    assert (len(view.tracks), len(view.detections), view.boxes_at_ns, view.motion) == (0, 0, None, None)
