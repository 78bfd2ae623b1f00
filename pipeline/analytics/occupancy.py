"""How many objects are in each zone: for how long too many, for how long nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.analytics.config import ZoneConfig
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.view import View
from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.core.event import Event, EventKind

Instant = tuple[float, int]
"""Seconds, and `captured_ns` of the frame at them."""


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

    Attributes:
        now: int64 (Z,), objects in each zone.
        max: int64 (Z,), the most of them at any frame.
    """

    def __init__(
        self, zones: Sequence[ZoneConfig], maker: EventMaker, ids_in: Callable[[int], tuple[int, ...]]
    ) -> None:
        self._zones = zones
        self._maker = maker
        self._ids_in = ids_in
        self._crowd = np.array([np.inf if zone.crowd is None else zone.crowd for zone in zones])
        self._empty_s = np.array([np.inf if zone.empty_s is None else zone.empty_s for zone in zones])
        n = len(zones)
        self.now: IntArray = np.zeros(n, np.int64)
        self.max: IntArray = np.zeros(n, np.int64)
        self._object_s = np.zeros(n)
        self._lasted_s = 0.0
        self._last_in_s = np.full(n, -np.inf)
        self._last_in_ns = np.zeros(n, np.int64)
        self._is_empty = np.zeros(n, bool)
        self._crowds: dict[int, _Crowd] = {}

    @property
    def mean(self) -> Float64Array:
        """float64 (Z,): each frame's objects, weighted with the time until the next frame."""
        return self._object_s / self._lasted_s if self._lasted_s else self.now.astype(np.float64)

    @property
    def alarms(self) -> BoolArray:
        """Bool (Z,): crowded or empty, as the events say."""
        on = self._is_empty.copy()
        on[[zone for zone, crowd in self._crowds.items() if crowd.told]] = True
        return on

    def pass_time(self, view: View) -> None:
        """Things stood as the frame before left them until this one."""
        if np.isneginf(self._last_in_s).all():
            self._last_in_s[:], self._last_in_ns[:] = view.time_s, view.captured_ns
        self._object_s += self.now * view.dt_s
        self._lasted_s += view.dt_s

    def enter(self, zones: IntArray) -> None:
        """One object each is in these zones now; a zone may stand there several times."""
        np.add.at(self.now, zones, 1)

    def leave(self, zone: int, last_in: Instant) -> None:
        """An object has left; it was seen in the zone last at `last_in`."""
        self.now[zone] -= 1
        if last_in[0] > self._last_in_s[zone]:
            self._last_in_s[zone], self._last_in_ns[zone] = last_in

    def tell(self, view: View) -> Iterator[Event]:
        """What the objects of this frame, who have all entered and left, begin and end."""
        np.maximum(self.max, self.now, out=self.max)
        empty = (self.now == 0) & (view.time_s - self._last_in_s > self._empty_s)
        for zone in np.flatnonzero(empty & ~self._is_empty).tolist():
            self._is_empty[zone] = True
            yield self._emptiness(zone, view, None)
        for zone in np.flatnonzero(self._is_empty & (self.now > 0)).tolist():
            self._is_empty[zone] = False
            yield self._emptiness(zone, view, view.time_s)
        over = self.now > self._crowd
        for zone in list(self._crowds):
            if not over[zone]:
                yield from self._below(zone, view)
        for zone in np.flatnonzero(over).tolist():
            yield from self._above(zone, view)

    def finish(self, view: View) -> Iterator[Event]:
        """The source ended with this frame; nobody has left yet."""
        for zone in np.flatnonzero(self._is_empty).tolist():
            yield self._emptiness(zone, view, view.time_s)
        self._is_empty[:] = False
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
            values={"threshold": int(self._crowd[zone]), "peak": crowd.peak},
        )

    def _emptiness(self, zone: int, view: View, end_s: float | None) -> Event:
        start_s = float(self._last_in_s[zone])
        return self._maker.of_zone(
            EventKind.EMPTY,
            self._zones[zone].name,
            view.frame,
            start=(start_s, int(self._last_in_ns[zone])),
            end_s=end_s,
            values={"threshold_s": float(self._empty_s[zone]), "empty_s": view.time_s - start_s},
        )
