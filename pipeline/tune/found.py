"""What a network finds in every frame of the clip: measured once, used by every simulation."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.benchmark.configuration import Configuration
from pipeline.config.build import build_detector, detector_section_for_tracking
from pipeline.config.schema import RunConfig
from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError
from pipeline.core.whole_file import write_whole
from pipeline.tune.clip import Clip


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A detector's boxes of each frame.

    Attributes:
        class_names: names by class_id.
        frames: boxes, frame by frame.
    """

    class_names: tuple[str, ...]
    frames: tuple[Detections, ...]

    def save(self, path: Path) -> None:
        """Write them as .npz. Raises OSError."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            class_names=np.array(self.class_names, np.str_),
            n=np.array([len(one) for one in self.frames], np.int64),
            xyxy=np.concatenate([one.xyxy for one in self.frames]),
            confidence=np.concatenate([one.confidence for one in self.frames]),
            class_id=np.concatenate([one.class_id for one in self.frames]),
        )
        write_whole(path, content.getbuffer())

    @classmethod
    def load(cls, path: Path) -> Found:
        """Read what `save` wrote. Raises OSError, or ValueError and KeyError where it is something else."""
        with np.load(path, allow_pickle=False) as file:
            rows = {name: file[name] for name in ("xyxy", "confidence", "class_id")}
            ends = np.concatenate([[0], file["n"].cumsum()]).tolist()
            names = tuple(file["class_names"].tolist())
        return cls(names, tuple(_part(rows, begin, end) for begin, end in pairwise(ends)))


def find_in_clip(configuration: Configuration, clip: Clip) -> Found:
    """Detect in every frame of the clip, as `run` with a tracker does.

    Raises:
        TracklightError: it cannot run here, or the clip cannot be read.
    """
    config = RunConfig(detector=configuration.detector_section())
    detector = build_detector(detector_section_for_tracking(config))
    try:
        frames = [detector.detect([frame])[0] for frame in clip.frames()]
    finally:
        detector.close()
    _check_number(frames, clip)
    return Found(detector.class_names, tuple(frames))


def _check_number(frames: Sequence[Detections], clip: Clip) -> None:
    if len(frames) != clip.n_frames:
        raise BackendError(f"{clip.name}: wanted {clip.n_frames} frames, found {len(frames)}; did the file change?")


def _part(rows: dict[str, np.ndarray], begin: int, end: int) -> Detections:
    return Detections(rows["xyxy"][begin:end], rows["confidence"][begin:end], rows["class_id"][begin:end])
