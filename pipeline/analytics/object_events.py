"""One event per unique object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.slots import grown
from pipeline.analytics.view import View
from pipeline.core.arrays import IntArray
from pipeline.core.event import Event, EventKind, Value


class ObjectEvents:
    """Tells of every object when it appears and, once it is forgotten or the source has ended, how long it stayed.

    Args:
        rules: whether events are asked for, and the ground plane.
        class_names: names by class_id; not needed, as the maker knows them.
        objects: what is known of each object.
        maker: makes the events.
        kernels: what does the work.
    """

    rule = "objects"
    """What events call it."""

    def __init__(
        self,
        rules: SourceRules,
        class_names: tuple[str, ...],
        objects: ObjectTable,
        maker: EventMaker,
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        self._rules = rules
        self._objects = objects
        self._maker = maker
        self._placement = Placement(rules.units)
        self._ways = kernels.Ways()
        self._here = np.zeros(0, bool)
        self._view: View | None = None

    def place(self, shape_hw: tuple[int, int]) -> None:
        """The size of the picture is known, or has changed.

        Raises:
            ConfigError: the points of the ground plane disagree.
        """
        factors = self._placement.move_to(shape_hw)
        config = self._rules.ground_plane
        plane = None if config is None else GroundPlane(config, self._placement.px(config.image, "ground_plane"))
        # A box trembles no further than a line's band is wide.
        self._ways.place(plane, self._placement.band_px(None), factors)

    def update(self, view: View) -> list[Event]:
        """Take the next frame; who came and who went."""
        if not self._rules.objects:
            return []
        self._view = view
        events = self._ended(view.gone) if len(view.gone) else []
        self._ways.update(view)
        if len(view.born):
            if view.capacity > len(self._here):
                self._here = grown(self._here, view.capacity)
            self._here[view.born] = True
            events += [self._event(slot, None, {}) for slot in view.born.tolist()]
        return events

    def finish(self) -> list[Event]:
        """The source has ended: so has every object's stay, at its last sighting."""
        return self._ended(np.flatnonzero(self._here))

    def _ended(self, slots: IntArray) -> list[Event]:
        events = []
        for slot in slots.tolist():
            end_s = float(self._objects.last_s[slot])
            sightings = int(self._ways.sightings[slot])
            values: dict[str, Value] = {
                "seconds": end_s - float(self._objects.first_s[slot]),
                "sightings": sightings,
                "predicted_share": float(self._ways.predicted[slot]) / sightings,
                "path_px" if self._rules.ground_plane is None else "path_m": float(self._ways.path[slot]),
            }
            events.append(self._event(slot, end_s, values))
        self._here[slots] = False
        return events

    def _event(self, slot: int, end_s: float | None, values: Mapping[str, Value]) -> Event:
        objects, frame = self._objects, self._view.frame if self._view else 0
        start = float(objects.first_s[slot]), int(objects.first_ns[slot])
        return self._maker.of_object(EventKind.OBJECT, self.rule, slot, frame, start=start, end_s=end_s, values=values)
