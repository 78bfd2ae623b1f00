"""What is read from other tools' annotations, the same for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class LabelBox:
    """A box that somebody left in.

    Attributes:
        label: its class, by the name that the file has for it.
        xyxy: left, top, right, bottom; finite, and may reach beyond the picture.
        occluded: the object is hidden there.
        relative: they are fractions of the picture's sides, not px.
    """

    label: str
    xyxy: tuple[float, float, float, float]
    occluded: bool = False
    relative: bool = False


class VideoLabels(Protocol):
    """The labels of one video.

    Attributes:
        names: what the video may be called, the likeliest first.
        file: the annotations.
        size_wh: of its frames in px, where the annotations say it.
        end: the frame from which on nobody labelled anything, counted from 0; None = all of the video is labelled.
    """

    names: Sequence[str]
    file: Path
    size_wh: tuple[int, int] | None

    @property
    def end(self) -> int | None:
        """See above."""

    @property
    def last_frame(self) -> int:
        """The last frame with a box, -1 = none; of keyframes, the last one that is to be seen."""

    def labels(self) -> Counter[str]:
        """How often each label stands in the file."""

    def covers(self, frame: int) -> bool:
        """Whether somebody labelled this frame, so that no box means that nothing is there."""

    def at(self, frame: int) -> list[LabelBox]:
        """The boxes of a frame."""


@dataclass(frozen=True, slots=True)
class PictureLabels:
    """The labels of one picture file.

    Attributes:
        names: of the file, relative to a folder of pictures, the likeliest first; pictures that share a folder in it
            are taken to be of one recording.
        file: the annotations.
        size_wh: of the picture in px, where the annotations say it.
        boxes: in it.
    """

    names: Sequence[str]
    file: Path
    size_wh: tuple[int, int] | None
    boxes: Sequence[LabelBox]


@dataclass(slots=True)
class FramesOfVideo:
    """Labels that are written frame by frame. Implements `VideoLabels`."""

    names: Sequence[str]
    file: Path
    size_wh: tuple[int, int] | None
    boxes: Mapping[int, list[LabelBox]]
    covered: range | frozenset[int] | None
    """The labelled frames; None = all of the video."""

    @property
    def end(self) -> int | None:
        """The frame from which on nobody labelled anything."""
        return None if self.covered is None else max(self.covered, default=-1) + 1

    def labels(self) -> Counter[str]:
        """How often each label stands in the file."""
        return Counter(box.label for boxes in self.boxes.values() for box in boxes)

    @property
    def last_frame(self) -> int:
        """The last frame with a box."""
        return max((frame for frame, boxes in self.boxes.items() if boxes), default=-1)

    def covers(self, frame: int) -> bool:
        """Whether somebody labelled this frame."""
        return self.covered is None or frame in self.covered

    def at(self, frame: int) -> list[LabelBox]:
        """The boxes of a frame."""
        return self.boxes.get(frame, [])


@dataclass(slots=True)
class Annotations:
    """All that was found.

    Attributes:
        format: what it is called.
        files: that were read.
        declared: labels that the files declare, in their order.
        videos: labels of videos.
        pictures: labels of picture files.
        left_out: what is no box and cannot become one, counted by kind.
    """

    format: str
    files: list[Path] = field(default_factory=list)
    declared: dict[str, None] = field(default_factory=dict)
    videos: list[VideoLabels] = field(default_factory=list)
    pictures: list[PictureLabels] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


class Reader(Protocol):
    """Adds the labels of one file to what was found so far."""

    def __call__(self, path: Path, root: Path, found: Annotations) -> None:
        """Read `path`, which lies below `root`. Raises DatasetError, naming file and place."""
