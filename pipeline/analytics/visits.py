"""Who is in which zone, since when, and for how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from pipeline.analytics.config import ZoneConfig
from pipeline.analytics.durations import Durations
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.occupancy import Occupancy
from pipeline.analytics.polygons import Polygons
from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.class_names import class_ids
from pipeline.core.event import Event, EventKind


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
        kernels: what does the work.

    Attributes:
        begun: int64 (Z,): visits told so far.
        dwell: by zone, how long visits lasted that have ended.
    """

    def __init__(
        self,
        zones: Sequence[ZoneConfig],
        class_names: tuple[str, ...],
        maker: EventMaker,
        occupancy: Occupancy,
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        n = len(zones)
        self._zones = zones
        self._maker = maker
        self._occupancy = occupancy
        self._stays = kernels.Stays(
            _counts(zones, class_names),
            np.array([zone.grace_s for zone in zones]),
            np.array([zone.min_visit_s for zone in zones]),
            np.array([np.inf if zone.loiter_s is None else zone.loiter_s for zone in zones]),
        )
        self.begun: IntArray = np.zeros(n, np.int64)
        self.dwell = tuple(Durations() for _ in zones)
        self._n_loiter = np.zeros(n, np.int64)
        self._n_visits = np.zeros((0, n), np.int64)
        self._dwell_s = np.zeros((0, n))

    @property
    def inside(self) -> BoolArray:
        """Bool (capacity, Z): the object is in the zone, as its visit goes on."""
        return self._stays.inside

    @property
    def loitering(self) -> BoolArray:
        """Bool (Z,): somebody loiters there."""
        on: BoolArray = self._n_loiter > 0
        return on

    def place(self, polygons: Polygons, band_px: Float64Array) -> None:
        """Where the zones lie from now on, and how far outside an object leaves, float64 (Z,) px."""
        self._stays.place(polygons, band_px)

    def stayed_s(self, slots: IntArray, time_s: float) -> Float64Array:
        """float64 (m, Z), of the objects in slots int64 (m,): how long each stay has gone on, 0 where there is none."""
        return np.where(self._stays.inside[slots], time_s - self._stays.enter_s[slots], 0.0)

    def update(self, view: View) -> Iterator[Event]:
        """Take the objects of the next frame."""
        if view.capacity > len(self._n_visits):
            self._n_visits, self._dwell_s = grown(self._n_visits, view.capacity), grown(self._dwell_s, view.capacity)
        if len(view.gone):
            yield from self._forget(view)
        left, entered, begun, loiter = self._stays.update(view)
        for slot, zone in left:
            yield from self._leave(slot, zone, view.frame)
        self._occupancy.enter(entered)
        for slot, zone in begun:
            yield self._begin(slot, zone, view.frame)
        for slot, zone in loiter:
            self._n_loiter[zone] += 1
            stayed_s = view.time_s - float(self._stays.enter_s[slot, zone])
            yield self._loitering(slot, zone, view.frame, None, stayed_s)

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

    def _begin(self, slot: int, zone: int, frame: int) -> Event:
        self._n_visits[slot, zone] += 1
        self.begun[zone] += 1
        return self._maker.of_object(
            EventKind.VISIT,
            self._zones[zone].name,
            slot,
            frame,
            start=(float(self._stays.enter_s[slot, zone]), int(self._stays.enter_ns[slot, zone])),
            end_s=None,
            values={"visit": int(self._n_visits[slot, zone])},
        )

    def _leave(self, slot: int, zone: int, frame: int) -> Iterator[Event]:
        stays = self._stays
        start_s, end_s = float(stays.enter_s[slot, zone]), float(stays.last_in_s[slot, zone])
        stays.inside[slot, zone] = False
        self._occupancy.leave(zone, (end_s, int(stays.last_in_ns[slot, zone])))
        if not stays.told[slot, zone]:
            return
        stays.told[slot, zone] = False
        dwell_s = end_s - start_s
        self._dwell_s[slot, zone] += dwell_s
        self.dwell[zone].add(dwell_s)
        if stays.loiters[slot, zone]:
            stays.loiters[slot, zone] = False
            self._n_loiter[zone] -= 1
            yield self._loitering(slot, zone, frame, end_s, dwell_s)
        yield self._maker.of_object(
            EventKind.VISIT,
            self._zones[zone].name,
            slot,
            frame,
            start=(start_s, int(stays.enter_ns[slot, zone])),
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
            start=(float(self._stays.loiter_s[slot, zone]), int(self._stays.loiter_ns[slot, zone])),
            end_s=end_s,
            values={"threshold_s": self._zones[zone].loiter_s or 0.0, "dwell_s": dwell_s},
        )


def _counts(zones: Sequence[ZoneConfig], class_names: tuple[str, ...]) -> BoolArray:
    """Bool (classes + 1, Z): which zones a class may enter, the last row for classes without a name."""
    table = np.zeros((len(class_names) + 1, len(zones)), bool)
    for number, zone in enumerate(zones):
        table[list(class_ids(zone.classes, class_names)) if zone.classes else slice(None), number] = True
    return table
