"""Zones: visits, dwell, loitering, crowds, emptiness."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.occupancy import Occupancy
from pipeline.analytics.polygons import Polygons
from pipeline.analytics.view import View
from pipeline.analytics.visits import Visits
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.event import Event


class Zones:
    """All zones of one source.

    Args:
        rules: the source's; its zones are taken.
        class_names: names by class_id.
        objects: what is known of each object.
        maker: makes the events.
        kernels: what does the work.

    Attributes:
        polygons_px: float64 (k, 2) by zone: the corners.
    """

    def __init__(
        self,
        rules: SourceRules,
        class_names: tuple[str, ...],
        objects: ObjectTable,
        maker: EventMaker,
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        self._zones = rules.zones
        self._placement = Placement(rules.units)
        self._objects = objects
        self._occupancy = Occupancy(rules.zones, maker, self._ids_in, kernels)
        self._visits = Visits(rules.zones, class_names, maker, self._occupancy, kernels)
        self._view: View | None = None
        self.polygons_px: tuple[Float64Array, ...] = ()

    @property
    def occupancy(self) -> IntArray:
        """int64 (Z,): objects in each zone now, those too that are out of sight for a moment."""
        return self._occupancy.now.copy()

    @property
    def visits(self) -> IntArray:
        """int64 (Z,): visits begun so far."""
        return self._visits.begun.copy()

    @property
    def alarms(self) -> BoolArray:
        """Bool (Z,): loitering, crowding or emptiness goes on in the zone."""
        return self._occupancy.alarms | self._visits.loitering

    @property
    def inside(self) -> BoolArray:
        """Bool (capacity, Z), by slot: the object is in the zone. Not to be changed, and true until the next frame."""
        return self._visits.inside

    def dwell_s(self, slots: IntArray) -> Float64Array:
        """float64 (m, Z), of objects in slots int64 (m,): how long each has been in each zone, 0 in none (s)."""
        return self._visits.stayed_s(slots, self._view.time_s if self._view else 0.0)

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the zones into pictures of this size (px). Before the first view, and when the size changes.

        Raises:
            UsageError: a zone outside the picture.
        """
        self._placement.move_to(shape_hw)
        self.polygons_px = tuple(self._placement.px(zone.polygon, zone.name) for zone in self._zones)
        band_px = [self._placement.band_px(zone.band_px) for zone in self._zones]
        self._visits.place(Polygons(self.polygons_px), np.array(band_px))

    def update(self, view: View) -> list[Event]:
        """Take the next frame; what happened at it."""
        self._view = view
        self._occupancy.pass_time(view)
        return [*self._visits.update(view), *self._occupancy.tell(view)]

    def finish(self) -> list[Event]:
        """The source has ended, at the last view's time: end what goes on."""
        view = self._view
        if view is None:
            return []
        return [*self._occupancy.finish(view), *self._visits.finish(view.frame)]

    def summary(self) -> Mapping[str, Mapping[str, float]]:
        """Of each zone, by name: occupancy_mean, occupancy_max, visits; of those that have ended, if any, dwell_*_s."""
        mean = self._occupancy.mean
        told = {}
        for number, zone in enumerate(self._zones):
            told[zone.name] = {
                "occupancy_mean": float(mean[number]),
                "occupancy_max": float(self._occupancy.max[number]),
                "visits": float(self._visits.begun[number]),
            }
            dwell = self._visits.dwell[number]
            if len(dwell):
                told[zone.name] |= {"dwell_mean_s": dwell.mean_s, "dwell_median_s": dwell.median_s}
        return told

    def _ids_in(self, zone: int) -> tuple[int, ...]:
        return tuple(self._objects.track_ids(slot)[0] for slot in np.flatnonzero(self.inside[:, zone]).tolist())
