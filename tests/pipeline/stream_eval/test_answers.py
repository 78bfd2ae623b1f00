"""Answers made from detections: what is shown, when, and what moves it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from pipeline.config.build import tracker_factory
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.stream_eval.answers import Answers, Detected, Device
from pipeline.stream_eval.classes import ClassMap
from pipeline.stream_eval.evaluate import evaluate
from pipeline.stream_eval.forecasts import make_forecast
from pipeline.stream_eval.job import simulate_all
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.latency_curve import LATENCIES_MS, shifted_curve, simulated_curve
from pipeline.stream_eval.object_speed import error_by_speed
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree

Square = Callable[..., Labelled]
TRACK = {"kind": "bytetrack"}


def detected(labelled: Labelled, *, tracked: bool = False) -> Detected:
    """A detector that sees what is true."""
    found = []
    for boxes in labelled.truth.boxes:
        xyxy = boxes.ltwh.astype(np.float32)
        xyxy[:, 2:] += xyxy[:, :2]
        found.append(Detections(xyxy, np.full(len(boxes), 0.9, np.float32), boxes.class_id))
    return Detected(labelled, found, tracker_factory(TRACK) if tracked else None)


def simulated(one: Detected, runtime_ms: float, *, lag_ms: float = 0, unlimited: bool = False) -> Answers:
    device = Device(Runtimes.constant(runtime_ms), round(lag_ms * 1e6), unlimited)
    (answers,) = simulate_all([one], IdleFree(), device, seed=0)
    return answers


def test_a_device_drops_what_comes_meanwhile(square: Square) -> None:
    answers = simulated(detected(square(8)), 120)
    # 20 frames/s: frames arrive every 50 ms; each run takes 120 ms and then begins with the newest.
    assert [(o.at_ns // 1_000_000, o.input_frame) for o in answers.outputs] == [(120, 0), (240, 2), (360, 4)]
    assert answers.latency_ns.tolist() == [120_000_000, 140_000_000, 160_000_000]
    assert set(answers.without_latency) == set(range(8))


def test_lag_delays_outputs_and_keeps_no_device_busy(square: Square) -> None:
    answers = simulated(detected(square(8)), 120, lag_ms=30)
    assert [(o.at_ns // 1_000_000, o.input_frame) for o in answers.outputs] == [(150, 0), (270, 2), (390, 4)]


def test_unlimited_devices_take_every_frame(square: Square) -> None:
    answers = simulated(detected(square(8)), 120, unlimited=True)
    assert [o.input_frame for o in answers.outputs] == list(range(8))
    assert set(answers.latency_ns.tolist()) == {120_000_000}


def test_scores_of_a_still_object_lose_the_misses_only(square: Square) -> None:
    scores = evaluate([simulated(detected(square(20, step_px=0)), 60)]).combined
    assert scores.offline.ap == pytest.approx(1)
    assert (scores.misses, scores.in_time) == (2, 0)
    # 18 of 20 objects are found, none of them wrong: precision is 1 at the recalls up to 0.9, of 101.
    assert scores.streaming.ap == pytest.approx(91 / 101)


def test_what_moves_too_far_is_lost_and_a_forecast_wins_it_back(square: Square) -> None:
    # Two frames late, 8 px a frame: a box of 32 px is off by a half of itself, IoU 1/3.
    answers = simulated(detected(square(40, step_px=8), tracked=True), 60, unlimited=True)
    plain = evaluate([answers]).combined
    assert plain.offline.ap is not None
    assert plain.offline.ap > 0.95
    assert plain.streaming.ap50 == pytest.approx(0, abs=0.01)
    for name in ("published", "ours"):
        moved = evaluate([answers], make_forecast=make_forecast(name, TRACK)).combined  # type: ignore[arg-type]
        assert moved.streaming.ap50 is not None
        assert moved.streaming.ap50 > 0.8, name
        assert moved.mismatch == plain.mismatch


def test_our_forecast_moves_detections_too(square: Square) -> None:
    answers = simulated(detected(square(40, step_px=8)), 60)
    forecast = make_forecast("ours", {"kind": "none"})
    scores = evaluate([answers], make_forecast=forecast)
    assert scores.combined.streaming.ap50 is not None
    assert scores.combined.streaming.ap50 > 0.8
    assert all((boxes.track_id > 0).all() for boxes in scores.shown[0].boxes[8:])


def test_asking_later_gives_time(square: Square) -> None:
    answers = simulated(detected(square(20)), 40)
    assert evaluate([answers]).combined.in_time == 0
    assert evaluate([answers], Fraction(-1)).combined.in_time == 20


def test_several_sequences_are_scored_together_and_apart(square: Square) -> None:
    both = [detected(square(20, name="a")), detected(square(20, step_px=0, name="b"))]
    answers = simulate_all(both, IdleFree(), Device(Runtimes.constant(60)), seed=1)
    evaluation = evaluate(answers)
    assert evaluation.combined.n_frames == 40
    assert set(evaluation.per_sequence) == {"a", "b"}
    apart = [one.streaming.ap for one in evaluation.per_sequence.values()]
    assert apart[0] < evaluation.combined.streaming.ap < apart[1]  # type: ignore[operator]


def test_accuracy_falls_with_latency(square: Square) -> None:
    one = detected(square(40))
    points = simulated_curve([one], IdleFree(), Fraction(0), None)
    assert [point.latency_ms for point in points] == list(LATENCIES_MS)
    values = [point.ap for point in points]
    assert values == sorted(values, reverse=True)  # type: ignore[type-var]
    assert points[0].ap == points[3].ap  # All below one interval: every frame is shown one frame late.
    shifted = shifted_curve([simulated(one, 40)], Fraction(0), make_forecast("published", TRACK))
    assert shifted[4].plain_ap == points[4].ap  # 50 ms: no frame is dropped, so nothing differs.
    assert shifted[4].ap > shifted[4].plain_ap  # type: ignore[operator]


def test_error_grows_with_speed_as_geometry_says(square: Square) -> None:
    # Two frames late: boxes of 32 px are off by d = 2 * step, IoU (32 - d) / (32 + d); step * 20 / 32 sizes a second.
    labelled = [square(60, step_px=step, name=str(step)) for step in (1, 4)]
    answers = [simulated(detected(one), 60, unlimited=True) for one in labelled]
    evaluation = evaluate(answers)
    bins = error_by_speed(evaluation.answers, evaluation.shown)
    assert sum(one.n for one in bins) == 120
    slow, fast = bins[0], bins[-1]
    assert (slow.from_speed, fast.to_speed) == (pytest.approx(20 / 32), pytest.approx(80 / 32))
    assert fast.iou_lost_p25 == pytest.approx(1 - 24 / 40)
    assert slow.iou_lost_p25 == pytest.approx(1 - 30 / 34)
    # Only the first two frames, for which nothing was there yet, are off by more than half.
    assert sum(one.share_below_50 * one.n for one in bins) == pytest.approx(4)


def test_without_tracks_there_is_no_speed(square: Square) -> None:
    evaluation = evaluate([simulated(detected(square(60, with_ids=False)), 60)])
    assert error_by_speed(evaluation.answers, evaluation.shown) == []
    assert evaluation.combined.tracking is None


def test_classes_are_matched_by_name() -> None:
    classes = ClassMap(("Traffic_Light", "dog", "pedestrian"), ("person", "traffic light", "bus"))
    assert classes.unknown == ("bus",)
    boxes = Boxes(np.zeros((4, 4)), np.arange(4.0), np.array([2, 1, 0, 1]), np.array([1, 2, 3, 4]))
    mapped = classes.boxes(boxes)
    assert mapped.class_id.tolist() == [0, 1]
    assert mapped.track_id.tolist() == [1, 3]
    assert mapped.score.tolist() == [0, 2]
    assert dict(classes.left_out) == {"dog": 2}
    with pytest.raises(UsageError, match=r"a class that the truth has \(person\), found dog, cat"):
        ClassMap(("dog", "cat"), ("person",))
