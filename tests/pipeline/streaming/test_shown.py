from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.shown import show
from pipeline.streaming.stream import Stream

STREAM = Stream("street", Fraction(10), 4, 640, 480)


def box(left: float) -> Boxes:
    return Boxes(np.array([[left, 0.0, 10, 10]]), np.ones(1), np.zeros(1, np.int64), np.ones(1, np.int64))


class OnePixelPerFrame:
    def begin(self, stream: Stream) -> None:
        self.asked: list[tuple[int, int]] = []

    def boxes(self, output: Output, frame: int) -> Boxes:
        self.asked.append((output.input_frame, frame))
        return box(output.boxes.ltwh[0, 0] + frame - output.input_frame)


def test_as_it_came_out() -> None:
    found = [Output(150_000_000, 0, box(5)), Output(300_000_000, 1, box(6))]
    shown = show(found, STREAM)
    assert [len(boxes) for boxes in shown.boxes] == [0, 0, 1, 1]
    assert shown.boxes[2] is found[0].boxes
    assert shown.boxes[3] is found[1].boxes
    assert shown.outputs == tuple(found)


def test_moved_to_the_frame_that_is_true() -> None:
    found = [Output(150_000_000, 0, box(5)), Output(300_000_000, 1, box(6))]
    forecast = OnePixelPerFrame()
    shown = show(found, STREAM, forecast=forecast)
    assert forecast.asked == [(0, 2), (1, 3)]
    assert [boxes.ltwh[:, 0].tolist() for boxes in shown.boxes] == [[], [], [7], [8]]
    # Asked for a frame later, an answer is there for frame 1 too; it is moved to the frame all the same.
    shown = show(found, STREAM, Fraction(-1), OnePixelPerFrame())
    assert [boxes.ltwh[:, 0].tolist() for boxes in shown.boxes] == [[], [6], [7], [8]]


def test_a_forecast_begins_anew_with_each_stream() -> None:
    forecast = OnePixelPerFrame()
    for _ in range(2):
        show([Output(300_000_000, 1, box(6))], STREAM, forecast=forecast)
        assert forecast.asked == [(1, 3)]
