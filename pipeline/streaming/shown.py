"""What a viewer sees when each frame is true: outputs matched to frames, as they are or moved to the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import Matched, match
from pipeline.streaming.outputs import Output
from pipeline.streaming.stream import Stream


class Forecast(Protocol):
    """Moves the boxes of an output from the frame that it was made from to a later frame."""

    def begin(self, stream: Stream) -> None:
        """A stream begins: forget the last one."""
        ...

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The boxes of an output as they will be at a frame.

        Called for the frames of a stream in their order, with the output that answers for each; misses are left out.

        Args:
            output: the answer.
            frame: the frame that it answers for.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What stands for every frame of a stream.

    Attributes:
        outputs: all that came out, in the order of time.
        matched: which of them answers for each frame.
        boxes: one Boxes per frame; empty for a miss.
    """

    outputs: tuple[Output, ...]
    matched: Matched
    boxes: tuple[Boxes, ...]


def show(
    outputs: Sequence[Output], stream: Stream, eta: Fraction = Fraction(0), forecast: Forecast | None = None
) -> Shown:
    """Match outputs to frames, see `match`, and move their boxes where a forecast is given.

    Raises:
        UsageError: outputs that do not fit the stream.
    """
    matched = match(outputs, stream, eta)
    if forecast is not None:
        forecast.begin(stream)
    boxes = []
    for frame, index in enumerate(matched.output.tolist()):
        if index < 0:
            boxes.append(Boxes.empty())
        elif forecast is None:
            boxes.append(outputs[index].boxes)
        else:
            boxes.append(forecast.boxes(outputs[index], frame))
    return Shown(tuple(outputs), matched, tuple(boxes))
