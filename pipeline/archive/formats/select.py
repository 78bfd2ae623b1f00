"""The part of an annotated video that is to be written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.record import AnnotatedVideo, FrameTracks, VideoFacts
from pipeline.core.boxes import area, clip
from pipeline.core.class_names import class_ids
from pipeline.core.tracks import Tracks


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which boxes of a video.

    Attributes:
        classes: names or numbers; empty = all, with the numbers they have.
        min_confidence: boxes of less are left out.
        predicted: whether boxes are kept whose place the tracker only assumed.
        clipped: whether boxes are cut off at the frame's edge, and those beyond it left out.
    """

    classes: tuple[str | int, ...] = ()
    min_confidence: float = 0.0
    predicted: bool = True
    clipped: bool = True

    @classmethod
    def of(cls, options: FormatOptions, *, predicted: bool, clipped: bool) -> Selection:
        """The selection that options ask for, of a format with these habits."""
        asked = options.include_predicted
        return cls(
            classes=options.classes,
            min_confidence=options.min_confidence,
            predicted=predicted if asked is None else asked,
            clipped=clipped,
        )


class SelectedVideo:
    """A video of which only some boxes are seen. Implements `AnnotatedVideo`.

    Args:
        video: all of it.
        selection: which boxes; with `classes`, the chosen ones are numbered from 0 in their old order.

    Raises:
        ConfigError: a class that the video has not.
    """

    def __init__(self, video: AnnotatedVideo, selection: Selection) -> None:
        names = video.class_names
        kept = class_ids(selection.classes, names) if selection.classes else tuple(range(len(names)))
        self._video = video
        self._selection = selection
        self._class_names = tuple(names[number] for number in kept)
        self._new_id = np.full(len(names), -1, np.int64)
        self._new_id[list(kept)] = np.arange(len(kept))

    @property
    def facts(self) -> VideoFacts:
        """What is known of the video."""
        return self._video.facts

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by the new class_id."""
        return self._class_names

    def frames(self) -> Iterator[FrameTracks]:
        """Every frame in order, those without tracks too; tracks in ascending order of their ids."""
        facts, selection = self.facts, self._selection
        shape_hw = (facts.height_px, facts.width_px)
        for one in self._video.frames():
            tracks = one.tracks
            if not len(tracks):
                yield one
                continue
            xyxy = clip(tracks.xyxy, shape_hw).astype(np.float32) if selection.clipped else tracks.xyxy
            class_id = self._new_id[tracks.class_id]
            kept = (class_id >= 0) & (tracks.confidence >= selection.min_confidence) & (area(xyxy) > 0)
            if not selection.predicted:
                kept &= tracks.detection_row >= 0
            rows = np.flatnonzero(kept)
            rows = rows[np.argsort(tracks.track_id[rows], kind="stable")]
            chosen = Tracks(
                xyxy[rows], tracks.confidence[rows], class_id[rows], tracks.track_id[rows], tracks.detection_row[rows]
            )
            yield FrameTracks(one.frame, one.pts_s, chosen)
