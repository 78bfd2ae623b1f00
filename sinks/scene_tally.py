"""What happened and how things stand, counted over a whole run, however often its sources begin anew."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.core.event import Event, EventKind
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene
from sinks.objects import class_name, shown_objects


class Rising:
    """Counters that never fall: one that begins at 0 again goes on where it was."""

    def __init__(self) -> None:
        self._seen: dict[Hashable, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def value(self, key: Hashable, counted: float) -> float:
        """The counter's value, given what it shows now."""
        with self._lock:
            before, last = self._seen.get(key, (0.0, 0.0))
            if counted < last:
                before += last
            self._seen[key] = before, counted
            return before + counted


@dataclass(frozen=True, slots=True)
class SourceTally:
    """One source.

    Attributes:
        events: how many began, by kind and rule.
        crossings: by line and direction (`in`, `out`).
        visits: begun, by zone.
        occupancy: objects now, by zone.
        alarms: whether an event other than visits goes on, by zone.
        objects: in view now, by class; 0 for classes that were.
    """

    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    crossings: Counter[tuple[str, str]] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    occupancy: dict[str, int] = field(default_factory=dict)
    alarms: dict[str, bool] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)


class SceneTally:
    """Counts results as they come. One thread adds, any thread reads.

    Args:
        class_names: names by class_id.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._lock = threading.Lock()
        self._sources: dict[str, SourceTally] = {}

    def add(self, result: FrameResult) -> None:
        """Count a result."""
        ids, counts = np.unique(shown_objects(result).class_id, return_counts=True)
        found = zip(ids.tolist(), counts.tolist(), strict=True)
        with self._lock:
            tally = self._sources.setdefault(result.frame.source_id, SourceTally())
            tally.objects.update(dict.fromkeys(tally.objects, 0))
            tally.objects.update({class_name(self._class_names, class_id): n for class_id, n in found})
            self._add_events(tally, result.events)
            if result.scene is not None:
                _stand(tally, result.scene)

    def end_source(self, closing: Closing) -> None:
        """Count what a source's end has ended; nothing is in view of it any more."""
        with self._lock:
            tally = self._sources.setdefault(closing.source_id, SourceTally())
            self._add_events(tally, closing.events)
            for now in (tally.objects, tally.occupancy):
                now.update(dict.fromkeys(now, 0))
            tally.alarms.update(dict.fromkeys(tally.alarms, False))

    def snapshot(self) -> Mapping[str, SourceTally]:
        """A copy of everything."""
        with self._lock:
            return {
                name: SourceTally(
                    Counter(tally.events),
                    Counter(tally.crossings),
                    Counter(tally.visits),
                    dict(tally.occupancy),
                    dict(tally.alarms),
                    dict(tally.objects),
                )
                for name, tally in self._sources.items()
            }

    @staticmethod
    def _add_events(tally: SourceTally, events: Sequence[Event]) -> None:
        for event in events:
            if event.phase == "end":
                continue  # it was counted as it began
            tally.events[str(event.kind), event.rule] += 1
            if event.kind is EventKind.CROSSING:
                tally.crossings[event.rule, str(event.values.get("direction", ""))] += 1
            elif event.kind is EventKind.VISIT:
                tally.visits[event.rule] += 1


def _stand(tally: SourceTally, scene: Scene) -> None:
    """Take the states over; what may be counted is there from the first frame on, with 0."""
    layout = scene.layout
    for line in layout.line_names:
        for direction in ("in", "out"):
            tally.crossings.setdefault((line, direction), 0)
    for zone, n_objects, alarm in zip(layout.zone_names, scene.occupancy.tolist(), scene.alarms.tolist(), strict=True):
        tally.visits.setdefault(zone, 0)
        tally.occupancy[zone] = n_objects
        tally.alarms[zone] = alarm
