"""Streaming accuracy: what is shown when each frame is true, scored against that frame.

Source: Li, Wang and Ramanan, "Towards Streaming Perception" (arXiv 2005.10420).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import BoolArray
from pipeline.core.errors import UsageError
from pipeline.evaluation.coco_map import CocoMap, coco_map
from pipeline.evaluation.dataset import LabelledImage, LabelledImages
from pipeline.evaluation.mot_metrics import DISTRACTORS, PEDESTRIAN, MotScores, MotSequence, evaluate_mot
from pipeline.evaluation.mot_text import MotRows
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.shown import Shown
from pipeline.streaming.truth import Truth


@dataclass(frozen=True, slots=True)
class StreamingScores:
    """Scores of one sequence, or of several taken together.

    Attributes:
        streaming: COCO's figures of what is shown: streaming.ap is the sAP.
        offline: COCO's figures of the same boxes without latency.
        tracking: HOTA, MOTA, IDF1 and the rest of what is shown; classes apart, then taken together. None where boxes
            or labels carry no ids.
        n_frames: frames of the sequences.
        misses: frames for which nothing was there yet.
        in_time: frames whose output was made from that very frame.
        mismatch: sum of the staleness, in frames.
        mean_staleness: its mean over the frames that have an output, in frames; None where none has.
        mean_staleness_ms: the same in ms.
    """

    streaming: CocoMap
    offline: CocoMap
    tracking: MotScores | None
    n_frames: int
    misses: int
    in_time: int
    mismatch: int
    mean_staleness: float | None
    mean_staleness_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return asdict(self)


def score(
    truth: Sequence[Truth], shown: Sequence[Shown], offline: Sequence[Mapping[int, Boxes]] | None = None
) -> StreamingScores:
    """Score what was shown.

    Args:
        truth: the labels, one per sequence; all with the same classes.
        shown: what was shown, one per sequence, in the same order.
        offline: what the detector finds in each frame, by frame, one per sequence: scored beside it, over the frames
            that it holds. None takes the outputs, each on its own frame; frames that no output was made from are then
            left out of the offline figures.

    Raises:
        UsageError: sequences that do not fit each other, or a box of a class that the labels have not.
        MissingExtraError: faster-coco-eval or trackeval is not installed.
    """
    _class_names(truth)
    _check(truth, shown)
    matched = [sequence.matched for sequence in shown]
    staleness = np.concatenate([m.staleness for m in matched])
    staleness_ms = np.concatenate([m.staleness * m.stream.interval_s * 1e3 for m in matched])
    if offline is None:
        offline = [{output.input_frame: output.boxes for output in sequence.outputs} for sequence in shown]
    return StreamingScores(
        streaming=average_precision(truth, [dict(enumerate(sequence.boxes)) for sequence in shown]),
        offline=average_precision(truth, offline),
        tracking=tracking_scores(truth, [sequence.boxes for sequence in shown]),
        n_frames=sum(t.stream.n_frames for t in truth),
        misses=sum(m.misses for m in matched),
        in_time=sum(m.in_time for m in matched),
        mismatch=sum(m.mismatch for m in matched),
        mean_staleness=float(staleness.mean()) if len(staleness) else None,
        mean_staleness_ms=float(staleness_ms.mean()) if len(staleness) else None,
    )


def average_precision(truth: Sequence[Truth], found: Sequence[Mapping[int, Boxes]]) -> CocoMap:
    """COCO's figures over several sequences.

    Args:
        truth: the labels, one per sequence; all with the same classes.
        found: boxes by frame, one mapping per sequence; frames that it does not hold are left out.

    Raises:
        UsageError: sequences that do not fit each other, a frame that a sequence has not, or a box of a class that the
            labels have not.
        MissingExtraError: faster-coco-eval is not installed.
    """
    class_names = _class_names(truth)
    images: list[LabelledImage] = []
    predictions: list[dict[str, Any]] = []
    for labels, by_frame in zip(truth, found, strict=True):
        for frame, boxes in sorted(by_frame.items()):
            _check_boxes(labels, frame, boxes)
            number = len(images) + 1
            images.append(_labelled(labels, frame, number))
            rows = zip(boxes.ltwh.tolist(), boxes.class_id.tolist(), boxes.score.tolist(), strict=True)
            predictions += [
                {"image_id": number, "category_id": class_id, "bbox": ltwh, "score": confidence}
                for ltwh, class_id, confidence in rows
            ]
    names = ", ".join(labels.stream.name for labels in truth)
    dataset = LabelledImages(Path(names), class_names, tuple(range(len(class_names))), tuple(images))
    return coco_map(dataset, predictions)


def tracking_scores(truth: Sequence[Truth], shown: Sequence[Sequence[Boxes]]) -> MotScores | None:
    """HOTA, MOTA, IDF1 and the rest; every class of every sequence is scored apart, then all are taken together.

    A box that matches a crowd at IoU 0.5 is taken out first, as the MOT challenge does with what does not count.

    Args:
        truth: the labels, one per sequence; all with the same classes.
        shown: boxes of every frame, one list per sequence.

    Returns:
        None where a box has no id, or a label that counts has none.

    Raises:
        MissingExtraError: trackeval is not installed.
        DatasetError: an id twice in one frame.
    """
    sequences: dict[str, MotSequence] = {}
    for labels, boxes in zip(truth, shown, strict=True):
        counted = [b.track_id[~crowd] for b, crowd in zip(labels.boxes, labels.crowd, strict=True)]
        if any((ids < 0).any() for ids in [*counted, *(b.track_id for b in boxes)]):
            return None
        nothing_ignored = [np.zeros(len(b), np.bool_) for b in boxes]
        for class_id, name in enumerate(labels.class_names):
            true_rows = _rows(labels.boxes, labels.crowd, class_id)
            rows = _rows(boxes, nothing_ignored, class_id)
            if len(true_rows) or len(rows):
                sequences[f"{labels.stream.name}: {name}"] = MotSequence(true_rows, rows, labels.stream.n_frames)
    return evaluate_mot(sequences, "MOT17").combined if sequences else None


def _rows(boxes: Sequence[Boxes], ignored: Sequence[BoolArray], class_id: int) -> MotRows:
    """Boxes of one class in the classes of the MOT challenge: a pedestrian, or one of those that do not count."""
    of_class = np.concatenate([b.class_id for b in boxes]) == class_id
    does_not_count = np.concatenate(ignored)[of_class]
    n = len(does_not_count)
    track_id = np.concatenate([b.track_id for b in boxes])[of_class]
    return MotRows(
        frame=np.repeat(np.arange(1, len(boxes) + 1), [len(b) for b in boxes])[of_class],
        # What does not count needs no id; several without one may stand in a frame.
        track_id=np.where(does_not_count, -1 - np.arange(n), track_id),
        ltwh=np.concatenate([b.ltwh for b in boxes])[of_class],
        confidence=np.ones(n),
        class_id=np.where(does_not_count, DISTRACTORS["MOT17"][0], PEDESTRIAN),
    )


def _labelled(truth: Truth, frame: int, number: int) -> LabelledImage:
    boxes, stream = truth.boxes[frame], truth.stream
    return LabelledImage(
        image_id=number,
        path=Path(stream.name) / str(frame),
        shape_hw=(stream.height_px, stream.width_px),
        ltwh=boxes.ltwh,
        class_id=boxes.class_id,
        area=truth.area[frame],
        crowd=truth.crowd[frame],
    )


def _check(truth: Sequence[Truth], shown: Sequence[Shown]) -> None:
    names, shown_names = [t.stream.name for t in truth], [s.matched.stream.name for s in shown]
    if names != shown_names or len(set(names)) != len(names):
        raise UsageError(
            f"score: wanted one result per labelled sequence, in their order, "
            f"found labels of {', '.join(names) or 'none'} and results of {', '.join(shown_names) or 'none'}"
        )
    for labels, sequence in zip(truth, shown, strict=True):
        found = sequence.matched.stream
        if (found.n_frames, found.fps) != (labels.stream.n_frames, labels.stream.fps):
            raise UsageError(
                f"{labels.stream.name}: wanted {labels.stream.n_frames} frames at {float(labels.stream.fps):g} per s, "
                f"as labelled, found results for {found.n_frames} at {float(found.fps):g} per s"
            )


def _class_names(truth: Sequence[Truth]) -> tuple[str, ...]:
    if not truth:
        raise UsageError("score: wanted at least one labelled sequence, found none")
    first = truth[0]
    for labels in truth:
        if labels.class_names != first.class_names:
            raise UsageError(
                f"{labels.stream.name}: wanted the classes of {first.stream.name} ({', '.join(first.class_names)}), "
                f"found {', '.join(labels.class_names)}"
            )
    return first.class_names


def _check_boxes(truth: Truth, frame: int, boxes: Boxes) -> None:
    name = truth.stream.name
    if not 0 <= frame < truth.stream.n_frames:
        raise UsageError(f"{name}: wanted frames 0..{truth.stream.n_frames - 1}, found {frame}")
    strange = (boxes.class_id < 0) | (boxes.class_id >= len(truth.class_names))
    if strange.any():
        raise UsageError(
            f"{name}, frame {frame}: wanted classes that the labels have (0..{len(truth.class_names) - 1}), found "
            f"{boxes.class_id[strange][0]}; translate the detector's classes first"
        )
