"""Takes the results of a pipeline and keeps the frames that belong into a data set."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from detector.data.near_duplicates import Fingerprint, Gallery, fingerprint
from pipeline.core.detections import Detections
from pipeline.core.errors import SinkError
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.footage.picture_folder import PictureFolder
from pipeline.footage.prelabel import (
    HOLD_FRAMES,
    PreLabel,
    TrackMemory,
    labels_from_detections,
    labels_from_tracks,
)
from pipeline.footage.sampler import FrameSampler, Reason
from pipeline.footage.settings import FootageSettings


@dataclass(slots=True)
class SourceCount:
    """What became of the frames of a source.

    Attributes:
        frames: that were seen.
        looked_at: that were chosen by time or scene.
        look_alikes: of these, left out since a picture like them is there.
        pictures: taken.
        boxes: labels in these.
        unsure: places to ignore in these.
    """

    frames: int = 0
    looked_at: int = 0
    look_alikes: int = 0
    pictures: int = 0
    boxes: int = 0
    unsure: int = 0


@dataclass(slots=True)
class _Held:
    """A picture that waits for its tracks to be confirmed."""

    result: FrameResult
    why: Reason
    look: Fingerprint
    at: int


@dataclass(slots=True)
class _State:
    sampler: FrameSampler
    memory: TrackMemory = field(default_factory=TrackMemory)
    held: deque[_Held] = field(default_factory=deque)
    count: SourceCount = field(default_factory=SourceCount)


class Harvest:
    """A sink that makes a data set.

    Pictures of all sources are compared with each other. One is written once the frames that confirm its tracks have
    been seen.

    Args:
        settings: which frames, which boxes.
        folder: where pictures go.
        class_ids: the detector's classes by class_id of the data set.
        detector: looks at the pictures that are taken; None where results carry detections, or nothing is looked for.
        full: called with the id of a source that has given all the pictures it may.
    """

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(
        self,
        settings: FootageSettings,
        folder: PictureFolder,
        *,
        class_ids: Sequence[int] = (),
        detector: Detector | None = None,
        full: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._new_id = {number: position for position, number in enumerate(class_ids)}
        self._detector = detector
        self._full = full
        self._gallery = Gallery(settings.min_difference)
        self._states: dict[str, _State] = {}

    @property
    def counts(self) -> dict[str, SourceCount]:
        """What became of the frames, by source."""
        return {name: state.count for name, state in self._states.items()}

    def open(self, info: StreamInfo) -> None:
        """Get ready for a source."""
        self._states[info.source_id] = _State(FrameSampler(self._settings.every_s, self._settings.scenes))

    def write(self, result: FrameResult) -> None:
        """Take the next result of a source. Raises SinkError where a picture cannot be written."""
        state = self._states[result.frame.source_id]
        state.count.frames += 1
        if result.tracked:
            state.memory.see(result)
        why = state.sampler.why(result.frame)
        if why is not None and not self._is_full(state, len(state.held)):
            self._consider(state, result, why)
        self._settle(state, HOLD_FRAMES)

    def close(self) -> None:
        """Write what is still held. Idempotent. Raises SinkError."""
        for state in self._states.values():
            self._settle(state, 0)

    def _is_full(self, state: _State, n_held: int = 0) -> bool:
        limit = self._settings.max_per_source
        return limit is not None and state.count.pictures + n_held >= limit

    def _consider(self, state: _State, result: FrameResult, why: Reason) -> None:
        state.count.looked_at += 1
        look = fingerprint(result.frame.image)
        if self._gallery.look_alike(look) is not None:
            state.count.look_alikes += 1
            return
        self._gallery.add(look)
        state.held.append(_Held(result, why, look, state.count.frames))

    def _settle(self, state: _State, hold_frames: int) -> None:
        while state.held and state.count.frames - state.held[0].at >= hold_frames:
            held = state.held.popleft()
            frame = held.result.frame
            labels = [
                replace(label, class_id=self._new_id[label.class_id]) for label in self._labels(state, held.result)
            ]
            try:
                self._folder.add(frame, held.why, held.look, labels)
            except OSError as error:
                raise SinkError(f"{frame}: wanted to write its picture, found: {error.strerror or error}") from error
            unsure = sum(label.unsure for label in labels)
            state.count.pictures += 1
            state.count.unsure += unsure
            state.count.boxes += len(labels) - unsure
            if self._is_full(state):
                self._full(frame.source_id)

    def _labels(self, state: _State, result: FrameResult) -> list[PreLabel]:
        conf, unsure = self._settings.conf, self._settings.unsure
        # Still images have no media time: they are no frames of one film, and a track through them means nothing.
        if result.tracked and result.frame.pts_s is not None:
            return labels_from_tracks(result, state.memory, conf=conf, unsure=unsure)
        found: Detections = result.detections
        if self._detector is not None:
            (found,) = self._detector.detect([result.frame])
        return labels_from_detections(found, result.frame.shape_hw, conf=conf, unsure=unsure)
