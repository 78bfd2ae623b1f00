"""A labelled sequence, and where its pictures may be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.streaming.truth import Truth


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """One sequence of a file or folder of ground truth.

    Attributes:
        truth: the labels.
        path: where they were read.
        pictures: where its pictures are expected; nothing says that they are there.
    """

    truth: Truth
    path: Path
    pictures: Path

    @property
    def name(self) -> str:
        """Name of the sequence."""
        return self.truth.stream.name

    @property
    def has_tracks(self) -> bool:
        """Whether every object that counts has an identity."""
        rows = zip(self.truth.boxes, self.truth.crowd, strict=True)
        return all((boxes.track_id[~crowd] >= 0).all() for boxes, crowd in rows)
