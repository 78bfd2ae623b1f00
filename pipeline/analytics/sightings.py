"""What was seen of every object last, and of which class it is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.slots import grown
from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.errors import UsageError
from pipeline.core.tracks import Tracks


class Sightings:
    """The last sighting of each object and the votes for its class, by slot.

    Args:
        down: how far down its box an object's anchor point lies, 0 to 1.

    Attributes:
        last_s: float64 (capacity,): last sighting (s).
        last_xyxy: float32 (capacity, 4) px: box at the last sighting.
        last_predicted: bool (capacity,): that box was a prediction.
        class_id: int64 (capacity,): class of most sightings.
    """

    def __init__(self, down: float) -> None:
        self._down = down
        self._votes = np.zeros((0, 1), np.int32)
        self.last_s = np.zeros(0)
        self.last_xyxy: FloatArray = np.zeros((0, 4), np.float32)
        self.last_predicted: BoolArray = np.zeros(0, bool)
        self.class_id: IntArray = np.zeros(0, np.int64)

    def grow(self, capacity: int) -> None:
        """Have room for so many slots."""
        for name in ("_votes", "last_s", "last_xyxy", "last_predicted", "class_id"):
            setattr(self, name, grown(getattr(self, name), capacity))

    def find(self, slot_of: Mapping[int, int], track_id: IntArray) -> tuple[IntArray, bool]:
        """Slots of ids int64 (m,): int64 (m,), -1 where the mapping has none; whether it has all."""
        slots = np.array([slot_of.get(number, -1) for number in track_id.tolist()], np.int64)
        return slots, bool(slots.min(initial=0) >= 0)

    def begin(self, slot: int, class_id: int) -> None:
        """Another object is in the slot from now on."""
        self.class_id[slot] = class_id
        self._votes[slot] = 0

    def note(
        self, slots: IntArray, tracks: Tracks, time_s: float
    ) -> tuple[Float64Array, BoolArray, IntArray, list[tuple[int, int]]]:
        """Take the sightings of a frame; int64 (m,) says in which slots they are.

        Returns:
            anchor: float64 (m, 2) px.
            predicted: bool (m,).
            class_id: int64 (m,), of the objects, after this frame's votes. One keeps its class until another has more.
            changes: class before and after of each object that has another class now.
        """
        predicted = tracks.detection_row < 0
        self.last_s[slots] = time_s
        self.last_xyxy[slots] = tracks.xyxy
        self.last_predicted[slots] = predicted
        box = tracks.xyxy.astype(np.float64)
        anchor = np.empty((len(box), 2))
        anchor[:, 0] = (box[:, 0] + box[:, 2]) / 2
        anchor[:, 1] = box[:, 1] + self._down * (box[:, 3] - box[:, 1])
        return anchor, predicted, *self._vote(slots, tracks.class_id)

    def _vote(self, slots: IntArray, class_id: IntArray) -> tuple[IntArray, list[tuple[int, int]]]:
        if not len(slots):
            return slots, []
        if class_id.min() < 0:
            raise UsageError(f"Tracks.class_id: wanted 0 or more, found {class_id.min()}")
        if class_id.max() >= self._votes.shape[1]:
            columns = np.zeros((len(self._votes), int(class_id.max()) + 1 - self._votes.shape[1]), np.int32)
            self._votes = np.concatenate([self._votes, columns], axis=1)
        self._votes[slots, class_id] += 1
        before = self.class_id[slots]
        wins = self._votes[slots, class_id] > self._votes[slots, before]
        classes = self.class_id[slots] = np.where(wins, class_id, before)
        return classes, list(zip(before[wins].tolist(), class_id[wins].tolist(), strict=True))
