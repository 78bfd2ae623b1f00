"""Where points of the picture lie on the ground, from a few points whose places on a plan are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.analytics.config import GroundPlaneConfig, Point, Units
from pipeline.core.arrays import Float64Array
from pipeline.core.errors import ConfigError

_FLAT = 0.01
"""Points that lie closer to one line than this share of their extent lie on it."""

_UNSOLVED = 1e-6
"""Equations of less than full rank: the smallest singular value but one, as a share of the largest."""

_FARTHEST = 10.0
"""Points so many times deeper in the scene than the deepest point of the plan are told no place: there, a pixel more
or less is a street more or less."""


class GroundPlane:
    """The homography from the picture to the ground.

    Args:
        config: the points.
        image_px: float64 (n, 2): its points in the picture (px).
        where: what errors call it.

    Attributes:
        error_px: root mean square distance between the picture's points and the plan's, seen in the picture (px); 0 up
            to rounding with four points, which always fit.
        matrix: float64 (3, 3): from the picture to the ground, in homogeneous coordinates x, y, w.
        min_w: the least w of a point that is told its place.

    Raises:
        ConfigError: the points do not tell where the ground is, or disagree by more than `max_error_px`.

    Source: Hartley and Zisserman, Multiple View Geometry, 2nd edition, algorithm 4.2 (normalised direct linear
        transformation). Points are normalised by their covariance, not by their mean distance alone, so that picture
        points in fractions give the same plane as in pixels.
    """

    def __init__(self, config: GroundPlaneConfig, image_px: Float64Array, where: str = "ground_plane") -> None:
        self.matrix, self.min_w = _solved(config, image_px, where)
        to_image = np.asarray(np.linalg.inv(self.matrix), np.float64)
        off = _mapped(to_image, np.array(config.world_m, np.float64)) - image_px
        self.error_px = float(np.sqrt(np.mean(np.sum(off**2, axis=1))))
        if self.error_px > config.max_error_px:
            raise ConfigError(
                f"{where}: wanted points that agree within max_error_px {config.max_error_px:g}, found "
                f"{self.error_px:.1f} px; measure the worst one again: point {np.argmax(np.sum(off**2, axis=1)) + 1}"
            )

    def to_world(self, points_px: Float64Array) -> Float64Array:
        """Places on the ground.

        Args:
            points_px: (m, 2) x, y px.

        Returns:
            float64 (m, 2) m, in the axes of the plan; nan for points above the horizon, at it, or close below it.
        """
        matrix = self.matrix
        to = points_px[:, :1] * matrix[:, 0] + points_px[:, 1:] * matrix[:, 1] + matrix[:, 2]
        w = to[:, 2:]
        return np.asarray(to[:, :2] / np.where(w >= self.min_w, w, np.nan))


def check_ground_plane(config: GroundPlaneConfig, where: str, units: Units) -> None:
    """Refuse points that do not tell where the ground is.

    How far more than four points disagree is known in pixels: of points in fractions, only once the picture's size is.
    `GroundPlane` then says it.

    Raises:
        ConfigError: one line that begins with `where`.
    """
    image = np.array(config.image, np.float64)
    if units == "px":
        GroundPlane(config, image, where)
    else:
        _solved(config, image, where)


def _solved(config: GroundPlaneConfig, image: Float64Array, where: str) -> tuple[Float64Array, float]:
    """The homography (3, 3) with w > 0 below the horizon, and the least w of a point that is told its place."""
    n, n_world = len(image), len(config.world_m)
    if n != n_world:
        raise ConfigError(f"{where}: wanted as many points in world_m as in image, found {n_world} and {n}")
    world = np.array(config.world_m, np.float64)
    _refuse_a_line(config.image, f"{where}.image")
    _refuse_a_line(config.world_m, f"{where}.world_m")
    whiten_image, whiten_world = _whitening(image), _whitening(world)
    a, b = _mapped(whiten_image, image), _mapped(whiten_world, world)
    ones, zeros = np.ones((n, 1)), np.zeros((n, 3))
    a = np.hstack([a, ones])
    equations = np.vstack([np.hstack([a, zeros, -b[:, :1] * a]), np.hstack([zeros, a, -b[:, 1:] * a])])
    _, values, rows = np.linalg.svd(equations)
    solution = rows[-1].reshape(3, 3)
    w = a @ solution[2]
    if values[7] < _UNSOLVED * values[0] or np.linalg.cond(solution) > 1 / _UNSOLVED:
        raise ConfigError(
            f"{where}: wanted points that spread over the ground, found too many on one line or on a spot"
        )
    if w.min() * w.max() <= 0:
        raise ConfigError(
            f"{where}: wanted image and world_m in one order, found points on both sides of the horizon; "
            "name the points of image and of world_m in the same turn"
        )
    w = np.abs(w)
    solution *= np.sign(a[0] @ solution[2])
    whole: Float64Array = np.linalg.inv(whiten_world) @ solution @ whiten_image
    # The whitening of the picture ends in (0, 0, 1), that of the plan too: w means the same before and after.
    return whole, float(w.min()) / _FARTHEST


def _refuse_a_line(points: Sequence[Point], where: str) -> None:
    """Four points with three on a line tell no plane, nor do more of which all but one are on a line."""
    given = np.array(points, np.float64)
    if not _extent_ok(given - given.mean(axis=0), 0.005):
        raise ConfigError(f"{where}: wanted points spread over the ground, found {len(points)} on one line")
    white = _mapped(_whitening(given), given)
    for left_out in range(len(points)):
        rest = np.delete(white, left_out, axis=0)
        if not _extent_ok(rest - rest.mean(axis=0), _FLAT):
            raise ConfigError(
                f"{where}: wanted four points of which no three are on one line, found all but point {left_out + 1} "
                "on a line"
            )


def _extent_ok(centred: Float64Array, least: float) -> bool:
    long, short = np.linalg.svd(centred, compute_uv=False)
    return bool(short > least * long)


def _whitening(points: Float64Array) -> Float64Array:
    """(3, 3): moves points to mean 0 and covariance 1."""
    mean = points.mean(axis=0)
    factor = np.linalg.inv(np.linalg.cholesky(np.cov(points.T)))
    matrix = np.eye(3)
    matrix[:2, :2] = factor
    matrix[:2, 2] = -factor @ mean
    return matrix


def _mapped(matrix: Float64Array, points: Float64Array) -> Float64Array:
    """(n, 2) points through a homography (3, 3)."""
    to = points @ matrix[:, :2].T + matrix[:, 2]
    return np.asarray(to[:, :2] / to[:, 2:])
