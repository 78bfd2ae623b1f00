"""What configurations are judged by: labels, or where there are none, what the most trusted of them says offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from pipeline.core.arrays import BoolArray, IntArray
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, UsageError
from pipeline.stream_eval.classes import ClassMap, plain_name
from pipeline.stream_eval.read_truth import read_truth
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.score import average_precision
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth
from pipeline.tune.clip import Clip
from pipeline.tune.found import Found
from pipeline.tune.space import Network
from pipeline.tune.tracked import track_every_frame
from tracker.interpolation import fill_gaps

LONGEST_GAP_S = 1.0
"""A track that is missing for no longer than this is filled in: the tracker's own patience."""
SHORTEST_TRACK_S = 0.3
"""What was seen for less than this is taken for a mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """The truth, and where it comes from.

    Attributes:
        truth: of the classes that count.
        words: what it is, for people.
    """

    truth: Truth
    words: str


def common_classes(lists: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Names that stand in every list, as the first one writes them.

    Args:
        lists: class names by what they are of; at least one.

    Raises:
        UsageError: no class in common.
    """
    known = [{plain_name(name) for name in names} for names in lists.values()]
    first = next(iter(lists.values()))
    common = tuple(name for name in first if all(plain_name(name) in names for names in known))
    if not common:
        told = "; ".join(
            f"{what}: {', '.join(names[:6])}{' …' if len(names) > 6 else ''}" for what, names in lists.items()
        )
        raise UsageError(f"tune: wanted models and labels with a class in common, found none ({told})")
    return common


def with_classes(found: Found, common: Sequence[str]) -> tuple[Detections, ...]:
    """The detections of these classes, numbered by their places in `common`."""
    classes = ClassMap(found.class_names, common)
    return tuple(classes.detections(one) for one in found.frames)


def read_labels(path: Path, clip: Clip) -> Truth:
    """The labels of the clip's stretch.

    Args:
        path: a COCO file of video, or a MOT folder; of several sequences the one that is called as the clip is.
        clip: the recording.

    Raises:
        DatasetError: no labels there, or labels of another recording.
    """
    sequences = read_truth(path, Fraction(clip.fps))
    called = [one for one in sequences if one.name in (clip.name, Path(clip.name).stem)]
    if len(sequences) > 1 and len(called) != 1:
        there = ", ".join(one.name for one in sequences[:6])
        raise DatasetError(f"{path}: wanted labels of {clip.name}, found several sequences ({there}); name one of them")
    truth = (called or sequences)[0].truth
    stream = truth.stream
    if stream.n_frames < clip.n_frames or (clip.is_whole and stream.n_frames != clip.n_frames):
        raise DatasetError(
            f"{path}: wanted labels of {clip.n_frames} frames as {clip.name} has, found {stream.n_frames}"
        )
    if (stream.width_px, stream.height_px) != (clip.width_px, clip.height_px):
        raise DatasetError(
            f"{path}: wanted labels of {clip.width_px}x{clip.height_px} px as {clip.name} has, "
            f"found {stream.width_px}x{stream.height_px}"
        )
    n = clip.n_frames
    return Truth(clip.stream, truth.boxes[:n], truth.crowd[:n], truth.area[:n], truth.class_names)


def labelled_judge(truth: Truth, common: Sequence[str], path: Path) -> Judge:
    """The labels of the classes that count."""
    classes = ClassMap(truth.class_names, common)
    kept = [classes.known(boxes.class_id) for boxes in truth.boxes]
    boxes = tuple(map(classes.boxes, truth.boxes))
    crowd = tuple(one[rows] for one, rows in zip(truth.crowd, kept, strict=True))
    area = tuple(one[rows] for one, rows in zip(truth.area, kept, strict=True))
    return Judge(Truth(truth.stream, boxes, crowd, area, tuple(common)), f"labels of {path}")


