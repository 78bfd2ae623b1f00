"""Heatmaps: seconds are conserved, flow is velocity, gaps burn no hole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import HeatmapConfig, SourceRules
from pipeline.analytics.heatmap import HeatmapGrid
from pipeline.analytics.objects import ObjectTable
from pipeline.core.errors import ConfigError
from pipeline.core.frame import CaptureClock, Frame
from pipeline.core.tracks import Tracks

HW = (360, 640)
NAMES = ("person", "car")


class Film:
    def __init__(self, **config: Any) -> None:
        self.objects = ObjectTable(SourceRules())
        self.grid = HeatmapGrid(HeatmapConfig(**config), NAMES)
        self.hw = (0, 0)
        self.index = 0

    def step(self, time_s: float, feet: Any, class_id: Any = 0, hw: tuple[int, int] = HW) -> None:
        if hw != self.hw:
            self.grid.place(hw)
            self.hw = hw
        x, y = np.asarray(feet, float).reshape(-1, 2).T
        n = len(x)
        xyxy = np.stack([x - 10, y - 50, x + 10, y], axis=1).astype(np.float32)
        classes = np.broadcast_to(np.asarray(class_id, np.int64), n).copy()
        ids = np.arange(1, n + 1)
        tracks = Tracks(xyxy, np.ones(n, np.float32), classes, ids, ids - 1)
        image = np.broadcast_to(np.uint8(0), (*hw, 3))
        frame = Frame("cam", self.index, image, time_s, int(time_s * 1e9), CaptureClock.FILE)
        self.index += 1
        self.grid.update(self.objects.see(frame, tracks, time_s))


@pytest.mark.parametrize("fps", [5, 12.5, 30])
def test_seconds_lie_where_the_objects_stood(fps: float) -> None:
    """Gathered ten times a second: the last tenth may be missing."""
    film = Film(columns=64)
    for i in range(int(10 * fps) + 1):
        film.step(i / fps, [[105, 205], [301, 103]])
    result = film.grid.result()
    assert result.cell_px == 10
    assert result.presence_s.shape == (36, 64)
    assert 9.9 <= result.presence_s[20, 10] <= 10.001
    assert 9.9 <= result.presence_s[10, 30] <= 10.001
    assert 19.8 <= result.presence_s.sum() <= 20.001
    assert not result.flow_px_s.any()


def test_the_live_array_is_the_result() -> None:
    film = Film(columns=32)
    rng = np.random.default_rng(0)
    for i in range(200):
        film.step(i / 30, rng.uniform([0, 0], [640, 360], (20, 2)))
    assert film.grid.presence.dtype == np.float32
    np.testing.assert_array_equal(film.grid.presence, film.grid.result().presence_s)
    assert 20 * (199 / 30 - 0.1) <= film.grid.presence.sum() <= 20 * 199 / 30 + 1e-3


def test_a_gap_counts_for_a_second_at_most() -> None:
    film = Film()
    for time_s in (0, 0.1, 60.1):
        film.step(time_s, [[100, 200]])
    assert film.grid.presence.sum() == pytest.approx(1.1)


def test_weeks_of_presence_still_grow() -> None:
    """In float32 alone 1e6 s + 0.03 s is 1e6 s."""
    film = Film()
    film.step(0, [[100, 200]])
    film.grid._cells.presence_s[:] = 1e6
    for i in range(1, 301):
        film.step(i / 30, [[100, 200]])
    assert film.grid.presence.max() == pytest.approx(1e6 + 10, abs=0.1)


@pytest.mark.parametrize("fps", [10, 30])
@pytest.mark.parametrize("velocity", [(90, 0), (0, -50), (-40, 60), (600, 0)])
def test_flow_is_the_velocity_of_what_moved_through(velocity: tuple[float, float], fps: float) -> None:
    """Objects stand about as well: they add no flow, though their boxes tremble."""
    rng = np.random.default_rng(1)
    film = Film(columns=32)
    start = np.array([320, 180]) - np.array(velocity) * 0.5
    for i in range(int(fps) + 1):
        standing = np.array([[320, 180], [100, 300]]) + rng.normal(0, 1, (2, 2))
        film.step(i / fps, np.vstack([start + np.array(velocity) * (i / fps), standing]))
    flow = film.grid.result().flow_px_s
    moved = flow[np.abs(flow).sum(axis=2) > 0]
    assert len(moved) > 0
    np.testing.assert_allclose(moved, np.broadcast_to(velocity, moved.shape), rtol=1e-4, atol=0.1)


def test_two_ways_through_one_cell_give_their_mean() -> None:
    film = Film(columns=32)
    for i in range(31):
        film.step(i / 30, [[250 + 120 * i / 30, 180], [370 - 120 * i / 30, 180]])
    cell = film.grid.result().flow_px_s[9, 15]
    assert np.abs(cell).max() < 10


def test_a_jump_after_a_gap_is_no_flow() -> None:
    film = Film()
    film.step(0, [[100, 200]])
    film.step(3, [[400, 200]])
    assert not film.grid.result().flow_px_s.any()


def test_only_the_classes_asked_for_count() -> None:
    film = Film(classes=("car",))
    for i in range(31):
        film.step(i / 30, [[100, 200], [400, 100]], class_id=[0, 1])
    assert film.grid.presence.sum() == pytest.approx(1)
    assert film.grid.presence[10, 40] > 0
    with pytest.raises(ConfigError, match="cart"):
        HeatmapGrid(HeatmapConfig(classes=("cart",)), NAMES)


def test_points_outside_count_at_the_rim() -> None:
    film = Film()
    film.step(0, [[-5, -5], [700, 400]])
    film.step(0.5, [[-5, -5], [700, 400]])
    assert film.grid.presence[0, 0] == film.grid.presence[-1, -1] == 0.5


def test_cells_are_square_in_any_picture() -> None:
    film = Film(columns=64)
    film.step(0, [[100, 200]], hw=(1000, 700))
    assert film.grid.presence.shape == (92, 64)


def test_a_picture_that_changes_its_size_keeps_what_was_gathered() -> None:
    """The same walk in a picture of half the size: presence in the same cells, flow in px of the last size."""
    film = Film(columns=32)
    for i in range(61):
        scale = 1.0 if i <= 30 else 0.5
        film.step(i / 30, np.array([[200 + 100 * i / 30, 180]]) * scale, hw=(int(360 * scale), int(640 * scale)))
        if i == 30:
            film.objects.scale(np.array([0.5, 0.5]))
    result = film.grid.result()
    assert result.cell_px == 10
    assert result.presence_s.sum() == pytest.approx(2)
    assert set(np.flatnonzero(result.presence_s.sum(axis=1)).tolist()) == {9}
    moved = result.flow_px_s[np.abs(result.flow_px_s).sum(axis=2) > 0]
    np.testing.assert_allclose(moved, np.broadcast_to([50, 0], moved.shape), atol=0.5)
