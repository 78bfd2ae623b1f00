"""What each camera wants of a detector that all share: classes, threshold, region, and rest while nothing moves."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.core.arrays import BoolArray, FloatArray, ImageArray
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame
from pipeline.core.protocols import Detector


class Area(Protocol):
    """The part of a picture in which boxes count."""

    def inside(self, xyxy: FloatArray, shape_hw: tuple[int, int]) -> BoolArray:
        """Which boxes are inside: bool (n,)."""


class Gate(Protocol):
    """Whether a picture is to be detected."""

    def is_open(self, image: ImageArray, captured_ns: int) -> bool:
        """True: detect it."""


@dataclass(frozen=True, slots=True)
class CameraWishes:
    """What one camera wants. None: whatever the detector gives.

    Attributes:
        class_ids: only these classes.
        min_confidence: only boxes from this confidence on.
        area: only boxes in it.
        gate: pictures that it keeps out are not detected; their boxes are those of the picture before.
    """

    class_ids: frozenset[int] | None = None
    min_confidence: float | None = None
    area: Area | None = None
    gate: Gate | None = None


class CameraFilter:
    """A detector before a detector. Batches hold only frames that are to be detected.

    Args:
        detector: the one that all cameras share.
        wishes: by source id; sources that are not in it get everything. May be replaced while it runs.
    """

    def __init__(self, detector: Detector, wishes: Mapping[str, CameraWishes]) -> None:
        self.wishes = wishes
        self.n_parallel = int(getattr(detector, "n_parallel", 1))
        self.detector = detector
        self._lock = threading.Lock()
        self._last: dict[str, Detections] = {}
        self._still: Counter[str] = Counter()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id."""
        return self.detector.class_names

    def counters(self, source_id: str) -> Mapping[str, int]:
        """`still`: frames of a source that were not detected because nothing moved; {} without a gate."""
        wishes = self.wishes.get(source_id)
        return {"still": self._still[source_id]} if wishes is not None and wishes.gate is not None else {}

    def warmup(self) -> None:
        """Pay the one-off costs."""
        self.detector.warmup()

    def close(self) -> None:
        """Release everything. Idempotent."""
        self.detector.close()

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """One Detections per frame, as its camera wants them."""
        with self._lock:
            moving = [frame for frame in frames if self._is_open(frame)]
        detected = iter(self.detector.detect(moving) if moving else ())
        found = {id(frame): self._wanted(frame, next(detected)) for frame in moving}
        with self._lock:
            return [self._remembered(frame, found.get(id(frame))) for frame in frames]

    def _is_open(self, frame: Frame) -> bool:
        wishes = self.wishes.get(frame.source_id)
        if wishes is None or wishes.gate is None or wishes.gate.is_open(frame.image, frame.captured_ns):
            return True
        self._still[frame.source_id] += 1
        return False

    def _remembered(self, frame: Frame, found: Detections | None) -> Detections:
        if found is None:
            return self._last.get(frame.source_id, Detections.empty())
        wishes = self.wishes.get(frame.source_id)
        if wishes is not None and wishes.gate is not None:
            self._last[frame.source_id] = found
        return found

    def _wanted(self, frame: Frame, found: Detections) -> Detections:
        wishes = self.wishes.get(frame.source_id)
        if wishes is None or not len(found):
            return found
        keep = np.ones(len(found), bool)
        if wishes.class_ids is not None:
            keep &= np.isin(found.class_id, list(wishes.class_ids))
        if wishes.min_confidence is not None:
            keep &= found.confidence >= wishes.min_confidence
        if wishes.area is not None:
            keep &= wishes.area.inside(found.xyxy, frame.shape_hw)
        return found if keep.all() else found.select(keep)
