"""Speeds against motion that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import GroundPlaneConfig, SourceRules
from pipeline.analytics.notes import Notes
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.speeds import Speeds
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.tracks import Tracks

HW = (720, 1280)
IMAGE = np.zeros((*HW, 3), np.uint8)


class Walk:
    """Feeds anchor points (bottom centres, px) of objects with ids 1, 2, ... to `Speeds`."""

    def __init__(self, **rules: Any) -> None:
        self.rules = SourceRules(units="px", **rules)
        self.objects = ObjectTable(self.rules)
        self.speeds = Speeds(self.rules)
        self.speeds.place(HW)
        self.index = 0
        self.view: Any = None

    def step(self, time_s: float, feet: np.ndarray, predicted: Any = False, ids: Any = None) -> np.ndarray:
        """Speeds of the objects in this frame."""
        x, y = np.asarray(feet, float).reshape(-1, 2).T
        xyxy = np.stack([x - 20, y - 100, x + 20, y], axis=1).astype(np.float32)
        n = len(x)
        rows = np.where(np.broadcast_to(predicted, n), -1, np.arange(n)).astype(np.int64)
        track_id = np.arange(1, n + 1) if ids is None else np.asarray(ids)
        tracks = Tracks(xyxy, np.ones(n, np.float32), np.zeros(n, np.int64), track_id.astype(np.int64), rows)
        frame = Frame("cam", self.index, IMAGE, time_s, int(time_s * 1e9), CaptureClock.FILE)
        self.index += 1
        self.view = self.objects.see(frame, tracks, time_s)
        self.speeds.update(self.view)
        return self.speeds.speed[self.view.slot]

    @property
    def velocity(self) -> np.ndarray:
        return self.speeds.velocity[self.view.slot]


def line(t: float, start: Any, velocity: Any) -> np.ndarray:
    return np.atleast_2d(np.asarray(start, float) + np.asarray(velocity, float) * t)


@pytest.mark.parametrize("fps", [4, 12.5, 30, 60, 240])
def test_steady_motion_is_told_exactly_at_any_frame_rate(fps: float) -> None:
    walk = Walk()
    for i in range(int(2 * fps)):
        told = walk.step(i / fps, line(i / fps, [[300, 300], [900, 600]], [[80, 60], [-60, 0]]))
    np.testing.assert_allclose(told, [100, 60], rtol=1e-5)
    np.testing.assert_allclose(walk.velocity, [[80, 60], [-60, 0]], atol=1e-3)


@pytest.mark.parametrize("fps", [4, 30])
@pytest.mark.parametrize("window_s", [0.5, 1, 2])
def test_known_from_half_the_window_on(fps: float, window_s: float) -> None:
    """Velocities are worked out 8 times per window, so up to an eighth of it later."""
    walk = Walk(speed_window_s=window_s)
    for i in range(int(2 * window_s * fps)):
        [told] = walk.step(i / fps, line(i / fps, [300, 300], [50, 0]))
        assert np.isnan(told) or i / fps >= window_s / 2 - 1e-9
        assert np.isfinite(told) or i / fps < window_s * (1 / 2 + 1 / 8) + 1 / fps


def test_noise_gives_no_bias_and_the_variance_of_least_squares() -> None:
    """31 samples 1/30 s apart with noise of 3 px: sigma^2 / sum (t - mean)^2, as every textbook has it."""
    rng = np.random.default_rng(0)
    n, fps = 400, 30
    start, velocity = rng.uniform([300, 300], [700, 500], (n, 2)), rng.uniform(-60, 60, (n, 2))
    walk = Walk()
    errors = []
    for i in range(3 * fps):
        walk.step(i / fps, line(i / fps, start, velocity) + rng.normal(0, 3, (n, 2)))
        if i in (40, 80):
            errors.append(walk.velocity - velocity)
    off = np.concatenate(errors)
    times = np.arange(31) / fps
    sigma = 3 / np.sqrt(np.sum((times - times.mean()) ** 2))
    assert abs(off.mean()) < 4 * sigma / np.sqrt(off.size)
    assert off.std() == pytest.approx(sigma, rel=0.05)


def test_half_the_frames_give_the_same_speed_within_the_noise() -> None:
    """Noise of 1 px, a window of 1 s: standard errors are 0.6 and 0.9 px/s, so 4 px/s is more than three of them."""
    rng = np.random.default_rng(1)
    n, fps = 100, 30
    start, velocity = rng.uniform([300, 300], [700, 500], (n, 2)), rng.uniform(-60, 60, (n, 2))
    whole, half = Walk(), Walk()
    for i in range(2 * fps + 1):
        feet = line(i / fps, start, velocity) + rng.normal(0, 1, (n, 2))
        whole.step(i / fps, feet)
        if i % 2 == 0:
            half.step(i / fps, feet)
    off = whole.velocity - half.velocity
    assert np.abs(off).max() < 4
    assert abs(off.mean()) < 0.3


def test_predicted_boxes_tell_nothing() -> None:
    """The tracker predicts on at 200 px/s what stands: the speed is that of the detections."""
    walk = Walk()
    for i in range(60):
        predicted = i % 3 != 0
        told = walk.step(i / 30, line(i / 30, [300, 300], [200 if predicted else 0, 0]), predicted)
    assert told == pytest.approx(0, abs=1e-6)


def test_an_object_that_is_only_predicted_becomes_unknown() -> None:
    walk = Walk()
    known = []
    for i in range(90):
        [told] = walk.step(i / 30, line(i / 30, [300, 300], [50, 0]), predicted=i >= 45)
        known.append(bool(np.isfinite(told)))
    changes = np.flatnonzero(np.diff(known))
    assert len(changes) == 2
    assert 14 <= changes[0] <= 14 + 4
    assert 59 <= changes[1] <= 59 + 4


def test_frames_that_are_missing_change_nothing_but_the_noise() -> None:
    rng = np.random.default_rng(2)
    walk = Walk()
    for i in range(90):
        if rng.random() < 0.5:
            [told] = walk.step(i / 30, line(i / 30, [300, 300], [100, -20]))
    assert told == pytest.approx(np.hypot(100, 20), rel=1e-4)


def test_a_box_cut_by_the_picture_tells_nothing() -> None:
    """A car drives out below: its box ends at the picture's edge, give or take 10 px, which is no stop."""
    rng = np.random.default_rng(3)
    walk = Walk()
    for i in range(120):
        foot = line(i / 30, [600, 500], [0, 100])
        [told] = walk.step(i / 30, np.minimum(foot, [1280, 720 - rng.uniform(-5, 10)]))
        assert np.isnan(told) or told == pytest.approx(100, rel=1e-3)
    assert np.isnan(told)


