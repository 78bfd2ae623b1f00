"""Where the rules lie in the picture, in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.analytics.config import Point, Units
from pipeline.core.arrays import Float64Array
from pipeline.core.errors import ConfigError, UsageError

MIN_BAND_PX = 15.0
BAND_OF_DIAGONAL = 0.01


class Placement:
    """Turns the coordinates of one source's rules into pixels of its pictures.

    Coordinates in pixels are those of the first picture. When a source changes its size (a camera that falls back to a
    smaller stream shows the same scene), they are scaled with it.

    Args:
        units: what the coordinates are.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        self._first_hw: tuple[int, int] | None = None
        self._shape_hw: tuple[int, int] | None = None

    def move_to(self, shape_hw: tuple[int, int]) -> Float64Array:
        """Take the size of the pictures from now on (px).

        Returns:
            float64 (2,): x and y factors that carry pixels of the pictures before into pixels of these; 1 at first.
        """
        before = self._shape_hw or shape_hw
        self._first_hw = self._first_hw or shape_hw
        self._shape_hw = shape_hw
        return np.array([shape_hw[1] / before[1], shape_hw[0] / before[0]])

    def px(self, points: Sequence[Point], name: str) -> Float64Array:
        """Points of a rule, float64 (k, 2): x, y in px of the present pictures.

        Raises:
            ConfigError: a point in pixels that lies outside the first picture; names the rule.
        """
        given = np.array(points, np.float64)
        height, width = self._size(self._shape_hw)
        if self._units == "fraction":
            return given * [width, height]
        first_height, first_width = self._size(self._first_hw)
        for x, y in given.tolist():
            if not (0 <= x <= first_width and 0 <= y <= first_height):
                raise ConfigError(
                    f"{name!r}: wanted points inside the picture of {first_width}x{first_height} px, found "
                    f"({x:g}, {y:g}); correct it, or give fractions with units: fraction"
                )
        if (height, width) == (first_height, first_width):
            return given
        return given * [width / first_width, height / first_height]

    def band_px(self, wanted_px: float | None) -> float:
        """Half the width of the strip in which an object keeps its side (px of the present pictures).

        Args:
            wanted_px: what the rule says, in px of the first picture; None: 1 % of the diagonal, 15 px or more.
        """
        height, width = self._size(self._shape_hw)
        if wanted_px is None:
            return max(MIN_BAND_PX, BAND_OF_DIAGONAL * math.hypot(width, height))
        first_height, first_width = self._size(self._first_hw)
        return wanted_px * math.hypot(width, height) / math.hypot(first_width, first_height)

    @staticmethod
    def _size(shape_hw: tuple[int, int] | None) -> tuple[int, int]:
        if shape_hw is None:
            raise UsageError("Placement: wanted move_to with the size of the pictures first, found none")
        return shape_hw
