"""Which objects are in view: one slot for each, from its first sighting until it is forgotten."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.likeness import Vanished
from pipeline.analytics.slots import grown
from pipeline.analytics.stitch import Stitcher
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.frame import Frame
from pipeline.core.tracks import Tracks

_ANCHOR_DOWN = {"top_center": 0.0, "center": 0.5, "bottom_center": 1.0}
"""How far down its box an object's anchor point lies."""

_NOBODY: IntArray = np.zeros(0, np.int64)


MOST_IDS = 256
"""Ids remembered of one object: somebody who stands at a till all day may get a new one every minute."""


class ObjectTable:
    """Turns the tracks of each frame into a View.

    An object's class is the one of most of its sightings; it keeps the class it has until another has more.

    What stands of an object stays until the frame after the one that lists it in `View.gone`.

    Args:
        rules: anchor, stitching and forgetting.
        kernels: what does the work.

    Attributes:
        first_s: float64 (capacity,), by slot: first sighting (s).
        first_ns: int64 (capacity,): `captured_ns` of it.
        n_by_class: objects so far, by class_id.
    """

    def __init__(self, rules: SourceRules, kernels: RuleKernels = DEFAULT) -> None:
        self._sightings = kernels.Sightings(_ANCHOR_DOWN[rules.anchor])
        self._forget_s = rules.forget_s
        self._stitcher = Stitcher(rules.stitch, kernels) if rules.stitch.enabled else None
        self._gap_s = rules.stitch.gap_s
        self._slot_of: dict[int, int] = {}
        self._track_ids: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._leaving = _NOBODY
        self._used = np.zeros(0, bool)
        self._now_id = np.zeros(0, np.int64)
        self.first_s = np.zeros(0)
        self.first_ns = np.zeros(0, np.int64)
        self.n_by_class: dict[int, int] = {}
        self._last_time_s: float | None = None
        self._next_forget_s = -np.inf

    @property
    def capacity(self) -> int:
        """All slots are below it."""
        return len(self._used)

    @property
    def last_s(self) -> Float64Array:
        """float64 (capacity,): last sighting (s)."""
        return self._sightings.last_s

    @property
    def last_xyxy(self) -> FloatArray:
        """float32 (capacity, 4) px: box at the last sighting."""
        return self._sightings.last_xyxy

    @property
    def last_predicted(self) -> BoolArray:
        """Bool (capacity,): that box was a prediction."""
        return self._sightings.last_predicted

    @property
    def class_id(self) -> IntArray:
        """int64 (capacity,): class of most sightings."""
        return self._sightings.class_id

    def track_ids(self, slot: int) -> tuple[int, ...]:
        """The ids that the object in a slot has had, the first one first; of many the newest (MOST_IDS in all)."""
        return tuple(self._track_ids[slot])

    def scale(self, factors: Float64Array) -> None:
        """The pictures have another size from the next one on: float64 (2,), x and y factors."""
        xyxy = self.last_xyxy
        xyxy *= np.tile(factors, 2).astype(np.float32)
        if self._stitcher:
            self._stitcher.forget()

    def see(self, frame: Frame, tracks: Tracks, time_s: float) -> View:
        """The next frame's objects. `time_s` is not before that of the frame before."""
        gone = self._forget(time_s)
        slots, all_known = self._sightings.find(self._slot_of, tracks.track_id)
        born = _NOBODY if all_known else self._meet(frame, tracks, time_s, slots)
        dt_s = 0.0 if self._last_time_s is None else time_s - self._last_time_s
        self._last_time_s = time_s
        anchor, predicted, class_id, changes = self._sightings.note(slots, tracks, time_s)
        for before, after in changes:
            self.n_by_class[before] -= 1
            self.n_by_class[after] = self.n_by_class.get(after, 0) + 1
        if self._stitcher:
            self._stitcher.remember(time_s, slots, tracks.xyxy)
        return View(
            time_s,
            dt_s,
            frame.index,
            frame.captured_ns,
            frame.shape_hw,
            slots,
            tracks.track_id,
            class_id,
            tracks.xyxy,
            anchor,
            predicted,
            born,
            gone,
            self.capacity,
        )

    def _forget(self, time_s: float) -> IntArray:
        if len(self._leaving):
            for slot in self._leaving.tolist():
                del self._track_ids[slot]
                self._free.append(slot)
            self._leaving = _NOBODY
        if time_s < self._next_forget_s:
            return _NOBODY
        gone: IntArray = np.flatnonzero(self._used & (time_s - self.last_s > self._forget_s))
        self._used[gone] = False
        self._next_forget_s = self.last_s[self._used].min(initial=time_s) + self._forget_s
        for slot in gone.tolist():
            del self._slot_of[int(self._now_id[slot])]
        self._leaving = gone
        return gone

    def _meet(self, frame: Frame, tracks: Tracks, time_s: float, slots: IntArray) -> IntArray:
        """Find slots for the ids that have none, and write them into `slots`. Returns those of new objects."""
        # By id, so that the order of the rows, which means nothing, decides nothing.
        new = np.flatnonzero(slots < 0)
        new = new[np.argsort(tracks.track_id[new])]
        for row, slot in self._stitched(tracks, time_s, slots, new):
            number = int(tracks.track_id[row])
            # An id that comes back after another has taken its place is looked at afresh.
            del self._slot_of[int(self._now_id[slot])]
            self._slot_of[number] = slot
            self._now_id[slot] = number
            self._rename(slot, number)
            slots[row] = slot
        born = []
        for row in new[slots[new] < 0].tolist():
            number, class_id = int(tracks.track_id[row]), int(tracks.class_id[row])
            slot = slots[row] = self._take()
            self._slot_of[number] = slot
            self._now_id[slot] = number
            self._track_ids[slot] = [number]
            self.first_s[slot], self.first_ns[slot] = time_s, frame.captured_ns
            self._sightings.begin(slot, class_id)
            self.n_by_class[class_id] = self.n_by_class.get(class_id, 0) + 1
            born.append(slot)
        return np.array(born, np.int64)

    def _rename(self, slot: int, number: int) -> None:
        ids = self._track_ids[slot]
        if number not in ids:
            ids.append(number)
            if len(ids) > MOST_IDS:
                # The first one stays: event ids are made of it.
                del ids[1]

    def _stitched(self, tracks: Tracks, time_s: float, slots: IntArray, new: IntArray) -> list[tuple[int, int]]:
        """Pairs of a row with a new id and the slot of the object that it belongs to."""
        if self._stitcher is None:
            return []
        away = self._used & (time_s - self.last_s <= self._gap_s)
        away[slots[slots >= 0]] = False
        slot = np.flatnonzero(away)
        if not len(slot):
            return []
        vanished = Vanished(slot, self.class_id[slot], self.last_xyxy[slot], self.first_s[slot], self.last_s[slot])
        pairs = self._stitcher.match(time_s, tracks.xyxy[new], tracks.class_id[new], vanished)
        return [(int(new[row]), slot) for row, slot in pairs]

    def _take(self) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._used[slot] = True
        return slot

    def _grow(self) -> None:
        before, after = self.capacity, max(64, 2 * self.capacity)
        for name in ("_used", "_now_id", "first_s", "first_ns"):
            setattr(self, name, grown(getattr(self, name), after))
        self._sightings.grow(after)
        self._free.extend(range(after - 1, before - 1, -1))
