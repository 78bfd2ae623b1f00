"""Fewest boxes by which straight interpolation gives back a track."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class KeyBox:
    """A box that is written.

    Attributes:
        frame: from 0.
        xyxy: float64 (4,), px.
        occluded: the object's place was assumed, from here to the next box.
        outside: the object is not to be seen, from here to the next box.
    """

    frame: int
    xyxy: Box
    occluded: bool
    outside: bool = False


class Thinner:
    """Takes the boxes of one track in order and gives out those that have to be kept, with a memory of two boxes.

    A box is left out where the straight line between the boxes kept around it passes within `max_error_px` of each of
    its four coordinates. Where the object is not seen for a frame or more, the last box before is kept, and one marked
    `outside` stands in the frame after it. What was assumed and what was seen never share a line.

    The line from the last box kept has to pass through a window at every box since. What all windows leave open is one
    interval of slopes per coordinate, so each box costs the same however long the line is.

    Args:
        max_error_px: 0 leaves out only boxes that lie exactly on the line.
    """

    def __init__(self, max_error_px: float) -> None:
        # Coordinates have two decimals: half a unit of the last is no error.
        self._slack = max_error_px + 1e-6
        self._kept: KeyBox | None = None
        self._last: KeyBox | None = None
        self._low = np.full(4, -np.inf)
        self._high = np.full(4, np.inf)

    def add(self, frame: int, xyxy: Box, *, occluded: bool) -> Iterator[KeyBox]:
        """The next box; frames ascend."""
        box = KeyBox(frame, xyxy, occluded)
        if self._last is None or self._kept is None:
            yield self._keep(box)
        elif frame > self._last.frame + 1:
            yield from self.end(frame)
            yield self._keep(box)
        elif occluded != self._last.occluded:
            if not self._reaches(box) and self._last is not self._kept:
                yield self._last
            yield self._keep(box)
        elif self._reaches(box):
            self._last = box
            self._narrow(box)
        else:
            yield self._keep(self._last)
            self._last = box
            self._narrow(box)

    def end(self, n_frames: int) -> Iterator[KeyBox]:
        """The object is not seen any more; `n_frames` is the end of the video, beyond which nothing may stand."""
        last, self._last = self._last, None
        if last is None:
            return
        if last is not self._kept:
            yield last
        if last.frame + 1 < n_frames:
            yield KeyBox(last.frame + 1, last.xyxy, last.occluded, outside=True)

    def _keep(self, box: KeyBox) -> KeyBox:
        self._kept = self._last = box
        self._low = np.full(4, -np.inf)
        self._high = np.full(4, np.inf)
        return box

    def _reaches(self, box: KeyBox) -> bool:
        """Whether the line from the box kept last to this one passes all windows in between."""
        slope = self._slope(box, 0.0)
        return bool((slope >= self._low).all() and (slope <= self._high).all())

    def _narrow(self, box: KeyBox) -> None:
        self._low = np.maximum(self._low, self._slope(box, -self._slack))
        self._high = np.minimum(self._high, self._slope(box, self._slack))

    def _slope(self, box: KeyBox, shift: float) -> Box:
        kept = self._kept
        if kept is None:
            return np.zeros(4)
        return (box.xyxy - kept.xyxy + shift) / (box.frame - kept.frame)
