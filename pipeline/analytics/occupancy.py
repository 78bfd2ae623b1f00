"""How many objects are in each zone: for how long too many, for how long nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analytics.config import ZoneConfig
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.headcount import Instant
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.event import Event, EventKind


@dataclass(slots=True)
class _Crowd:
    """More objects than a zone allows: told, or not yet for long enough."""

    since: Instant
    peak: int
    told: bool = False
    under_since_s: float | None = None


class Occupancy:
    """Objects in each zone now, at most and on average; crowds and emptiness.

    Args:
        zones: their settings.
        maker: makes the events.
        ids_in: ids of the objects that are in a zone now, by the zone's number.
        kernels: what does the work.
    """

    def __init__(
        self,
        zones: Sequence[ZoneConfig],
        maker: EventMaker,
        ids_in: Callable[[int], tuple[int, ...]],
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        self._zones = zones
        self._maker = maker
        self._ids_in = ids_in
        self._count = kernels.Headcount(
            np.array([np.inf if zone.crowd is None else zone.crowd for zone in zones]),
            np.array([np.inf if zone.empty_s is None else zone.empty_s for zone in zones]),
        )
        self._crowds: dict[int, _Crowd] = {}

    @property
    def now(self) -> IntArray:
        """int64 (Z,): objects in each zone. It goes on changing."""
        return self._count.now

    @property
    def max(self) -> IntArray:
        """int64 (Z,): the most of them at any frame. The same."""
        return self._count.max

    @property
    def mean(self) -> Float64Array:
        """float64 (Z,): each frame's objects, weighted with the time until the next frame."""
        count = self._count
        return count.object_s / count.lasted_s if count.lasted_s else count.now.astype(np.float64)

    @property
    def alarms(self) -> BoolArray:
        """Bool (Z,): crowded or empty, as the events say."""
        on = self._count.is_empty.copy()
        on[[zone for zone, crowd in self._crowds.items() if crowd.told]] = True
        return on

    def pass_time(self, view: View) -> None:
        """Things stood as the frame before left them until this one."""
        self._count.pass_time(view.time_s, view.captured_ns, view.dt_s)

    def enter(self, zones: Sequence[int]) -> None:
        """One object each is in these zones now; a zone may stand there several times."""
        if zones:
            self._count.enter(zones)

    def leave(self, zone: int, last_in: Instant) -> None:
        """An object has left; it was seen in the zone last at `last_in`."""
        self._count.leave(zone, last_in)

    def tell(self, view: View) -> Iterator[Event]:
        """What the objects of this frame, who have all entered and left, begin and end."""
        emptied, filled, too_many = self._count.look(view.time_s)
        for zone in emptied:
            yield self._emptiness(zone, view, None)
        for zone in filled:
            yield self._emptiness(zone, view, view.time_s)
        for zone in list(self._crowds):
            if zone not in too_many:
                yield from self._below(zone, view)
        for zone in too_many:
            yield from self._above(zone, view)

    def finish(self, view: View) -> Iterator[Event]:
        """The source ended with this frame; nobody has left yet."""
        for zone in np.flatnonzero(self._count.is_empty).tolist():
            yield self._emptiness(zone, view, view.time_s)
        self._count.is_empty[:] = False
        for zone, crowd in self._crowds.items():
            if crowd.told:
                end_s = view.time_s if crowd.under_since_s is None else crowd.under_since_s
                yield self._crowding(zone, crowd, view, end_s)
        self._crowds.clear()

    def _above(self, zone: int, view: View) -> Iterator[Event]:
        n = int(self.now[zone])
        crowd = self._crowds.setdefault(zone, _Crowd((view.time_s, view.captured_ns), n))
        crowd.under_since_s = None
        crowd.peak = max(crowd.peak, n)
        if not crowd.told and view.time_s - crowd.since[0] >= self._zones[zone].crowd_s:
            crowd.told = True
            yield self._crowding(zone, crowd, view, None)

    def _below(self, zone: int, view: View) -> Iterator[Event]:
        crowd = self._crowds[zone]
        if crowd.under_since_s is None:
            crowd.under_since_s = view.time_s
        if not crowd.told:
            del self._crowds[zone]
        elif view.time_s - crowd.under_since_s >= self._zones[zone].crowd_s:
            del self._crowds[zone]
            yield self._crowding(zone, crowd, view, crowd.under_since_s)

    def _crowding(self, zone: int, crowd: _Crowd, view: View, end_s: float | None) -> Event:
        return self._maker.of_zone(
            EventKind.CROWDING,
            self._zones[zone].name,
            view.frame,
            start=crowd.since,
            end_s=end_s,
            track_ids=self._ids_in(zone),
            values={"threshold": self._zones[zone].crowd or 0, "peak": crowd.peak},
        )

    def _emptiness(self, zone: int, view: View, end_s: float | None) -> Event:
        start_s = float(self._count.last_in_s[zone])
        return self._maker.of_zone(
            EventKind.EMPTY,
            self._zones[zone].name,
            view.frame,
            start=(start_s, int(self._count.last_in_ns[zone])),
            end_s=end_s,
            values={"threshold_s": self._zones[zone].empty_s or 0.0, "empty_s": view.time_s - start_s},
        )
