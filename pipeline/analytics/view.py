"""One frame as the rules see it, and what a rule is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.event import Event


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The objects of one frame. An object is a track, or several where a broken track was stitched together.

    Rules keep what they know of objects in arrays by slot. A slot belongs to one object from the frame that lists it in
    `born` to the frame that lists it in `gone`; then it may serve another one. `gone` comes before `born`: a rule ends
    what the leaving objects were doing, then forgets their slots, then meets the new ones.

    Attributes:
        time_s: time of the frame (s), never before the view before: media time of a recorded source, capture time of a
            live one.
        dt_s: since the view before (s), 0 for the first.
        frame: index of the frame.
        captured_ns: `Frame.captured_ns`.
        shape_hw: size of the picture (px).
        slot: int64 (m,): where rules keep what they know of each object in the frame.
        track_id: int64 (m,): the tracker's id.
        class_id: int64 (m,): class of the object, decided by most sightings so far.
        xyxy: float32 (m, 4) px.
        anchor: float64 (m, 2) px: the point of the box that counts (x, y).
        predicted: bool (m,): the box is a prediction, no detection.
        born: int64 (k,): slots of objects seen for the first time.
        gone: int64 (k,): slots of objects forgotten since the view before, not seen for `forget_s`.
        capacity: all slots are below it; it only grows.
    """

    time_s: float
    dt_s: float
    frame: int
    captured_ns: int
    shape_hw: tuple[int, int]
    slot: IntArray
    track_id: IntArray
    class_id: IntArray
    xyxy: FloatArray
    anchor: Float64Array
    predicted: BoolArray
    born: IntArray
    gone: IntArray
    capacity: int


class Rule(Protocol):
    """A set of rules of one sort (all lines, all zones), worked out together for speed."""

    def place(self, shape_hw: tuple[int, int]) -> None:
        """Lay the rules into pictures of this size (px). Before the first view, and when the size changes."""

    def update(self, view: View) -> Iterable[Event]:
        """Take the next frame; what happened at it."""

    def finish(self) -> Iterable[Event]:
        """The source has ended, at the last view's time: end what goes on."""