def test_a_slot_that_serves_another_object_starts_anew() -> None:
    walk = Walk(forget_s=1.0)
    for i in range(30):
        walk.step(i / 30, line(i / 30, [300, 300], [100, 0]))
    walk.step(2.0, np.zeros((0, 2)), ids=[])
    for i in range(10):
        assert np.isnan(walk.step(2.1 + i / 30, [[900, 600]], ids=[2]))


def test_clocks_of_months_lose_no_precision() -> None:
    walk = Walk()
    month = 30 * 86400.0
    for i in range(60):
        told = walk.step(month + i / 30, line(i / 30, [300, 300], [100, 0]))
    assert told == pytest.approx(100, rel=1e-5)


def road_camera() -> np.ndarray:
    """(3, 3): from the ground (m) to the picture of a camera 6 m up that looks down by 25 degrees."""
    pitch = np.radians(25)
    rotation = np.array([[1, 0, 0], [0, -np.sin(pitch), -np.cos(pitch)], [0, np.cos(pitch), -np.sin(pitch)]])
    outer = np.column_stack([rotation[:, 0], rotation[:, 1], -rotation @ [0, -8, 6]])
    return np.array([[900, 0, 640], [0, 900, 360], [0, 0, 1]]) @ outer


def in_picture(ground: np.ndarray) -> np.ndarray:
    to = np.column_stack([ground, np.ones(len(ground))]) @ road_camera().T
    return to[:, :2] / to[:, 2:]


@pytest.mark.parametrize("kmh", [5, 30, 50, 100])
@pytest.mark.parametrize("heading_deg", [90, 270, 60])
def test_speeds_on_a_ground_plane_are_km_per_h(kmh: float, heading_deg: float) -> None:
    """Cars on a road in perspective, box corners rounded to whole pixels, known within 2 % up to 20 m away.

    5 km/h is 1.4 m in the window of 1 s: there rounding is worth more, and the window is 2 s.
    """
    corners = np.array([[-5, 0], [5, 0], [5, 30], [-5, 30]], float)
    plane = GroundPlaneConfig(image=tuple(map(tuple, in_picture(corners))), world_m=tuple(map(tuple, corners)))
    walk = Walk(ground_plane=plane, speed_window_s=2.0 if kmh < 10 else 1.0)
    heading = np.radians(heading_deg)
    velocity = kmh / 3.6 * np.array([np.cos(heading), np.sin(heading)])
    fps, told = 30, []
    for i in range(-90, 91):
        place = np.array([0, 8.0]) + velocity * (i / fps)
        if not (0 < place[1] < 20 and abs(place[0]) < 5):
            continue
        told.append(walk.step(10 + i / fps, np.round(in_picture(place[None])))[0])
    known = np.array(told)[np.isfinite(told)]
    assert len(known) >= 4
    np.testing.assert_allclose(known, kmh, rtol=0.02)
    assert list(Notes(walk.view.track_id, walk.speeds.kmh(walk.view), None).values()) == [f"{round(known[-1])} km/h"]
    assert walk.speeds.unit == "km/h"


def test_no_notes_in_pixels() -> None:
    walk = Walk()
    for i in range(40):
        walk.step(i / 30, [[300, 300]])
    assert walk.speeds.kmh(walk.view) is None
    assert Notes(walk.view.track_id, walk.speeds.kmh(walk.view), None) == {}
    assert walk.speeds.unit == "px/s"
