"""One event per unique object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.ground_plane import GroundPlane
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.slots import grown
from pipeline.analytics.steps import Steps
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
    """

    rule = "objects"
    """What events call it."""

    def __init__(
        self, rules: SourceRules, class_names: tuple[str, ...], objects: ObjectTable, maker: EventMaker
    ) -> None:
        self._rules = rules
        self._objects = objects
        self._maker = maker
        self._placement = Placement(rules.units)
        self._plane: GroundPlane | None = None
        self._least_px = 0.0
        self._steps = Steps()
        self._sightings = np.zeros(0, np.int64)
        self._predicted = np.zeros(0, np.int64)
        self._path = np.zeros(0)
        self._here = np.zeros(0, bool)
        self._view: View | None = None

    def place(self, shape_hw: tuple[int, int]) -> None:
        """The size of the picture is known, or has changed.

        Raises:
            ConfigError: the points of the ground plane disagree.
        """
        factors = self._placement.move_to(shape_hw)
        self._steps.scale(factors)
        # A box trembles no further than a line's band is wide.
        self._least_px = self._placement.band_px(None)
        config = self._rules.ground_plane
        if config is None:
            self._path *= np.sqrt(factors.prod())
        else:
            self._plane = GroundPlane(config, self._placement.px(config.image, "ground_plane"))

    def update(self, view: View) -> list[Event]:
        """Take the next frame; who came and who went."""
        if not self._rules.objects:
            return []
        self._view = view
        events = self._ended(view.gone) if len(view.gone) else []
        if view.capacity > len(self._here):
            for name in ("_sightings", "_predicted", "_path", "_here"):
                setattr(self, name, grown(getattr(self, name), view.capacity))
        if len(view.born):
            for of_slot in (self._sightings, self._predicted, self._path):
                of_slot[view.born] = 0
            self._here[view.born] = True
        self._sightings[view.slot] += 1
        if view.predicted.any():
            self._predicted[view.slot] += view.predicted
        if self._steps.due(view):
            self._walk(view)
        events += [self._event(slot, None, {}) for slot in view.born.tolist()]
        return events

    def finish(self) -> list[Event]:
        """The source has ended: so has every object's stay, at its last sighting."""
        return self._ended(np.flatnonzero(self._here))

    def _walk(self, view: View) -> None:
        rows = self._steps.take(view, self._least_px)
        if not len(rows):
            return
        slots = view.slot[rows]
        ends = np.concatenate([self._steps.from_px[slots], view.anchor[rows]])
        if self._plane is not None:
            ends = self._plane.to_world(ends)
        way = ends[len(rows) :] - ends[: len(rows)]
        length = np.hypot(way[:, 0], way[:, 1])
        self._path[slots] += np.where(np.isfinite(length), length, 0.0)
        self._steps.end(view, rows)

    def _ended(self, slots: IntArray) -> list[Event]:
        events = []
        for slot in slots.tolist():
            end_s = float(self._objects.last_s[slot])
            sightings = int(self._sightings[slot])
            values: dict[str, Value] = {
                "seconds": end_s - float(self._objects.first_s[slot]),
                "sightings": sightings,
                "predicted_share": float(self._predicted[slot]) / sightings,
                "path_px" if self._rules.ground_plane is None else "path_m": float(self._path[slot]),
            }
            events.append(self._event(slot, end_s, values))
        self._here[slots] = False
        return events

    def _event(self, slot: int, end_s: float | None, values: Mapping[str, Value]) -> Event:
        objects, frame = self._objects, self._view.frame if self._view else 0
        start = float(objects.first_s[slot]), int(objects.first_ns[slot])
        return self._maker.of_object(EventKind.OBJECT, self.rule, slot, frame, start=start, end_s=end_s, values=values)
