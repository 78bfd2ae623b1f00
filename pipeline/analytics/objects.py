"""Which objects are in view: one slot for each, from its first sighting until it is forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analytics.config import SourceRules
from pipeline.analytics.view import View
from pipeline.core.arrays import IntArray
from pipeline.core.frame import Frame
from pipeline.core.tracks import Tracks

_ANCHOR_DOWN = {"top_center": 0.0, "center": 0.5, "bottom_center": 1.0}
"""How far down its box an object's anchor point lies."""


class ObjectTable:
    """Turns the tracks of each frame into a View.

    Args:
        rules: anchor, stitching and forgetting.

    Attributes:
        first_s: float64 (capacity,), by slot: first sighting (s).
        first_ns: int64 (capacity,): `captured_ns` of it.
        last_s: float64 (capacity,): last sighting (s).
        last_xyxy: float32 (capacity, 4) px: box at the last sighting.
        last_predicted: bool (capacity,): that box was a prediction.
        class_id: int64 (capacity,): class of most sightings.
    """

    def __init__(self, rules: SourceRules) -> None:
        self._down = _ANCHOR_DOWN[rules.anchor]
        self._forget_s = rules.forget_s
        self._slot_of: dict[int, int] = {}
        self._track_ids: dict[int, list[int]] = {}
        self._free: list[int] = []
        self._used = np.zeros(0, bool)
        self.first_s = np.zeros(0)
        self.first_ns = np.zeros(0, np.int64)
        self.last_s = np.zeros(0)
        self.last_xyxy = np.zeros((0, 4), np.float32)
        self.last_predicted = np.zeros(0, bool)
        self.class_id = np.zeros(0, np.int64)
        self._last_time_s: float | None = None

    @property
    def capacity(self) -> int:
        """All slots are below it."""
        return len(self._used)

    def track_ids(self, slot: int) -> tuple[int, ...]:
        """Every id that the object in a slot has had, the first one first."""
        return tuple(self._track_ids[slot])

    def see(self, frame: Frame, tracks: Tracks, time_s: float) -> View:
        """The next frame's objects. `time_s` is not before that of the frame before."""
        gone = self._forget(time_s)
        slots, born = self._slots(tracks.track_id, time_s, frame.captured_ns)
        dt_s = 0.0 if self._last_time_s is None else time_s - self._last_time_s
        self._last_time_s = time_s
        predicted = tracks.detection_row < 0
        self.last_s[slots] = time_s
        self.last_xyxy[slots] = tracks.xyxy
        self.last_predicted[slots] = predicted
        self.class_id[slots] = tracks.class_id
        x1, y1, x2, y2 = tracks.xyxy.astype(np.float64).T
        anchor = np.stack([(x1 + x2) / 2, y1 + self._down * (y2 - y1)], axis=1)
        return View(
            time_s,
            dt_s,
            frame.index,
            frame.captured_ns,
            frame.shape_hw,
            slots,
            tracks.track_id,
            self.class_id[slots],
            tracks.xyxy,
            anchor,
            predicted,
            born,
            gone,
            self.capacity,
        )

    def _forget(self, time_s: float) -> IntArray:
        gone: IntArray = np.flatnonzero(self._used & (time_s - self.last_s > self._forget_s))
        for slot in gone.tolist():
            for track_id in self._track_ids.pop(slot):
                del self._slot_of[track_id]
            self._used[slot] = False
            self._free.append(slot)
        return gone

    def _slots(self, track_id: IntArray, time_s: float, captured_ns: int) -> tuple[IntArray, IntArray]:
        born = []
        slots = np.empty(len(track_id), np.int64)
        for row, number in enumerate(track_id.tolist()):
            slot = self._slot_of.get(number)
            if slot is None:
                slot = self._take()
                self._slot_of[number] = slot
                self._track_ids[slot] = [number]
                self.first_s[slot], self.first_ns[slot] = time_s, captured_ns
                born.append(slot)
            slots[row] = slot
        return slots, np.array(born, np.int64)

    def _take(self) -> int:
        if not self._free:
            self._grow()
        slot = self._free.pop()
        self._used[slot] = True
        return slot

    def _grow(self) -> None:
        before, after = self.capacity, max(64, 2 * self.capacity)
        for name in ("_used", "first_s", "first_ns", "last_s", "last_xyxy", "last_predicted", "class_id"):
            setattr(self, name, grown(getattr(self, name), after))
        self._free.extend(range(after - 1, before - 1, -1))


def grown(array: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    """The array with zeros behind it, up to `capacity` rows: what rules do with theirs when a view's capacity grew."""
    rows = np.zeros((capacity - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, rows])
