"""The ground plane: exact where it must be, and one clear line for points that tell no plane."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.analytics.config import GroundPlaneConfig
from pipeline.analytics.ground_plane import GroundPlane, check_ground_plane
from pipeline.core.errors import ConfigError

SIZE = np.array([1280, 720])
ROAD = np.array([[0, 0], [7, 0], [7, 40], [0, 40]], float)


def camera(pitch_deg: float = 25, height_m: float = 6, focal_px: float = 900) -> np.ndarray:
    """(3, 3): from the ground (x right, y ahead, m) to the picture of a camera above (0, -8) that looks down."""
    pitch = np.radians(pitch_deg)
    right, ahead = np.array([1, 0, 0]), np.array([0, np.cos(pitch), -np.sin(pitch)])
    down = np.array([0, -np.sin(pitch), -np.cos(pitch)])
    rotation = np.stack([right, down, ahead])
    at = np.array([0, -8, height_m])
    inner = np.array([[focal_px, 0, 640], [0, focal_px, 360], [0, 0, 1]])
    outer = np.column_stack([rotation[:, 0], rotation[:, 1], -rotation @ at])
    return inner @ outer


def seen(points: np.ndarray, matrix: np.ndarray | None = None) -> np.ndarray:
    """Points of the ground (n, 2) in the picture."""
    to = np.column_stack([points, np.ones(len(points))]) @ (camera() if matrix is None else matrix).T
    return to[:, :2] / to[:, 2:]


def plan(image: Any, world: Any, **settings: float) -> GroundPlaneConfig:
    return GroundPlaneConfig(
        image=tuple(map(tuple, np.asarray(image).tolist())),
        world_m=tuple(map(tuple, np.asarray(world).tolist())),
        **settings,
    )


def placed(config: GroundPlaneConfig, size: Any = 1) -> GroundPlane:
    return GroundPlane(config, np.array(config.image) * size, "plane")


def test_four_points_give_every_other_point() -> None:
    plane = placed(plan(seen(ROAD), ROAD))
    others = np.random.default_rng(0).uniform([-10, -2], [15, 80], (200, 2))
    np.testing.assert_allclose(plane.to_world(seen(others)), others, atol=1e-6)
    assert plane.error_px < 1e-6


def test_fractions_give_the_same_plane_as_pixels() -> None:
    rng = np.random.default_rng(1)
    world = rng.uniform([-5, 0], [10, 40], (9, 2))
    image = seen(world) + rng.normal(0, 1, (9, 2))
    in_px = placed(plan(image, world))
    in_fractions = placed(plan(image / SIZE, world), SIZE)
    points = rng.uniform([0, 200], [1280, 720], (50, 2))
    np.testing.assert_allclose(in_px.to_world(points), in_fractions.to_world(points), rtol=1e-6)
    assert in_px.error_px == pytest.approx(in_fractions.error_px)


def test_more_points_even_out_their_errors() -> None:
    """The mean error of 30 places from 40 noisy points is below half of that from 4 of them."""
    rng = np.random.default_rng(2)
    corners = np.array([[-5, 0], [12, 0], [12, 50], [-5, 50]], float)
    world = np.vstack([corners, rng.uniform([-5, 0], [12, 50], (36, 2))])
    check = rng.uniform([-5, 0], [12, 50], (30, 2))
    off: dict[int, list[float]] = {4: [], 40: []}
    for _ in range(30):
        image = seen(world) + rng.normal(0, 1, world.shape)
        for n, errors in off.items():
            plane = placed(plan(image[:n], world[:n]))
            errors.append(float(np.nanmean(np.linalg.norm(plane.to_world(seen(check)) - check, axis=1))))
    assert np.mean(off[40]) < 0.5 * np.mean(off[4])


def test_error_px_is_the_noise_of_the_points() -> None:
    """40 points with 2 x 40 noisy coordinates and 8 unknowns: the residual is sigma x sqrt(2 x 72 / 80)."""
    rng = np.random.default_rng(3)
    world = rng.uniform([-5, 0], [12, 40], (40, 2))
    errors = [placed(plan(seen(world) + rng.normal(0, 1, (40, 2)), world)).error_px for _ in range(40)]
    assert np.mean(errors) == pytest.approx(np.sqrt(2 * 72 / 80), rel=0.05)


def test_no_place_at_the_horizon_and_above() -> None:
    plane = placed(plan(seen(ROAD), ROAD))
    horizon_y = 360 - 900 * np.tan(np.radians(25))
    rows = np.array([horizon_y - 50, horizon_y, horizon_y + 1, 300.0])
    told = np.isfinite(plane.to_world(np.column_stack([np.full(4, 640.0), rows])))
    assert told.tolist() == [[False] * 2] * 3 + [[True] * 2]


@given(turn=st.integers(0, 3), mirrored=st.booleans())
def test_any_corner_may_be_first_and_a_plan_may_be_mirrored(turn: int, mirrored: bool) -> None:
    """Distances on the ground are the same for a plan whose y grows towards the camera."""
    world = ROAD * ([1, -1] if mirrored else [1, 1])
    plane = placed(plan(np.roll(seen(ROAD), turn, 0), np.roll(world, turn, 0)))
    a, b = plane.to_world(seen(np.array([[1.0, 5], [4, 9]])))
    assert np.linalg.norm(a - b) == pytest.approx(5)


IMAGE = seen(ROAD)
FLAT = np.array([[0, 0], [1, 1], [2, 2], [3, 3.0]])
BAD: dict[str, tuple[Any, Any, str]] = {
    "numbers": (np.vstack([IMAGE, IMAGE[:1]]), ROAD, r"as many points in world_m as in image, found 4 and 5"),
    "all on a line in the picture": (FLAT * 100, ROAD, r"\.image: .* found 4 on one line"),
    "all on a line on the plan": (IMAGE, FLAT, r"\.world_m: .* found 4 on one line"),
    "three on a line in the picture": (
        [[100, 100], [200, 100], [300, 100], [200, 300]],
        ROAD,
        r"\.image: .* all but point 4 on a line",
    ),
    "three on a line on the plan": (
        IMAGE,
        [[0, 0], [5, 9], [10, 0], [20, 0]],
        r"\.world_m: .* all but point 2 on a line",
    ),
    "one point twice": (IMAGE[[0, 1, 2, 2]], ROAD, r"\.image: .* no three are on one line"),
    "all one point": (IMAGE[[0, 0, 0, 0]], ROAD, r"\.image: .* found 4 on one line"),
    "pairs of points": (
        IMAGE[[0, 0, 1, 1, 2, 2]],
        ROAD[[0, 0, 1, 1, 2, 2]],
        r"too many on one line or on a spot",
    ),
    "corners in crossing order": (IMAGE[[0, 2, 1, 3]], ROAD, r"in the same turn"),
    "one corner inside": (IMAGE, [[0, 0], [10, 0], [4, 4], [0, 10]], r"in the same turn"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("units", ["px", "fraction"])
def test_points_that_tell_no_plane_are_refused(case: str, units: Any) -> None:
    image, world, says = BAD[case]
    image = np.asarray(image, float) / (SIZE if units == "fraction" else [1, 1])
    with pytest.raises(ConfigError, match=says) as caught:
        check_ground_plane(plan(image, world), "analytics.sources.gate.ground_plane", units)
    assert str(caught.value).startswith("analytics.sources.gate.ground_plane")
    assert "\n" not in str(caught.value)


def test_points_that_disagree_are_refused_with_the_worst_one() -> None:
    world = np.array([[0, 0], [7, 0], [7, 40], [0, 40], [3, 20], [0, 20], [7, 20], [3, 40]], float)
    image = seen(world)
    image[4] += [60, 0]
    with pytest.raises(ConfigError, match=r"within max_error_px 5, found 21\.4 px; .* point 5$"):
        check_ground_plane(plan(image, world), "plane", "px")
    in_fractions = plan(image / SIZE, world)
    check_ground_plane(in_fractions, "plane", "fraction")
    with pytest.raises(ConfigError, match=r"within max_error_px 5, found 21\.4 px; .* point 5$"):
        placed(in_fractions, SIZE)
    placed(plan(image, world, max_error_px=30))


@pytest.mark.parametrize("length_m", [5, 100, 400])
def test_a_long_narrow_road_is_a_plane(length_m: float) -> None:
    world = np.array([[0, 0], [3.5, 0], [3.5, length_m], [0, length_m]])
    check_ground_plane(plan(seen(world), world), "plane", "px")
