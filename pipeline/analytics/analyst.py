"""All rules of one source, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.geometry import Placement
from pipeline.analytics.lines import Lines
from pipeline.analytics.objects import ObjectTable
from pipeline.analytics.rule_clock import RuleClock
from pipeline.analytics.view import Rule, View
from pipeline.core.event import Event
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.core.tracks import Tracks


class RuleAnalyst:
    """Counts and events of one source.

    Args:
        rules: its lines, zones and settings, checked.
        info: what the source said of itself.
        class_names: names by class_id.
    """

    def __init__(self, rules: SourceRules, info: StreamInfo, class_names: tuple[str, ...]) -> None:
        self._source_id = info.source_id
        self._config = rules
        self._class_names = class_names
        self._clock = RuleClock(info)
        self._placement = Placement(rules.units)
        self._objects = ObjectTable(rules)
        maker = EventMaker(info.source_id, class_names, self._objects)
        self._lines = Lines(rules, class_names, self._objects, maker)
        self._rules: list[Rule] = [self._lines]
        self._shape_hw: tuple[int, int] | None = None
        self._layout: SceneLayout | None = None
        self._view: View | None = None
        self._n_objects: Mapping[str, int] = {}

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        """Take the tracks of the next frame; what happened at it, and how things stand.

        Raises:
            UsageError: a rule lies outside the picture.
        """
        if self._layout is None or frame.shape_hw != self._shape_hw:
            self._layout = self._place(frame.shape_hw)
        view = self._view = self._objects.see(frame, tracks, self._clock.time_s(frame))
        events = tuple(event for rule in self._rules for event in rule.update(view))
        return events, self._scene(self._layout)

    def finish(self) -> Closing:
        """The source has ended: end what goes on."""
        view = self._view
        if view is None or self._layout is None:
            return Closing(self._source_id, 0.0, 0)
        events = tuple(event for rule in self._rules for event in rule.finish())
        return Closing(self._source_id, view.time_s, view.captured_ns, events, self._scene(self._layout))

    def _place(self, shape_hw: tuple[int, int]) -> SceneLayout:
        self._shape_hw = shape_hw
        self._objects.scale(self._placement.move_to(shape_hw))
        for rule in self._rules:
            rule.place(shape_hw)
        lines = self._config.lines
        return SceneLayout(
            tuple(line.name for line in lines),
            tuple((line.label_in, line.label_out) for line in lines),
            self._lines.lines_px.copy(),
            (),
            (),
        )

    def _scene(self, layout: SceneLayout) -> Scene:
        none = np.zeros(0, np.int64)
        return Scene(layout, self._lines.crossings.copy(), none, none, np.zeros(0, bool), self._counts())

    def _counts(self) -> Mapping[str, int]:
        """Unique objects so far by class name; the same object until it changes."""
        names = self._class_names
        counts = {
            names[i] if 0 <= i < len(names) else f"class {i}": n for i, n in self._objects.n_by_class.items() if n
        }
        if counts != self._n_objects:
            self._n_objects = counts
        return self._n_objects
