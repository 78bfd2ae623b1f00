"""All rules of one source, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.heatmap import HeatmapGrid
from pipeline.analytics.kernels import DEFAULT, RuleKernels
from pipeline.analytics.lines import Lines
from pipeline.analytics.motion import Motion
from pipeline.analytics.notes import Notes
from pipeline.analytics.object_events import ObjectEvents
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.rule_clock import RuleClock
from pipeline.analytics.view import Rule, View
from pipeline.analytics.zones import Zones
from pipeline.core.arrays import BoolArray, IntArray
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.core.tracks import Tracks

_NOTES_S = 0.2
"""How long the texts beside the objects stay as they are (s)."""

_CALM = frozenset({EventKind.OBJECT, EventKind.CROSSING, EventKind.VISIT, EventKind.SUDDEN_STOP})
"""Events that begin and end no alarm."""


class RuleAnalyst:
    """Counts and events of one source.

    Args:
        rules: its lines, zones and settings, checked.
        info: what the source said of itself.
        class_names: names by class_id.
        kernels: what does the work of the rules.
    """

    def __init__(
        self, rules: SourceRules, info: StreamInfo, class_names: tuple[str, ...], kernels: RuleKernels = DEFAULT
    ) -> None:
        self._source_id = info.source_id
        self._config = rules
        self._class_names = class_names
        self._clock = RuleClock(info)
        self._placement = Placement(rules.units)
        self._objects = ObjectTable(rules, kernels)
        maker = EventMaker(info.source_id, class_names, self._objects)
        self._lines = Lines(rules, class_names, self._objects, maker, kernels)
        self._zones = Zones(rules, class_names, self._objects, maker, kernels)
        self._motion = Motion(rules, class_names, self._objects, maker, self._zones, kernels)
        self._heatmap = None if rules.heatmap is None else HeatmapGrid(rules.heatmap, class_names, kernels)
        # Motion asks the zones who is inside.
        self._rules: tuple[Rule, ...] = (
            self._lines,
            self._zones,
            self._motion,
            ObjectEvents(rules, class_names, self._objects, maker, kernels),
        )
        self._shape_hw: tuple[int, int] | None = None
        self._layout: SceneLayout | None = None
        self._view: View | None = None
        self._counts: tuple[IntArray, IntArray] | None = None
        self._alarms: BoolArray | None = None
        self._n_by_class: dict[int, int] = {}
        self._n_objects: dict[str, int] = {}
        self._noted_s = -np.inf
        self._noted: Mapping[int, str] = {}

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        """Take the tracks of the next frame; what happened at it, and how things stand.

        Raises:
            UsageError: a rule lies outside the picture.
        """
        if self._layout is None or frame.shape_hw != self._shape_hw:
            self._layout = self._place(frame.shape_hw)
        view = self._view = self._objects.see(frame, tracks, self._clock.time_s(frame))
        found: list[Event] = []
        for rule in self._rules:
            found += rule.update(view)
        events = tuple(found)
        if self._heatmap is not None:
            self._heatmap.update(view)
        return events, self._scene(self._layout, view, events)

    def finish(self) -> Closing:
        """The source has ended: end what goes on."""
        view = self._view
        if view is None or self._layout is None:
            return Closing(self._source_id, 0.0, 0)
        events = tuple(event for rule in self._rules for event in rule.finish())
        return Closing(
            self._source_id,
            view.time_s,
            view.captured_ns,
            events,
            self._scene(self._layout, view, events),
            None if self._heatmap is None else self._heatmap.result(),
            self._zones.summary(),
        )

    def _place(self, shape_hw: tuple[int, int]) -> SceneLayout:
        self._shape_hw = shape_hw
        self._objects.scale(self._placement.move_to(shape_hw))
        for rule in self._rules:
            rule.place(shape_hw)
        if self._heatmap is not None:
            self._heatmap.place(shape_hw)
        lines = self._config.lines
        return SceneLayout(
            tuple(line.name for line in lines),
            tuple((line.label_in, line.label_out) for line in lines),
            self._lines.lines_px.copy(),
            tuple(zone.name for zone in self._config.zones),
            self._zones.polygons_px,
        )

    def _scene(self, layout: SceneLayout, view: View, events: tuple[Event, ...]) -> Scene:
        # Nothing but occupancy changes without an event.
        if events or self._counts is None:
            self._counts = self._lines.crossings.copy(), self._zones.visits
        if self._alarms is None or not _CALM.issuperset([event.kind for event in events]):
            self._alarms = self._zones.alarms | self._motion.alarms
        crossings, visits = self._counts
        if self._n_by_class != self._objects.n_by_class:
            self._n_by_class, self._n_objects = self._objects.n_by_class.copy(), self._named_counts()
        return Scene(
            layout,
            crossings,
            self._zones.occupancy,
            visits,
            self._alarms,
            self._n_objects,
            None if self._heatmap is None else self._heatmap.presence,
            self._notes(view),
        )

    def _named_counts(self) -> dict[str, int]:
        """Unique objects so far, by class name."""
        names, n_by_class = self._class_names, self._objects.n_by_class
        return {names[i] if 0 <= i < len(names) else f"class {i}": n for i, n in sorted(n_by_class.items()) if n}

    def _notes(self, view: View) -> Mapping[int, str]:
        """Speed and dwell of each object in the frame, as often as people can read them."""
        if not self._noted_s <= view.time_s < self._noted_s + _NOTES_S:
            has_zones = bool(self._config.zones) and len(view.slot) > 0
            dwell_s = self._zones.dwell_s(view.slot).max(axis=1) if has_zones else None
            self._noted_s, self._noted = view.time_s, Notes(view.track_id, self._motion.speeds.kmh(view), dwell_s)
        return self._noted
