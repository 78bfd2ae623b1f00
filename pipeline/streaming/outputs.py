"""What came out of a pipeline, and when: the whole contract between running and scoring."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.streaming.boxes import Boxes


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """One result of a stream.

    Attributes:
        at_ns: when it was there for others to use; ns since the stream's first frame arrived.
        input_frame: the frame that it was made from.
        boxes: what it says of that frame.
    """

    at_ns: int
    input_frame: int
    boxes: Boxes