def pseudo_judge(
    frames: Mapping[Network, Sequence[Detections]], stream: Stream, common: Sequence[str], trust: str | None = None
) -> Judge:
    """What the most trusted network finds with all the time in the world: tracked, gaps filled, short tracks left out.

    Each network says so of the clip, and is judged by what all the others say; the one that they confirm most is
    trusted: mean AP, classes weighing as much as they have boxes. Of a network in several precisions one takes part.
    With one network there is no choice.

    Args:
        frames: detections by network, of the classes that count; of one in several precisions the first takes part that
            is no int8, so put the quickest first.
        stream: the clip.
        common: names of the classes.
        trust: weights that are trusted whatever the others say; the networks are those of these weights then.

    Raises:
        UsageError: nothing was found in the clip, or `trust` names none of the networks.
    """
    networks = _one_of_each(frames)
    able = [network for network in networks if trust in (None, network.weights)]
    if not able:
        known = ", ".join(dict.fromkeys(network.weights for network in networks))
        raise UsageError(f"--trust: wanted one of the weights that were measured ({known}), found {trust!r}")
    every = {network: _pseudo(frames[network], stream, common) for network in networks}
    every = {network: truth for network, truth in every.items() if any(map(len, truth.boxes))}
    able = [network for network in able if network in every]
    if not able:
        raise UsageError(
            f"{stream.name}: wanted objects to tune on ({', '.join(common)}), found none; "
            "take another clip, or other weights"
        )
    trusted = able[0] if len(able) == 1 else max(able, key=lambda network: _confirmed(network, frames, every))
    size = f" at {trusted.img_size} px" if trusted.img_size else ""
    words = (
        f"no labels: what {Path(trusted.weights).name}{size} finds and tracks offline, gaps filled; "
        "figures favour that model"
    )
    return Judge(every[trusted], words)


def _one_of_each(frames: Mapping[Network, object]) -> list[Network]:
    """Floats find the same but for chance: were the most exact one the measure, a quicker one would lose by chance."""
    first: dict[tuple[str, int | None], Network] = {}
    for network in sorted(frames, key=lambda one: one.precision == "int8"):
        first.setdefault((network.weights, network.img_size), network)
    return list(first.values())


def _confirmed(
    network: Network, frames: Mapping[Network, Sequence[Detections]], every: Mapping[Network, Truth]
) -> float:
    boxes = dict(enumerate(track_every_frame(frames[network], every[network].stream)))
    return float(np.mean([_ap_by_boxes(truth, boxes) for other, truth in every.items() if other != network]))


def _ap_by_boxes(truth: Truth, boxes: Mapping[int, Boxes]) -> float:
    """AP in which every true box weighs the same, so that a class that was hardly seen decides nothing."""
    per_class = average_precision([truth], [boxes]).per_class
    n = np.bincount(np.concatenate([one.class_id for one in truth.boxes]), minlength=len(truth.class_names))
    weighed = [count * (per_class[name].ap or 0.0) for name, count in zip(truth.class_names, n.tolist(), strict=True)]
    return float(sum(weighed) / n.sum())


def _pseudo(frames: Sequence[Detections], stream: Stream, common: Sequence[str]) -> Truth:
    boxes = track_every_frame(frames, stream)
    frame = np.repeat(np.arange(len(boxes)), [len(one) for one in boxes])
    track_id = np.concatenate([one.track_id for one in boxes])
    class_of = dict(zip(track_id.tolist(), np.concatenate([one.class_id for one in boxes]).tolist(), strict=True))
    rows = np.column_stack(
        [frame, track_id, np.concatenate([one.ltwh for one in boxes]), np.concatenate([one.score for one in boxes])]
    )
    rows = rows[_long_enough(track_id, max(round(SHORTEST_TRACK_S * float(stream.fps)), 2))]
    filled = fill_gaps(rows, max_missing=max(round(LONGEST_GAP_S * float(stream.fps)), 1), min_rows=1)
    ends = np.searchsorted(filled[:, 0], np.arange(stream.n_frames + 1))
    true_boxes = tuple(_true_boxes(filled[begin:end], class_of) for begin, end in pairwise(ends.tolist()))
    return Truth(
        stream,
        true_boxes,
        tuple(np.zeros(len(one), np.bool_) for one in true_boxes),
        tuple(one.ltwh[:, 2] * one.ltwh[:, 3] for one in true_boxes),
        tuple(common),
    )


def _long_enough(track_id: IntArray, least: int) -> BoolArray:
    _, inverse, count = np.unique(track_id, return_inverse=True, return_counts=True)
    long_enough: BoolArray = count[inverse] >= least
    return long_enough


def _true_boxes(rows: np.ndarray, class_of: Mapping[int, int]) -> Boxes:
    track_id = rows[:, 1].astype(np.int64)
    class_id = np.array([class_of[one] for one in track_id.tolist()], np.int64)
    return Boxes(np.ascontiguousarray(rows[:, 2:6]), np.ones(len(rows)), class_id, track_id)
