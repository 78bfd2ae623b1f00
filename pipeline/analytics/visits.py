"""Who is in which zone, since when, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.analytics.config import ZoneConfig
from pipeline.analytics.durations import Durations
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.lines import SETTLED_S
from pipeline.analytics.objects import grown
from pipeline.analytics.occupancy import Occupancy
from pipeline.analytics.polygons import Polygons
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.class_names import class_ids
from pipeline.core.event import Event, EventKind

_BY_SLOT = (
    "inside",
    "_far_since_s",
    "_seen_s",
    "_enter_s",
    "_enter_ns",
    "_last_in_s",
    "_last_in_ns",
    "_told",
    "_loiters",
    "_loiter_s",
    "_loiter_ns",
    "_n_visits",
    "_dwell_s",
)


class Visits:
    """Stays of objects in zones, by slot and zone.

    An object enters at its first sighting in the polygon. It has left once it was farther than the band outside for
    0.05 s, in two sightings or more and all between them, or once it is farther than twice the band; at a frame that
    doesn't show it, more than the grace time after its last sighting; when it is forgotten; when the source ends. In
    any case its visit ended at the last sighting in the polygon itself.

    Args:
        zones: their settings.
        class_names: names by class_id.
        maker: makes the events.
        occupancy: is told who enters and leaves.

    Attributes:
        inside: bool (capacity, Z): the object is in the zone, as its visit goes on.
        begun: int64 (Z,): visits told so far.
        dwell: by zone, how long visits lasted that have ended.
    """

    def __init__(
        self, zones: Sequence[ZoneConfig], class_names: tuple[str, ...], maker: EventMaker, occupancy: Occupancy
    ) -> None:
        n = len(zones)
        self._zones = zones
        self._maker = maker
        self._occupancy = occupancy
        self._counts = _counts(zones, class_names)
        self._grace_s = np.array([zone.grace_s for zone in zones])
        self._min_visit_s = np.array([zone.min_visit_s for zone in zones])
        self._threshold_s = np.array([np.inf if zone.loiter_s is None else zone.loiter_s for zone in zones])
        self._polygons = Polygons(())
        self._band_px = np.zeros(n)
        self.begun: IntArray = np.zeros(n, np.int64)
        self.dwell = tuple(Durations() for _ in zones)
        self.inside: BoolArray = np.zeros((0, n), bool)
        self._far_since_s = np.zeros((0, n))
        self._seen_s = np.zeros(0)
        self._enter_s = np.zeros((0, n))
        self._enter_ns = np.zeros((0, n), np.int64)
        self._last_in_s = np.zeros((0, n))
        self._last_in_ns = np.zeros((0, n), np.int64)
        self._told = np.zeros((0, n), bool)
        self._loiters = np.zeros((0, n), bool)
        self._loiter_s = np.zeros((0, n))
        self._loiter_ns = np.zeros((0, n), np.int64)
        self._n_visits = np.zeros((0, n), np.int64)
        self._dwell_s = np.zeros((0, n))

    @property
    def loitering(self) -> BoolArray:
        """Bool (Z,): somebody loiters there."""
        on: BoolArray = np.logical_or.reduce(self._loiters, axis=0)
        return on

    def place(self, polygons: Polygons, band_px: Float64Array) -> None:
        """Where the zones lie from now on, and how far outside an object leaves, float64 (Z,) px."""
        self._polygons, self._band_px = polygons, band_px

    def stayed_s(self, time_s: float) -> Float64Array:
        """float64 (capacity, Z): how long each stay has gone on, 0 where there is none."""
        return np.where(self.inside, time_s - self._enter_s, 0.0)

    def update(self, view: View) -> Iterator[Event]:
        """Take the objects of the next frame."""
        if view.capacity > len(self.inside):
            for name in _BY_SLOT:
                setattr(self, name, grown(getattr(self, name), view.capacity))
        yield from self._forget(view)
        self._seen_s[view.slot] = view.time_s
        overdue: BoolArray = self.inside & (view.time_s - self._seen_s[:, None] > self._grace_s)
        for slot, zone in np.argwhere(overdue).tolist():
            yield from self._leave(slot, zone, view.frame)
        in_polygon = self._polygons.contain(view.anchor)
        was_in: BoolArray = self.inside[view.slot]
        yield from self._leave_on_foot(view, was_in & ~in_polygon)
        yield from self._stay(view, in_polygon, was_in)

    def finish(self, frame: int) -> Iterator[Event]:
        """The source ended with this frame: all have left."""
        for slot, zone in np.argwhere(self.inside).tolist():
            yield from self._leave(slot, zone, frame)

    def _forget(self, view: View) -> Iterator[Event]:
        for slot in view.gone.tolist():
            for zone in np.flatnonzero(self.inside[slot]).tolist():
                yield from self._leave(slot, zone, view.frame)
            self._n_visits[slot] = 0
            self._dwell_s[slot] = 0.0

    def _leave_on_foot(self, view: View, out: BoolArray) -> Iterator[Event]:
        row, zone = np.nonzero(out)
        if not len(row):
            return
        slot = view.slot[row]
        away_px = self._polygons.distance(view.anchor[row], zone)
        far = away_px > self._band_px[zone]
        since_s = np.where(far, np.minimum(self._far_since_s[slot, zone], view.time_s), np.inf)
        self._far_since_s[slot, zone] = since_s
        left = (view.time_s - since_s >= SETTLED_S) | (away_px > 2 * self._band_px[zone])
        for number, of_zone in zip(slot[left].tolist(), zone[left].tolist(), strict=True):
            yield from self._leave(number, of_zone, view.frame)

    def _stay(self, view: View, in_polygon: BoolArray, was_in: BoolArray) -> Iterator[Event]:
        """Those inside the polygon itself: they enter, or their visits go on."""
        may_enter = True if self._counts is None else self._counts[_known(view.class_id, len(self._counts) - 1)]
        row, zone = np.nonzero(in_polygon & (was_in | may_enter))
        if not len(row):
            return
        slot = view.slot[row]
        new = ~was_in[row, zone]
        if new.any():
            at = slot[new], zone[new]
            self.inside[at] = True
            self._enter_s[at], self._enter_ns[at] = view.time_s, view.captured_ns
            self._occupancy.enter(zone[new])
        self._far_since_s[slot, zone] = np.inf
        self._last_in_s[slot, zone], self._last_in_ns[slot, zone] = view.time_s, view.captured_ns
        stayed_s = view.time_s - self._enter_s[slot, zone]
        begins = ~self._told[slot, zone] & (stayed_s >= self._min_visit_s[zone])
        for i in np.flatnonzero(begins).tolist():
            yield self._begin(int(slot[i]), int(zone[i]), view.frame)
        too_long = (stayed_s >= self._threshold_s[zone]) & self._told[slot, zone] & ~self._loiters[slot, zone]
        for i in np.flatnonzero(too_long).tolist():
            at_one = int(slot[i]), int(zone[i])
            self._loiters[at_one] = True
            self._loiter_s[at_one], self._loiter_ns[at_one] = view.time_s, view.captured_ns
            yield self._loitering(*at_one, view.frame, None, float(stayed_s[i]))

    def _begin(self, slot: int, zone: int, frame: int) -> Event:
        self._told[slot, zone] = True
        self._n_visits[slot, zone] += 1
        self.begun[zone] += 1
        return self._maker.of_object(
            EventKind.VISIT,
            self._zones[zone].name,
            slot,
            frame,
            start=(float(self._enter_s[slot, zone]), int(self._enter_ns[slot, zone])),
            end_s=None,
            values={"visit": int(self._n_visits[slot, zone])},
        )

    def _leave(self, slot: int, zone: int, frame: int) -> Iterator[Event]:
        start_s, end_s = float(self._enter_s[slot, zone]), float(self._last_in_s[slot, zone])
        self.inside[slot, zone] = False
        self._occupancy.leave(zone, (end_s, int(self._last_in_ns[slot, zone])))
        if not self._told[slot, zone]:
            return
        self._told[slot, zone] = False
        dwell_s = end_s - start_s
        self._dwell_s[slot, zone] += dwell_s
        self.dwell[zone].add(dwell_s)
        if self._loiters[slot, zone]:
            self._loiters[slot, zone] = False
            yield self._loitering(slot, zone, frame, end_s, dwell_s)
        yield self._maker.of_object(
            EventKind.VISIT,
            self._zones[zone].name,
            slot,
            frame,
            start=(start_s, int(self._enter_ns[slot, zone])),
            end_s=end_s,
            values={
                "dwell_s": dwell_s,
                "object_dwell_s": float(self._dwell_s[slot, zone]),
                "visit": int(self._n_visits[slot, zone]),
            },
        )

    def _loitering(self, slot: int, zone: int, frame: int, end_s: float | None, dwell_s: float) -> Event:
        return self._maker.of_object(
            EventKind.LOITERING,
            self._zones[zone].name,
            slot,
            frame,
            start=(float(self._loiter_s[slot, zone]), int(self._loiter_ns[slot, zone])),
            end_s=end_s,
            values={"threshold_s": float(self._threshold_s[zone]), "dwell_s": dwell_s},
        )


def _counts(zones: Sequence[ZoneConfig], class_names: tuple[str, ...]) -> BoolArray | None:
    """Bool (classes + 1, Z): which zones a class may enter, the last row for classes without a name; None = all."""
    if not any(zone.classes for zone in zones):
        return None
    table = np.zeros((len(class_names) + 1, len(zones)), bool)
    for number, zone in enumerate(zones):
        table[list(class_ids(zone.classes, class_names)) if zone.classes else slice(None), number] = True
    return table


def _known(class_id: IntArray, n: int) -> IntArray:
    return np.where((class_id >= 0) & (class_id < n), class_id, n)
