"""On which side of every line each object is, and whose path met a line on the way to the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray

SETTLED_S = 0.05
"""Sightings beyond the band, one after the other, put an object on a side once they span this time (s)."""

Crossed = tuple[int, int, int, float, int]
"""Slot, line, the new side (-1 left, 1 right), and when the path met the line last: seconds, and `captured_ns`."""

SideArray = NDArray[np.int8]

_LOOK = 2
"""In `_quiet`: something is under way between this object and this line."""


class Sides:
    """Sides by slot and line. `Lines` says what a crossing is.

    Args:
        n_lines: how many lines there are.
    """

    def __init__(self, n_lines: int) -> None:
        n = n_lines
        self._n = n
        self._ends = np.zeros((n, 2, 2))
        self._last_xy = np.zeros((0, 2))
        self._last_s = np.zeros(0)
        self._last_ns = np.zeros(0, np.int64)
        # By slot and line. Sides are -1 left, 1 right, 0 not known yet. `_quiet` is the side of an object whose path
        # has not met the line since it was beyond the band there; else _LOOK.
        self._quiet = np.zeros((0, n), np.int8)
        self._side = np.zeros((0, n), np.int8)
        self._run = np.zeros((0, n), np.int8)
        self._run_s = np.zeros((0, n))
        self._odd = np.zeros((0, n), bool)
        self._met_s = np.zeros((0, n))
        self._met_ns = np.zeros((0, n), np.int64)

    def place(self, ends: Float64Array, near: Float64Array, factors: Float64Array) -> None:
        """Where the lines lie from now on.

        Args:
            ends: float64 (L, 2, 2) px.
            near: float64 (L,), the band times the line's length: distances are kept as cross products, which are those
                times that length, exact for pixels.
            factors: float64 (2,), what carries x and y of the pictures before into these.
        """
        self._last_xy *= factors
        self._ends = ends.copy()
        self._first = ends[:, 0].copy()
        self._along = ends[:, 1] - self._first
        dx, dy = self._along.T
        self._ties_right = (dy < 0) | ((dy == 0) & (dx > 0))
        self._near = near
        self._far = 2 * near

    def update(self, view: View) -> list[Crossed]:
        """Take the next frame; the crossings that it makes certain, by row of the view and line."""
        self._make_room(view)
        slot = view.slot
        x, y = view.anchor[:, 0, None], view.anchor[:, 1, None]
        cross = self._along[:, 0] * (y - self._first[:, 1]) - self._along[:, 1] * (x - self._first[:, 0])
        beyond = (cross > self._near).view(np.int8) - (cross < -self._near).view(np.int8)
        rows, lines = (beyond != self._quiet[slot]).nonzero()
        crossed = self._look(view, rows, lines, cross[rows, lines], beyond[rows, lines]) if len(rows) else []
        self._last_xy[slot] = view.anchor
        self._last_s[slot] = view.time_s
        self._last_ns[slot] = view.captured_ns
        return crossed

    def _make_room(self, view: View) -> None:
        if view.capacity > len(self._last_s):
            for name in (
                "_last_xy",
                "_last_s",
                "_last_ns",
                "_quiet",
                "_side",
                "_run",
                "_run_s",
                "_odd",
                "_met_s",
                "_met_ns",
            ):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        born = view.born
        if len(born):
            self._last_xy[born] = np.nan
            self._quiet[born] = _LOOK
            self._side[born] = self._run[born] = 0
            self._odd[born] = False

    def _look(
        self, view: View, rows: IntArray, lines: IntArray, cross: Float64Array, beyond: SideArray
    ) -> list[Crossed]:
        """Follow the pairs of an object and a line between which something may happen."""
        slots = view.slot[rows]
        at = slots * self._n + lines
        self._follow(view, rows, lines, slots, at, cross)
        sides, runs, odds = self._side.reshape(-1), self._run.reshape(-1), self._odd.reshape(-1)
        side, odd = sides[at], odds[at]
        # The side beyond the band that it has been on for a while now, which is not its own, and since when.
        run = np.where(beyond == side, 0, beyond)
        since_s = np.where(run == runs[at], self._run_s.reshape(-1)[at], view.time_s)
        self._run_s.reshape(-1)[at] = since_s
        settled = (view.time_s - since_s >= SETTLED_S) | (np.abs(cross) > self._far[lines]) | (side == 0)
        changed = (run != 0) & settled
        crossed = changed & odd & (side != 0)
        side[changed] = beyond[changed]
        run[changed] = 0
        odd &= (beyond != side) | (beyond == 0)
        sides[at], runs[at], odds[at] = side, run, odd
        self._quiet.reshape(-1)[at] = np.where(odd | (run != 0) | (side == 0), _LOOK, side)
        if not crossed.any():
            return []
        there = at[crossed]
        return list(
            zip(
                slots[crossed].tolist(),
                lines[crossed].tolist(),
                side[crossed].tolist(),
                self._met_s.reshape(-1)[there].tolist(),
                self._met_ns.reshape(-1)[there].tolist(),
                strict=True,
            )
        )

    def _follow(
        self, view: View, rows: IntArray, lines: IntArray, slots: IntArray, at: IntArray, cross: Float64Array
    ) -> None:
        """Where the step from the last sighting to this one meets a line, note it."""
        first, along, start = self._first[lines], self._along[lines], self._last_xy[slots]
        before = along[:, 0] * (start[:, 1] - first[:, 1]) - along[:, 1] * (start[:, 0] - first[:, 0])
        # Nobody saw where a new object was before: not a number, which is never 0 or less.
        (pairs,) = (before * cross <= 0).nonzero()
        if not len(pairs):
            return
        ties = self._ties_right[lines[pairs]]
        pairs = pairs[_right(cross[pairs], ties) != _right(before[pairs], ties)]
        start = start[pairs]
        step = view.anchor[rows[pairs]] - start
        step_x, step_y = step[:, :1], step[:, 1:]
        ends = self._ends[lines[pairs]] - start[:, None]
        ends_right = _right(
            step_x * ends[:, :, 1] - step_y * ends[:, :, 0], (step_y > 0) | ((step_y == 0) & (step_x < 0))
        )
        pairs = pairs[ends_right[:, 0] != ends_right[:, 1]]
        at, slots = at[pairs], slots[pairs]
        part = before[pairs] / (before[pairs] - cross[pairs])
        last_s, last_ns = self._last_s[slots], self._last_ns[slots]
        self._odd.reshape(-1)[at] ^= True
        self._met_s.reshape(-1)[at] = last_s + part * (view.time_s - last_s)
        self._met_ns.reshape(-1)[at] = last_ns + (part * (view.captured_ns - last_ns)).astype(np.int64)


def _right(cross: Float64Array, ties_right: BoolArray) -> BoolArray:
    """Whether points are on the right, by the sign of a cross product."""
    right: BoolArray = (cross > 0) | ((cross == 0) & ties_right)
    return right
