"""All rules of one source, frame by frame."""

from __future__ import annotations

import numpy as np

from pipeline.analytics.config import SourceRules
from pipeline.analytics.event_maker import EventMaker
from pipeline.analytics.objects import ObjectTable
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
        self._info = info
        self._objects = ObjectTable(rules)
        self._maker = EventMaker(info.source_id, class_names, self._objects)
        self._rules: list[Rule] = []
        self._view: View | None = None

    def update(self, frame: Frame, tracks: Tracks) -> tuple[tuple[Event, ...], Scene]:
        """Take the tracks of the next frame; what happened at it, and how things stand."""
        time_s = frame.captured_ns / 1e9 if self._info.is_live or frame.pts_s is None else frame.pts_s
        view = self._view = self._objects.see(frame, tracks, time_s)
        events = tuple(event for rule in self._rules for event in rule.update(view))
        return events, self._scene()

    def finish(self) -> Closing:
        """The source has ended: end what goes on."""
        events = tuple(event for rule in self._rules for event in rule.finish())
        view = self._view
        return Closing(
            self._info.source_id,
            view.time_s if view else 0.0,
            view.captured_ns if view else 0,
            events,
            self._scene() if view else None,
        )

    def _scene(self) -> Scene:
        none = np.zeros((0, 2), np.int64)
        layout = SceneLayout((), (), np.zeros((0, 2, 2)), (), ())
        return Scene(layout, none, none[:, 0], none[:, 0], np.zeros(0, bool))
