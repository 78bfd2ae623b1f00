"""Speeding, wrong ways, and objects that stand or stop in a zone."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from pipeline.analytics.config import GroundPlaneConfig, Point, SourceRules, ZoneConfig
from pipeline.analytics.episodes import Turn
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.speeds import KMH, Speeds
from pipeline.analytics.view import View
from pipeline.analytics.zones import Zones
from pipeline.core.arrays import BoolArray, Float64Array
from pipeline.core.errors import ConfigError
from pipeline.core.event import Event, EventKind, Value

_KINDS = (EventKind.SPEEDING, EventKind.WRONG_WAY, EventKind.STOPPED)
"""What lasts."""

_EASE_DEG = 10.0
"""The wrong way ends so many degrees outside the tolerance."""

_WRONG_WAY_S = 0.5
"""How long motion must be wrong (s)."""

_MOVES = (2.0, 0.05)
"""Slower has no direction: km/h, or heights of the picture per second."""

_STANDS = (1.0, 0.02)
"""Slower stands still: the same."""


class Motion:
    """Events of speed and direction, of all zones that ask for them.

    Args:
        rules: the source's.
        class_names: names by class_id; not needed, as the zones choose classes.
        objects: what is known of each object.
        maker: makes the events.
        zones: who is in which zone; brought up to date before this.
        kernels: what does the work.

    Attributes:
        speeds: how fast everything moves; kept up to date where a zone asks or there is a ground plane.
    """

    def __init__(
        self,
        rules: SourceRules,
        class_names: tuple[str, ...],
        objects: ObjectTable,
        maker: EventMaker,
        zones: Zones,
        kernels: RuleKernels = DEFAULT,
    ) -> None:
        self._rules = rules
        self._objects = objects
        self._maker = maker
        self._zones = zones
        self._placement = Placement(rules.units)
        self.speeds = Speeds(rules, kernels)
        watched = [(i, zone, zone.motion) for i, zone in enumerate(rules.zones) if zone.motion is not None]
        self._watched = np.array([i for i, _, _ in watched], np.int64)
        self._names = [zone.name for _, zone, _ in watched]
        self._motions = [motion for _, _, motion in watched]
        holds = [[0.0] * len(watched), [_WRONG_WAY_S] * len(watched), [m.stopped_s or np.inf for m in self._motions]]
        self._episodes = kernels.Episodes(np.concatenate(holds))
        self._stops = kernels.SuddenStops(
            _each(m.sudden_stop_from for m in self._motions),
            # Speeds are means over the window: a stop in no time takes the window to show.
            _each(m.sudden_stop_s + rules.speed_window_s for m in self._motions),
        )
        self._off_deg: dict[tuple[int, int], float] = {}
        self._max_speed = _each(m.max_speed for m in self._motions)
        tolerance = _each(m.tolerance_deg for m in self._motions)
        wrong_cos, over_cos = -np.cos(np.radians(tolerance)), -np.cos(np.radians(tolerance + _EASE_DEG))
        self._conditions = kernels.Conditions(self._max_speed, wrong_cos, over_cos)
        self._view: View | None = None

    @property
    def alarms(self) -> BoolArray:
        """Bool (Z,): speeding, a wrong way or a stand goes on in the zone."""
        alarms = np.zeros(len(self._rules.zones), bool)
        alarms[self._watched] = self._episodes.active.reshape(len(_KINDS), -1).any(axis=0)
        return alarms

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay directions and speeds into pictures of this size (px). Before the first view, and when the size changes.

        Raises:
            ConfigError: the points of the ground plane disagree, or a direction lies above its horizon.
        """
        self._placement.move_to(shape_hw)
        self.speeds.place(shape_hw)
        in_world = self._rules.ground_plane is not None
        moves, stands = (kmh if in_world else heights * shape_hw[0] for kmh, heights in (_MOVES, _STANDS))
        min_speed = _each(m.min_speed or moves for m in self._motions)
        stop_speed = _each(m.stopped_speed or stands for m in self._motions)
        # No speed is below -1: a zone without stopped_s has no stand.
        stand_speed = np.where([m.stopped_s is None for m in self._motions], -1.0, stop_speed)
        directions = [self._direction(m.direction, name) for name, m in zip(self._names, self._motions, strict=True)]
        # In the unit of speeds, so that a velocity's share along the right way compares with its speed.
        self._directions = np.array(directions, np.float64).reshape(-1, 2) * (KMH if in_world else 1.0)
        self._conditions.place(min_speed, stand_speed, self._directions)
        self._stops.place(stop_speed)

    def update(self, view: View) -> list[Event]:
        """Take the next frame; what happened at it."""
        self._view = view
        if not self._motions and self._rules.ground_plane is None:
            return []
        new = self.speeds.update(view)
        if not self._motions:
            return []
        ended = self._episodes.leave(view, self._objects.last_s)
        self._stops.meet(view)
        if not new:
            return [self._event(turn, view) for turn in ended]
        inside = self._zones.inside[view.slot][:, self._watched]
        speed = self.speeds.speed[view.slot]
        on, off = self._conditions.look(self.speeds.velocity[view.slot], speed, inside)
        turns = self._episodes.update(view, on, off, speed)
        stops = self._stops.update(view, self.speeds.speed, inside)
        return [
            *(self._event(turn, view) for turn in (*ended, *turns)),
            *(self._sudden_stop(slot, column, peak, view) for slot, column, peak in stops),
        ]

    def finish(self) -> list[Event]:
        """The source has ended: end what goes on, at the last sightings."""
        view = self._view
        if view is None:
            return []
        return [self._event(turn, view) for turn in self._episodes.finish(self._objects.last_s)]

    def _direction(self, points: tuple[Point, Point] | None, name: str) -> Float64Array:
        """Unit vector of the right way, in metres with a ground plane; nan, which nothing is against, if not asked."""
        if points is None:
            return np.full(2, np.nan)
        ends = self._placement.px(points, name)
        if self.speeds.plane is not None:
            ends = self.speeds.plane.to_world(ends)
            if np.isnan(ends).any():
                raise ConfigError(
                    f"zone {name!r}: wanted a direction between points of the ground, found one above the horizon of "
                    "the ground plane; draw it on the ground"
                )
        along = ends[1] - ends[0]
        return np.asarray(along / np.hypot(*along))

    def _event(self, turn: Turn, view: View) -> Event:
        kind, column = divmod(turn.column, len(self._motions))
        values = (self._speeding, self._wrong_way, self._stopped)[kind](turn, column, view)
        name, start = self._names[column], turn.start
        return self._maker.of_object(
            _KINDS[kind], name, turn.slot, view.frame, start=start, end_s=turn.end_s, values=values
        )

    def _speeding(self, turn: Turn, column: int, view: View) -> dict[str, Value]:
        return {"limit": float(self._max_speed[column]), "peak": turn.peak, "unit": self.speeds.unit}

    def _wrong_way(self, turn: Turn, column: int, view: View) -> dict[str, Value]:
        """The angle off the right way is that at the beginning; at the end, the object may be gone."""
        key = turn.slot, column
        if turn.end_s is None:
            x, y = self.speeds.velocity[turn.slot].tolist()
            along, across = self._directions[column].tolist()
            self._off_deg[key] = math.degrees(math.atan2(abs(x * across - y * along), x * along + y * across))
        off_deg = self._off_deg[key] if turn.end_s is None else self._off_deg.pop(key)
        return {"heading_deg": off_deg, "speed": turn.peak, "unit": self.speeds.unit}

    def _stopped(self, turn: Turn, column: int, view: View) -> dict[str, Value]:
        until_s = view.time_s if turn.end_s is None else turn.end_s
        return {"threshold_s": self._motions[column].stopped_s or 0.0, "stopped_s": until_s - turn.start[0]}

    def _sudden_stop(self, slot: int, column: int, peak: float, view: View) -> Event:
        values: dict[str, Value] = {
            "from_speed": peak,
            "to_speed": float(self.speeds.speed[slot]),
            "unit": self.speeds.unit,
        }
        now, name = (view.time_s, view.captured_ns), self._names[column]
        return self._maker.of_object(
            EventKind.SUDDEN_STOP, name, slot, view.frame, start=now, end_s=now[0], values=values
        )


def check_motion(zone: ZoneConfig, ground_plane: GroundPlaneConfig | None, where: str) -> None:
    """Refuse a direction without length, and a sudden stop from less than a stand.

    Args:
        zone: any zone.
        ground_plane: of the source.
        where: what the error begins with.

    Raises:
        ConfigError: one line.
    """
    motion = zone.motion
    if motion is None:
        return
    if motion.direction is not None and motion.direction[0] == motion.direction[1]:
        raise ConfigError(f"{where}.motion.direction: wanted two points, found one twice: {motion.direction[0]}")
    stand = motion.stopped_speed or (None if ground_plane is None else _STANDS[0])
    if stand is not None and motion.sudden_stop_from is not None and motion.sudden_stop_from <= stand:
        raise ConfigError(
            f"{where}.motion.sudden_stop_from: wanted more than stopped_speed {stand:g}, found "
            f"{motion.sudden_stop_from:g}"
        )


def _each(values: Iterable[float | None]) -> Float64Array:
    """By watched zone; inf, which no speed exceeds, where a zone does not ask."""
    return np.array([np.inf if value is None else value for value in values], np.float64)
