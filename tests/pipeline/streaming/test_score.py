from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DatasetError, UsageError
from pipeline.evaluation.mot_metrics import MotSequence, evaluate_mot
from pipeline.evaluation.mot_text import read_mot
from pipeline.stream_eval.mot_truth import read_mot_truth
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.score import average_precision, score, tracking_scores
from pipeline.streaming.shown import Shown, show
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

N_FRAMES = 12
SPEED_PX = 30
"""A box is 40 px wide: two of them a frame apart overlap by 1/7."""


def boxes(frame: int, class_id: int = 0, track_id: int = 1, score: float = 1.0) -> Boxes:
    ltwh = np.array([[100.0 + SPEED_PX * frame, 50 + 200 * class_id, 40, 40]])
    return Boxes(ltwh, np.array([score]), np.array([class_id]), np.array([track_id]))


def both(*parts: Boxes) -> Boxes:
    return Boxes(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("ltwh", "score", "class_id", "track_id"))
    )


def truth(
    name: str = "street",
    of_frame: Callable[[int], Boxes] = boxes,
    class_names: tuple[str, ...] = ("person", "car"),
) -> Truth:
    found = tuple(of_frame(frame) for frame in range(N_FRAMES))
    return Truth(
        Stream(name, Fraction(10), N_FRAMES, 1920, 1080),
        found,
        tuple(np.zeros(len(b), np.bool_) for b in found),
        tuple(b.ltwh[:, 2] * b.ltwh[:, 3] for b in found),
        class_names,
    )


def shown(
    labels: Truth, late_ns: int = 0, every: int = 1, of_frame: Callable[[int], Boxes] = boxes, **how: Any
) -> Shown:
    stream = labels.stream
    found = [Output(stream.arrival_ns(f) + late_ns, f, of_frame(f)) for f in range(0, N_FRAMES, every)]
    return show(found, stream, **how)


def test_without_latency_nothing_is_lost() -> None:
    labels = truth()
    scores = score([labels], [shown(labels)])
    assert scores.streaming.ap == pytest.approx(1)
    assert scores.streaming == scores.offline
    assert (scores.misses, scores.in_time, scores.mismatch, scores.mean_staleness) == (0, N_FRAMES, 0, 0)
    assert scores.tracking is not None
    assert (scores.tracking.hota, scores.tracking.mota, scores.tracking.idf1) == pytest.approx((1, 1, 1))


def test_a_late_box_is_a_wrong_box() -> None:
    labels = truth()
    scores = score([labels], [shown(labels, late_ns=1)])
    assert scores.streaming.ap == 0
    assert scores.offline.ap == pytest.approx(1)
    assert (scores.n_frames, scores.misses, scores.in_time, scores.mismatch) == (N_FRAMES, 1, 0, N_FRAMES - 1)
    assert (scores.mean_staleness, scores.mean_staleness_ms) == pytest.approx((1, 100))
    assert scores.tracking is not None
    assert scores.tracking.mota < 0
    assert scores.tracking.idf1 == 0


def test_frames_without_an_output_of_their_own_are_left_out_of_the_offline_figures() -> None:
    labels = truth()
    every_other = shown(labels, every=2)
    assert score([labels], [every_other]).offline.n_images == N_FRAMES // 2
    found = {frame: boxes(frame) for frame in range(N_FRAMES - 1)}
    scores = score([labels], [every_other], [found])
    assert scores.offline.n_images == N_FRAMES - 1
    assert scores.in_time == N_FRAMES // 2
    assert scores.streaming.ar_100 == pytest.approx(0.5)


def test_where_nothing_came_out() -> None:
    labels = truth()
    scores = score([labels], [show([], labels.stream)])
    assert (scores.streaming.ap, scores.offline.ap, scores.misses) == (0, None, N_FRAMES)
    assert scores.mean_staleness is None
    assert scores.tracking is not None
    assert scores.tracking.hota == 0


def test_where_nothing_is_there() -> None:
    labels = truth(of_frame=lambda frame: Boxes.empty())
    scores = score([labels], [show([], labels.stream)])
    assert scores.streaming.ap is None
    assert scores.tracking is None


def test_crowds_count_neither_way() -> None:
    labels = truth(of_frame=lambda frame: both(boxes(frame), boxes(frame, 1, 2)))
    flags = tuple(np.array([False, True]) for _ in range(N_FRAMES))
    ignoring = Truth(labels.stream, labels.boxes, flags, labels.area, labels.class_names)
    scores = score([ignoring], [shown(labels)])
    assert scores.streaming.ap == pytest.approx(1)
    assert scores.streaming.per_class["car"].ap is None
    assert scores.tracking is not None
    assert scores.tracking.n_true_boxes == N_FRAMES
    # Nor is finding it an error.
    finding = score([ignoring], [shown(labels, of_frame=lambda frame: both(boxes(frame), boxes(frame, 1, 2)))])
    assert (finding.streaming.ap, finding.tracking) == (scores.streaming.ap, scores.tracking)


