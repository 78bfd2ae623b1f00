"""Who is too fast, goes the wrong way, or stands."""

from __future__ import annotations

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array

N_KINDS = 3
"""Speeding, the wrong way, standing: in this order."""

EASE = 0.9
"""Speeding ends below this share of the limit; a stand ends above its speed divided by it."""


class Conditions:
    """Limits of the zones that watch motion.

    Args:
        max_speed: float64 (watched,): faster is speeding.
        wrong_cos: float64 (watched,): motion is wrong whose share along the right way is this or less.
        over_cos: float64 (watched,): it is no more above this.
    """

    def __init__(self, max_speed: Float64Array, wrong_cos: Float64Array, over_cos: Float64Array) -> None:
        self._max_speed, self._wrong_cos, self._over_cos = max_speed, wrong_cos, over_cos

    def place(self, min_speed: Float64Array, stand_speed: Float64Array, directions: Float64Array) -> None:
        """What depends on the size of the picture.

        Args:
            min_speed: float64 (watched,): slower has no direction.
            stand_speed: float64 (watched,): slower stands.
            directions: float64 (watched, 2): the right way, as long as a velocity of speed 1; nan where any is right.
        """
        self._min_speed, self._stand_speed, self._directions = min_speed, stand_speed, directions

    def look(self, velocity: Float64Array, speed: Float64Array, inside: BoolArray) -> tuple[BoolArray, BoolArray]:
        """What is true and what is false of some objects; of unknown speeds, neither.

        Args:
            velocity: float64 (m, 2).
            speed: float64 (m,).
            inside: bool (m, watched): who is in which zone.

        Returns:
            Two of bool (m, kinds x watched).
        """
        speed = speed[:, None]
        along = velocity[:, :1] * self._directions[:, 0] + velocity[:, 1:] * self._directions[:, 1]
        on = np.empty((len(speed), N_KINDS, inside.shape[1]), bool)
        off = np.empty_like(on)
        np.greater(speed, self._max_speed, out=on[:, 0])
        np.less(speed, EASE * self._max_speed, out=off[:, 0])
        np.less_equal(along, self._wrong_cos * speed, out=on[:, 1])
        on[:, 1] &= speed >= self._min_speed
        np.greater(along, self._over_cos * speed, out=off[:, 1])
        off[:, 1] |= speed < EASE * self._min_speed
        np.less(speed, self._stand_speed, out=on[:, 2])
        np.greater(speed, self._stand_speed / EASE, out=off[:, 2])
        here = inside[:, None]
        on &= here
        off |= ~here
        flat = len(speed), N_KINDS * inside.shape[1]
        return on.reshape(flat), off.reshape(flat)
