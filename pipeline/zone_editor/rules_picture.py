"""Rules drawn on a snapshot, as a run draws them."""

from __future__ import annotations

import cv2

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import SourceRules
from pipeline.core.detections import Detections
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from pipeline.zone_editor.snapshot import Snapshot
from sinks.draw import Annotator, DrawConfig


def rules_picture(snapshot: Snapshot, rules: SourceRules, suffix: str) -> bytes:
    """The snapshot with the rules on it, all counts at zero, encoded by suffix (`.png`, `.jpg`).

    Raises:
        UsageError: a rule lies outside the picture.
    """
    frame = snapshot.frame
    # Any class will do: nothing is counted.
    named = [*(line.classes for line in rules.lines), *(zone.classes for zone in rules.zones)]
    named += [rules.heatmap.classes] if rules.heatmap else []
    names = tuple(sorted({name for classes in named for name in classes}))
    _, scene = RuleAnalyst(rules, snapshot.info, names).update(frame, Tracks.empty())
    at = frame.captured_ns
    result = FrameResult(frame, Detections.empty(), Tracks.empty(), Timeline(at, at, at, at, at, at), scene=scene)
    picture = Annotator(DrawConfig(), names).draw(result)
    return cv2.imencode(suffix, picture)[1].tobytes()