def test_crowds_need_no_ids() -> None:
    labels = truth(of_frame=lambda frame: both(boxes(frame), boxes(frame, 0, -1), boxes(frame + 5, 0, -1)))
    flags = tuple(np.array([False, True, True]) for _ in range(N_FRAMES))
    ignoring = Truth(labels.stream, labels.boxes, flags, labels.area, labels.class_names)
    scores = score([ignoring], [shown(labels)])
    assert scores.tracking is not None
    assert scores.tracking.n_true_tracks == 1


def test_classes_are_told_apart() -> None:
    labels = truth(of_frame=lambda frame: both(boxes(frame, 0, 1), boxes(frame, 1, 2)))
    half = shown(labels, of_frame=lambda frame: both(boxes(frame, 0, 1), boxes(frame + 1, 1, 2)))
    scores = score([labels], [half])
    per_class = scores.streaming.per_class
    assert (per_class["person"].ap, per_class["car"].ap) == pytest.approx((1, 0))
    assert scores.streaming.ap == pytest.approx(0.5)
    assert scores.tracking is not None
    assert scores.tracking.idf1 == pytest.approx(0.5)
    # The right box under the wrong class is no find.
    swapped = shown(labels, of_frame=lambda frame: boxes(frame, 0, 1).select(np.zeros(0, np.int64)))
    assert score([labels], [swapped]).streaming.ap == 0


def test_sequences_are_taken_together() -> None:
    first, second = truth("first"), truth("second")
    scores = score([first, second], [shown(first), shown(second, late_ns=1)])
    assert (scores.n_frames, scores.misses, scores.mismatch) == (2 * N_FRAMES, 1, N_FRAMES - 1)
    assert scores.streaming.n_images == 2 * N_FRAMES
    assert scores.mean_staleness == pytest.approx((N_FRAMES - 1) / (2 * N_FRAMES - 1))
    assert scores.tracking is not None
    assert scores.tracking.n_true_tracks == 2
    assert scores.tracking.idf1 == pytest.approx(2 * 12 / (24 + 23))


def test_without_ids_there_is_no_tracking_to_score() -> None:
    labels = truth()
    assert score([labels], [shown(labels, of_frame=lambda frame: boxes(frame, 0, -1))]).tracking is None
    nameless = truth(of_frame=lambda frame: boxes(frame, 0, -1))
    assert score([nameless], [shown(nameless)]).tracking is None


def test_an_id_twice_in_one_frame_is_refused() -> None:
    labels = truth()
    with pytest.raises(DatasetError, match="street: person, tracks: wanted every id once per frame"):
        tracking_scores([labels], [[both(boxes(frame), boxes(frame + 3)) for frame in range(N_FRAMES)]])


def test_plain_json() -> None:
    labels = truth()
    document = json.loads(json.dumps(score([labels], [shown(labels)]).to_dict()))
    assert document["streaming"]["ap"] == pytest.approx(1)
    assert document["tracking"]["hota"] == pytest.approx(1)


def test_sequences_have_to_fit() -> None:
    first, second = truth("first"), truth("second")
    with pytest.raises(UsageError, match="found labels of first, second and results of first"):
        score([first, second], [shown(first)])
    with pytest.raises(UsageError, match="found labels of first, second and results of second, first"):
        score([first, second], [shown(second), shown(first)])
    with pytest.raises(UsageError, match="wanted at least one labelled sequence, found none"):
        score([], [])
    with pytest.raises(UsageError, match="found labels of first, first"):
        score([first, first], [shown(first), shown(first)])
    renamed = truth("second", class_names=("person", "van"))
    with pytest.raises(UsageError, match="second: wanted the classes of first"):
        score([first, renamed], [shown(first), shown(renamed)])


@pytest.mark.parametrize(("n_frames", "fps"), [(N_FRAMES, Fraction(25)), (N_FRAMES - 1, Fraction(10))])
def test_frame_rates_and_lengths_have_to_agree(n_frames: int, fps: Fraction) -> None:
    other = Stream("street", fps, n_frames, 1920, 1080)
    with pytest.raises(UsageError, match=r"street: wanted 12 frames at 10 per s, as labelled, found results for"):
        score([truth()], [show([], other)])


def test_frames_and_classes_that_the_labels_have_not() -> None:
    labels = truth()
    with pytest.raises(UsageError, match=r"street: wanted frames 0\.\.11, found 12"):
        average_precision([labels], [{12: boxes(12)}])
    with pytest.raises(UsageError, match=r"street, frame 3: wanted classes that the labels have \(0\.\.1\), found 7"):
        average_precision([labels], [{3: boxes(3, class_id=7)}])


def test_without_latency_tracking_scores_are_those_of_the_mot_challenge(data_dir: Path) -> None:
    folder = data_dir / "mot17" / "MOT17-09"
    labels = read_mot_truth(folder).truth
    rows = read_mot(folder / "MPNTrack.txt")
    found = [
        Boxes(
            rows.ltwh[of_frame], rows.confidence[of_frame], np.zeros(of_frame.sum(), np.int64), rows.track_id[of_frame]
        )
        for of_frame in (rows.frame == frame for frame in range(1, labels.stream.n_frames + 1))
    ]
    sequence = MotSequence(read_mot(folder / "gt" / "gt.txt"), rows, labels.stream.n_frames)
    assert tracking_scores([labels], [found]) == evaluate_mot({"MOT17-09": sequence}, "MOT17").combined
