"""Who crossed which line, and when."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.objects import ObjectTable, grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.class_names import class_ids
from pipeline.core.event import Event, EventKind

SETTLED_S = 0.05
"""Sightings beyond the band, one after the other, put an object on a side once they span this time (s)."""

SideArray = NDArray[np.int8]

_LOOK = 2
"""In `_quiet`: something is under way between this object and this line."""


class Lines:
    """Counts the crossings of all lines of a source.

    The first time that an object's anchor point is farther than the band from the (endless) line, it is on that side.
    It changes sides once it was farther than the band on the other one for 0.05 s, in two sightings or more and all
    between them, or once it is farther than twice the band. If its path met the line between its two ends an odd number
    of times since it was last beyond the band on the side it left, that is one crossing, at the time of the last
    meeting. The path goes straight from sighting to sighting, also across a gap. Who walks round an end changes sides
    without a crossing, and who appears has crossed nothing.

    No point is ever on a line, and no path meets the end of one: every path is taken as if it lay an infinitely small
    step further right, and a far smaller one further down. So of two lines that share an end, a path between their
    other ends crosses exactly one.

    Args:
        rules: the lines, their units.
        class_names: names by class_id.
        objects: what is known of each object.
        maker: makes the events.

    Attributes:
        lines_px: float64 (L, 2, 2): the ends.
        crossings: int64 (L, 2): crossings in and out so far.
    """

    def __init__(
        self, rules: SourceRules, class_names: tuple[str, ...], objects: ObjectTable, maker: EventMaker
    ) -> None:
        self._lines = rules.lines
        self._placement = Placement(rules.units)
        self._objects = objects
        self._maker = maker
        n = len(self._lines)
        self._counts: list[frozenset[int] | None] = [
            frozenset(class_ids(line.classes, class_names)) if line.classes else None for line in self._lines
        ]
        self.lines_px = np.zeros((n, 2, 2))
        self.crossings = np.zeros((n, 2), np.int64)
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

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the lines into pictures of this size (px). Before the first view, and when the size changes.

        Raises:
            UsageError: a line outside the picture.
        """
        self._last_xy *= self._placement.move_to(shape_hw)
        for i, line in enumerate(self._lines):
            self.lines_px[i] = self._placement.px(line.points, line.name)
        self._first = self.lines_px[:, 0].copy()
        self._along = self.lines_px[:, 1] - self._first
        dx, dy = self._along.T
        self._ties_right = (dy < 0) | ((dy == 0) & (dx > 0))
        # Distances from a line are kept as cross products, which are those times the line's length: exact for pixels.
        band_px = np.array([self._placement.band_px(line.band_px) for line in self._lines])
        self._near = band_px * np.hypot(dx, dy)
        self._far = 2 * self._near

    def update(self, view: View) -> Iterable[Event]:
        """Take the next frame; the crossings that it makes certain."""
        if not self._lines:
            return ()
        self._make_room(view)
        slot = view.slot
        x, y = view.anchor[:, 0, None], view.anchor[:, 1, None]
        cross = self._along[:, 0] * (y - self._first[:, 1]) - self._along[:, 1] * (x - self._first[:, 0])
        beyond = (cross > self._near).view(np.int8) - (cross < -self._near).view(np.int8)
        rows, lines = (beyond != self._quiet[slot]).nonzero()
        events = self._look(view, rows, lines, cross[rows, lines], beyond[rows, lines]) if len(rows) else ()
        self._last_xy[slot] = view.anchor
        self._last_s[slot] = view.time_s
        self._last_ns[slot] = view.captured_ns
        return events

    def finish(self) -> Iterable[Event]:
        """Crossings have no duration: nothing is left to end."""
        return ()

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
    ) -> Iterable[Event]:
        """Follow the pairs of an object and a line between which something may happen."""
        slots = view.slot[rows]
        at = slots * len(self._lines) + lines
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
        return self._events(view, slots[crossed], lines[crossed], side[crossed]) if crossed.any() else ()

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
        ends = self.lines_px[lines[pairs]] - start[:, None]
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

    def _events(self, view: View, slots: IntArray, lines: IntArray, side: SideArray) -> list[Event]:
        events = []
        for slot, index, now in zip(slots.tolist(), lines.tolist(), side.tolist(), strict=True):
            line, classes = self._lines[index], self._counts[index]
            if classes is not None and int(self._objects.class_id[slot]) not in classes:
                continue
            is_in = now > 0
            self.crossings[index, 0 if is_in else 1] += 1
            at_s = float(self._met_s[slot, index])
            event = self._maker.of_object(
                EventKind.CROSSING,
                line.name,
                slot,
                view.frame,
                start=(at_s, int(self._met_ns[slot, index])),
                end_s=at_s,
                values={"direction": "in" if is_in else "out", "label": line.label_in if is_in else line.label_out},
            )
            events.append(event)
        events.sort(key=lambda event: (event.start_s, event.rule, event.track_ids))
        return events


def _right(cross: Float64Array, ties_right: BoolArray) -> BoolArray:
    """Whether points are on the right, by the sign of a cross product."""
    right: BoolArray = (cross > 0) | ((cross == 0) & ties_right)
    return right
