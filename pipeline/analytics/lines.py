"""Who crossed which line, and when."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.sides import Crossed
from pipeline.analytics.view import View
from pipeline.core.class_names import class_ids
from pipeline.core.event import Event, EventKind


class Lines:
    """Counts the crossings of all lines of a source.

    The first time that an object's anchor point is farther than the band from the (endless) line, it is on that side.
    It changes sides once it was farther than the band on the other one for 0.05 s, in two sightings or more and all
    between them, or once it is farther than twice the band. If its path met the line between its two ends an odd number
    of times since it was last beyond the band on the side it left, that is one crossing, at the time of the last
    meeting. The path goes straight from sighting to sighting, also across a gap. Who walks round an end changes sides
    without a crossing, and who appears has crossed nothing.

    No point is ever on a line, and no path meets the end of one: every path is taken as if it lay an infinitely small
    step further right, and a far smaller one further down. So of two lines that share an end, a path between their
    other ends crosses exactly one.

    Args:
        rules: the lines, their units.
        class_names: names by class_id.
        objects: what is known of each object.
        maker: makes the events.
        kernels: what does the work.

    Attributes:
        lines_px: float64 (L, 2, 2): the ends.
        crossings: int64 (L, 2): crossings in and out so far.
    """

    def __init__(
        self,
        rules: SourceRules,
        class_names: tuple[str, ...],
        objects: ObjectTable,
        maker: EventMaker,
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        self._lines = rules.lines
        self._placement = Placement(rules.units)
        self._objects = objects
        self._maker = maker
        n = len(self._lines)
        self._counts: list[frozenset[int] | None] = [
            frozenset(class_ids(line.classes, class_names)) if line.classes else None for line in self._lines
        ]
        self.lines_px = np.zeros((n, 2, 2))
        self.crossings = np.zeros((n, 2), np.int64)
        self._sides = kernels.Sides(n)

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the lines into pictures of this size (px). Before the first view, and when the size changes.

        Raises:
            UsageError: a line outside the picture.
        """
        factors = self._placement.move_to(shape_hw)
        for i, line in enumerate(self._lines):
            self.lines_px[i] = self._placement.px(line.points, line.name)
        band_px = np.array([self._placement.band_px(line.band_px) for line in self._lines])
        dx, dy = (self.lines_px[:, 1] - self.lines_px[:, 0]).T
        self._sides.place(self.lines_px, band_px * np.hypot(dx, dy), factors)

    def update(self, view: View) -> Iterable[Event]:
        """Take the next frame; the crossings that it makes certain."""
        if not self._lines:
            return ()
        crossed = self._sides.update(view)
        return self._events(view, crossed) if crossed else ()

    def finish(self) -> Iterable[Event]:
        """Crossings have no duration: nothing is left to end."""
        return ()

    def _events(self, view: View, crossed: list[Crossed]) -> list[Event]:
        events = []
        for slot, index, side, at_s, at_ns in crossed:
            line, classes = self._lines[index], self._counts[index]
            if classes is not None and int(self._objects.class_id[slot]) not in classes:
                continue
            is_in = side > 0
            self.crossings[index, 0 if is_in else 1] += 1
            event = self._maker.of_object(
                EventKind.CROSSING,
                line.name,
                slot,
                view.frame,
                start=(at_s, at_ns),
                end_s=at_s,
                values={"direction": "in" if is_in else "out", "label": line.label_in if is_in else line.label_out},
            )
            events.append(event)
        events.sort(key=lambda event: (event.start_s, event.rule, event.track_ids))
        return events
