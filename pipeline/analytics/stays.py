"""Who is in which zone, since when, and seen there when last."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.polygons import Polygons
from pipeline.analytics.sides import SETTLED_S
from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray

Pair = tuple[int, int]
"""A slot and a zone."""

_BY_SLOT = ("inside", "enter_s", "enter_ns", "last_in_s", "last_in_ns", "told", "loiters", "loiter_s", "loiter_ns")


class Stays:
    """Stays by slot and zone. `Visits` says when one begins and ends, and makes events of them.

    Args:
        counts: bool (classes + 1, Z): which zones a class may enter, the last row for classes without a name.
        grace_s: float64 (Z,): at a frame that does not show it, an object has left this long after its last sighting.
        min_visit_s: float64 (Z,): a visit is told once the object was seen inside so long after the first sighting.
        threshold_s: float64 (Z,): the same of loitering; inf: never.

    Attributes:
        inside: bool (capacity, Z): the object is in the zone.
        enter_s: float64 (capacity, Z): first sighting in it (s).
        enter_ns: int64 (capacity, Z): `captured_ns` of that.
        last_in_s: float64 (capacity, Z): last sighting in the polygon itself (s).
        last_in_ns: int64 (capacity, Z): `captured_ns` of that.
        told: bool (capacity, Z): the visit has been told. The caller clears it when the visit is over.
        loiters: bool (capacity, Z): so has loitering. The same.
        loiter_s: float64 (capacity, Z): when loitering began (s).
        loiter_ns: int64 (capacity, Z): `captured_ns` of that.
    """

    def __init__(
        self, counts: BoolArray, grace_s: Float64Array, min_visit_s: Float64Array, threshold_s: Float64Array
    ) -> None:
        n = len(grace_s)
        self._counts = counts
        self._grace_s, self._min_visit_s, self._threshold_s = grace_s, min_visit_s, threshold_s
        self._polygons = Polygons(())
        self._band_px = np.zeros(n)
        self._seen_s = np.zeros(0)
        self._far_since_s = np.zeros((0, n))
        self.inside: BoolArray = np.zeros((0, n), bool)
        self.enter_s = np.zeros((0, n))
        self.enter_ns: IntArray = np.zeros((0, n), np.int64)
        self.last_in_s = np.zeros((0, n))
        self.last_in_ns: IntArray = np.zeros((0, n), np.int64)
        self.told: BoolArray = np.zeros((0, n), bool)
        self.loiters: BoolArray = np.zeros((0, n), bool)
        self.loiter_s = np.zeros((0, n))
        self.loiter_ns: IntArray = np.zeros((0, n), np.int64)

    def place(self, polygons: Polygons, band_px: Float64Array) -> None:
        """Where the zones lie from now on, and how far outside an object leaves, float64 (Z,) px."""
        self._polygons, self._band_px = polygons, band_px

    def update(self, view: View) -> tuple[list[Pair], list[int], list[Pair], list[Pair]]:
        """Take the objects of the next frame.

        Returns:
            Who left; the zones that somebody entered, one for each who did; whose visit and whose loitering is to be
            told now.
        """
        if view.capacity > len(self._seen_s):
            for name in ("_seen_s", "_far_since_s", *_BY_SLOT):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        self._seen_s[view.slot] = view.time_s
        overdue: BoolArray = self.inside & (view.time_s - self._seen_s[:, None] > self._grace_s)
        in_polygon = self._polygons.contain(view.anchor)
        was_in: BoolArray = self.inside[view.slot]
        left = [*_pairs(*overdue.nonzero()), *self._leave_on_foot(view, was_in & ~in_polygon)]
        for pair in left:
            self.inside[pair] = False
        return left, *self._stay(view, in_polygon, was_in)

    def _leave_on_foot(self, view: View, out: BoolArray) -> list[Pair]:
        row, zone = np.nonzero(out)
        if not len(row):
            return []
        slot = view.slot[row]
        away_px = self._polygons.distance(view.anchor[row], zone)
        far = away_px > self._band_px[zone]
        since_s = np.where(far, np.minimum(self._far_since_s[slot, zone], view.time_s), np.inf)
        self._far_since_s[slot, zone] = since_s
        left = (view.time_s - since_s >= SETTLED_S) | (away_px > 2 * self._band_px[zone])
        return _pairs(slot[left], zone[left])

    def _stay(self, view: View, in_polygon: BoolArray, was_in: BoolArray) -> tuple[list[int], list[Pair], list[Pair]]:
        """Those inside the polygon itself: they enter, or their visits go on."""
        row, zone = np.nonzero(in_polygon & (was_in | self._counts[_known(view.class_id, len(self._counts) - 1)]))
        if not len(row):
            return [], [], []
        slot = view.slot[row]
        new = ~was_in[row, zone]
        at = slot[new], zone[new]
        self.inside[at] = True
        self.enter_s[at], self.enter_ns[at] = view.time_s, view.captured_ns
        self._far_since_s[slot, zone] = np.inf
        self.last_in_s[slot, zone], self.last_in_ns[slot, zone] = view.time_s, view.captured_ns
        stayed_s = view.time_s - self.enter_s[slot, zone]
        begins = ~self.told[slot, zone] & (stayed_s >= self._min_visit_s[zone])
        self.told[slot[begins], zone[begins]] = True
        too_long = (stayed_s >= self._threshold_s[zone]) & self.told[slot, zone] & ~self.loiters[slot, zone]
        at = slot[too_long], zone[too_long]
        self.loiters[at] = True
        self.loiter_s[at], self.loiter_ns[at] = view.time_s, view.captured_ns
        return zone[new].tolist(), _pairs(slot[begins], zone[begins]), _pairs(*at)


def _pairs(slots: IntArray, zones: IntArray) -> list[Pair]:
    return list(zip(slots.tolist(), zones.tolist(), strict=True))


def _known(class_id: IntArray, n: int) -> IntArray:
    return np.where((class_id >= 0) & (class_id < n), class_id, n)
