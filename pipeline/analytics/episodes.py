"""Conditions of objects that begin, last and end: debounced, by slot and column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray

OVER_S = 0.5
"""An episode is over once its end has been true for so long (s); shorter interruptions belong to it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """An episode that begins or ends.

    Attributes:
        slot: the object's.
        column: which condition.
        start: when it began: seconds, and `captured_ns` of that frame.
        end_s: when it ended (s), None at the beginning.
        peak: the largest value in it so far.
    """

    slot: int
    column: int
    start: tuple[float, int]
    end_s: float | None
    peak: float


class Episodes:
    """Which conditions hold of which objects. A condition that is neither true nor false changes nothing.

    Args:
        hold_s: float64 (columns,): how long a condition must be true before its episode begins; the start is when it
            became true.
    """

    def __init__(self, hold_s: Float64Array) -> None:
        self._hold_s = hold_s
        columns = len(hold_s)
        # Busy: true, or an episode goes on. Active: an episode goes on.
        self._busy = np.zeros((0, columns), bool)
        self._active = np.zeros((0, columns), bool)
        self._since_s = np.zeros((0, columns))
        self._since_ns = np.zeros((0, columns), np.int64)
        self._over_s = np.zeros((0, columns))
        self._peak = np.zeros((0, columns))

    @property
    def active(self) -> BoolArray:
        """Bool (columns,): an episode of some object goes on."""
        return np.asarray(self._active.any(axis=0))

    def leave(self, view: View, last_s: Float64Array) -> list[Turn]:
        """End the episodes of the objects that are gone, at their last sighting, and make room for those that come.

        Args:
            view: the next frame.
            last_s: float64 (capacity,): last sighting by slot (s).
        """
        ended = self._end_all(view.gone, last_s) if len(view.gone) else []
        if view.capacity > len(self._active):
            for name in ("_busy", "_active", "_since_s", "_since_ns", "_over_s", "_peak"):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        if len(view.born):
            self._busy[view.born] = False
        return ended

    def update(self, view: View, on: BoolArray, off: BoolArray, value: Float64Array) -> list[Turn]:
        """Take the conditions at the next frame.

        Args:
            view: the frame.
            on: bool (m, columns): the condition is true. Never where `off` is.
            off: bool (m, columns): it is false.
            value: float64 (m,): what the peak is taken of while the condition is true.
        """
        # Most conditions are false of most objects, and were before: from here on, only the others (1-D) matter.
        row, column = (on | (off & self._busy[view.slot])).nonzero()
        if not len(row):
            return []
        slot, now = view.slot[row], view.time_s
        on, off, value = on[row, column], off[row, column], value[row]
        busy, active = self._busy[slot, column], self._active[slot, column]
        fresh = on & ~busy
        since = np.where(fresh, now, self._since_s[slot, column])
        over = np.where(off, np.minimum(self._over_s[slot, column], now), np.inf)
        self._busy[slot, column] = on | active
        self._since_s[slot, column] = since
        self._since_ns[slot[fresh], column[fresh]] = view.captured_ns
        self._over_s[slot, column] = over
        peak = np.where(fresh, value, self._peak[slot, column])
        self._peak[slot, column] = np.where(on, np.maximum(peak, value), peak)
        begins = on & ~active & (now - since >= self._hold_s[column] - 1e-9)
        ends = off & active & (now - over >= OVER_S - 1e-9)
        turns = []
        for i in begins.nonzero()[0].tolist():
            self._active[slot[i], column[i]] = True
            turns.append(self._turn(int(slot[i]), int(column[i]), None))
        turns += [self._end(int(slot[i]), int(column[i]), float(over[i])) for i in ends.nonzero()[0].tolist()]
        return turns

    def finish(self, last_s: Float64Array) -> list[Turn]:
        """The source has ended: so have all episodes, at the last sightings."""
        return self._end_all(np.arange(len(self._active)), last_s)

    def _end_all(self, slots: IntArray, last_s: Float64Array) -> list[Turn]:
        ended = []
        for row, column in np.argwhere(self._active[slots]).tolist():
            slot = int(slots[row])
            # What was about to be over when the object was last seen was over by then.
            ended.append(self._end(slot, column, float(min(last_s[slot], self._over_s[slot, column]))))
        return ended

    def _end(self, slot: int, column: int, end_s: float) -> Turn:
        turn = self._turn(slot, column, end_s)
        self._active[slot, column] = self._busy[slot, column] = False
        return turn

    def _turn(self, slot: int, column: int, end_s: float | None) -> Turn:
        start = float(self._since_s[slot, column]), int(self._since_ns[slot, column])
        return Turn(slot, column, start, end_s, float(self._peak[slot, column]))
