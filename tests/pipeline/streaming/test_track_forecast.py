"""Detections moved to a later frame by their tracks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.shown import show
from pipeline.streaming.stream import Stream
from pipeline.streaming.track_forecast import CORRECTED_S, MISSED_S, MISSED_SCORE, TrackForecast
from tracker.bytetrack import ByteTracker

STREAM = Stream("street", Fraction(10), 100, 640, 480)


def boxes(*ltwh, score=0.9, class_id=0):
    n = len(ltwh)
    return Boxes(
        np.array(ltwh, np.float64).reshape(-1, 4), np.full(n, score), np.full(n, class_id), np.full(n, -1, np.int64)
    )


class Scripted:
    """Box k gets the id k + 1, a velocity and a place of its own; boxes from `unknown` on get none."""

    def __init__(self, velocity=(20.0, 0.0, 20.0, 0.0), beside=0.0, unknown=99):
        self.velocity, self.beside, self.unknown = velocity, beside, unknown
        self.asked = []

    def update(self, detections: Detections, frame_index: int, pts_s: float | None) -> Tracks:
        self.asked.append((frame_index, pts_s))
        n = min(len(detections), self.unknown)
        self.n = n
        row = np.arange(n)
        return Tracks(
            detections.xyxy[:n] + np.float32(self.beside),
            detections.confidence[:n],
            detections.class_id[:n],
            row + 1,
            row,
        )

    def motion(self) -> TrackMotion:
        velocity = np.tile(np.array(self.velocity, np.float32), (self.n, 1))
        return TrackMotion(velocity, np.ones(self.n, np.float32), np.ones(self.n, np.float32))

    def reset(self) -> None:
        """Nothing is kept."""


def begun(tracker=None):
    forecast = TrackForecast(lambda stream: tracker or Scripted())
    forecast.begin(STREAM)
    return forecast


def test_its_own_frame_is_shown_as_it_was_detected():
    found = boxes((10, 10, 50, 80), (-5, 460, 40, 60), score=0.7)
    shown = begun(Scripted(beside=3)).boxes(Output(0, 4, found), 4)
    assert shown.ltwh.tolist() == found.ltwh.tolist()
    assert shown.score.tolist() == found.score.tolist()
    assert shown.track_id.tolist() == [1, 2]


def test_boxes_move_with_their_tracks_and_linearly():
    forecast, output = begun(), Output(0, 4, boxes((10, 10, 50, 80), (100, 10, 50, 80)))
    for ahead in (1, 2, 5):
        shown = forecast.boxes(output, 4 + ahead)
        np.testing.assert_allclose(shown.ltwh, [[10 + 2 * ahead, 10, 50, 80], [100 + 2 * ahead, 10, 50, 80]], atol=1e-4)


def test_a_box_without_a_track_stays():
    shown = begun(Scripted(unknown=1)).boxes(Output(0, 4, boxes((10, 10, 50, 80), (100, 10, 50, 80))), 9)
    np.testing.assert_allclose(shown.ltwh[:, 0], [20, 100], atol=1e-4)
    assert shown.track_id.tolist() == [1, -1]


def test_boxes_go_to_where_the_tracker_sees_them():
    """4 px beside: soon most of the way there."""
    forecast, output = begun(Scripted((0.0, 0.0, 0.0, 0.0), beside=4)), Output(0, 4, boxes((10, 10, 50, 80)))
    places = [forecast.boxes(output, frame).ltwh[0, 0] for frame in (4, 5, 6, 14)]
    assert places == pytest.approx(
        [10, 10 + 4 * (1 - np.exp(-0.1 / CORRECTED_S)), 10 + 4 * (1 - np.exp(-2)), 14], abs=1e-3
    )


def test_boxes_are_cut_to_the_picture_and_leave_it():
    forecast, output = begun(Scripted((500.0, 0.0, 500.0, 0.0))), Output(0, 4, boxes((560, 10, 50, 80), (0, 0, 10, 10)))
    assert forecast.boxes(output, 5).ltwh.tolist() == pytest.approx(np.array([[610, 10, 30, 80], [50, 0, 10, 10]]))
    assert forecast.boxes(output, 6).ltwh.tolist() == pytest.approx(np.array([[100, 0, 10, 10]]))


def test_nothing_is_moved_by_more_than_a_second():
    forecast, output = begun(), Output(0, 4, boxes((10, 10, 50, 80)))
    assert forecast.boxes(output, 60).ltwh.tolist() == forecast.boxes(output, 14).ltwh.tolist()


def test_a_missed_track_is_shown_for_a_while_at_half_its_score():
    forecast = begun()
    forecast.boxes(Output(0, 0, boxes((10, 10, 50, 80), score=0.8)), 1)
    last = int(MISSED_S * 10)
    for frame in range(1, last + 1):
        shown = forecast.boxes(Output(0, frame, Boxes.empty()), frame + 1)
        np.testing.assert_allclose(shown.ltwh, [[10 + 2 * (frame + 1), 10, 50, 80]], atol=1e-3)
        assert shown.score.tolist() == [0.8 * MISSED_SCORE]
        assert shown.track_id.tolist() == [1]
    assert len(forecast.boxes(Output(0, last + 1, Boxes.empty()), last + 2)) == 0


def test_a_missed_track_is_not_shown_over_a_box_of_its_class():
    class Swapping(Scripted):
        def update(self, detections, frame_index, pts_s):
            tracks = super().update(detections, frame_index, pts_s)
            return Tracks(
                tracks.xyxy, tracks.confidence, tracks.class_id, tracks.track_id + frame_index, tracks.detection_row
            )

    for class_id, n in ((0, 1), (1, 2)):
        forecast = begun(Swapping())
        forecast.boxes(Output(0, 0, boxes((10, 10, 50, 80))), 1)
        assert len(forecast.boxes(Output(0, 1, boxes((14, 10, 50, 80), class_id=class_id)), 2)) == n


def test_frames_that_come_late_are_shown_as_they_are():
    tracker = Scripted()
    forecast = begun(tracker)
    forecast.boxes(Output(0, 5, boxes((10, 10, 50, 80))), 6)
    late = forecast.boxes(Output(1, 3, boxes((0, 10, 50, 80))), 6)
    assert late.ltwh.tolist() == [[0, 10, 50, 80]]
    assert tracker.asked == [(5, pytest.approx(0.5))]


def test_each_stream_has_a_tracker_of_its_own():
    made = []

    def make(stream):
        made.append(stream.name)
        return ByteTracker()

    forecast, other = TrackForecast(make), Stream("yard", Fraction(30), 9, 64, 48)
    outputs = [Output(STREAM.arrival_ns(1), 0, boxes((10, 10, 50, 80)))]
    show(outputs, STREAM, forecast=forecast)
    again = show([Output(other.arrival_ns(1), 0, boxes((1, 1, 5, 8)))], other, forecast=forecast)
    assert made == ["street", "yard"]
    assert again.boxes[-1].ltwh.tolist() == [[1, 1, 5, 8]]


def test_empty_outputs():
    forecast = begun(ByteTracker())
    assert [len(forecast.boxes(Output(0, frame, Boxes.empty()), frame + 3)) for frame in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("latency", [1, 3])
def test_walkers_are_shown_nearer_to_where_they_are(latency):
    """Every frame, a tenth of a second apart, shown late: with noise of 2 px the error falls to a third."""
    rng = np.random.default_rng(0)
    left = np.array([50.0, 250.0, 450.0])
    speed = np.array([60.0, -50.0, 70.0])
    outputs, errors = [], {"as it comes": [], "forecast": []}
    for frame in range(30):
        ltwh = [(x + rng.normal(0, 2), 100 + rng.normal(0, 2), 40, 100) for x in left + speed * frame / 10 % 150]
        outputs.append(Output(STREAM.arrival_ns(frame + latency), frame, boxes(*ltwh)))
    for name, forecast in (("as it comes", None), ("forecast", TrackForecast(lambda stream: ByteTracker()))):
        shown = show(outputs, STREAM, forecast=forecast).boxes
        for frame in range(12, 20):
            true = left + speed * frame / 10 % 150
            errors[name] += [np.abs(shown[frame].ltwh[:, 0] - x).min() for x in true]
    assert np.mean(errors["forecast"]) < np.mean(errors["as it comes"]) / 1.5
