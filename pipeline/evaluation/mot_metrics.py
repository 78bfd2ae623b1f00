"""HOTA, CLEAR MOT and identity scores of tracks, computed by TrackEval's metric classes on arrays.

Source: HOTA (arXiv 2009.07736); CLEAR MOT (Bernardin and Stiefelhagen 2008); IDF1 (arXiv 1609.01775). The rules for
what counts are the MOT challenge's: MOT16 (arXiv 1603.00831), section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.core.boxes import iou_matrix, ltwh_to_xyxy
from pipeline.core.errors import DatasetError, MissingExtraError, UsageError
from pipeline.evaluation.mot_text import MotRows

Benchmark = Literal["MOT15", "MOT16", "MOT17", "MOT20"]

PEDESTRIAN = 1
DISTRACTORS = {"MOT16": (2, 7, 8, 12), "MOT17": (2, 7, 8, 12), "MOT20": (2, 6, 7, 8, 12)}
"""Classes whose boxes neither count as found nor as false: person on vehicle, static person, distractor, reflection,
and for MOT20 non-motorised vehicle. MOT15 has no classes."""


@dataclass(frozen=True, slots=True, eq=False)
class MotSequence:
    """Truth and answer for one sequence.

    Attributes:
        truth: ground truth.
        tracks: the tracker's boxes.
        n_frames: number of frames; frames of both lie in 1..n_frames.
    """

    truth: MotRows
    tracks: MotRows
    n_frames: int


@dataclass(frozen=True, slots=True)
class MotScores:
    """Scores of one sequence, or of several taken together. Ratios are fractions of 1.

    Attributes:
        hota, det_a, ass_a, det_re, det_pr, ass_re, ass_pr, loc_a: means over the localisation thresholds 0.05..0.95.
        mota, motp: at IoU 0.5; mota can be below 0.
        idf1, idp, idr: at IoU 0.5.
        id_switches, fragmentations, false_positives, false_negatives: counts.
        mostly_tracked, mostly_lost: numbers of true tracks covered to more than 80 % and less than 20 %.
        n_true_boxes, n_boxes, n_true_tracks, n_tracks: sizes.
    """

    hota: float
    det_a: float
    ass_a: float
    det_re: float
    det_pr: float
    ass_re: float
    ass_pr: float
    loc_a: float
    mota: float
    motp: float
    idf1: float
    idp: float
    idr: float
    id_switches: int
    fragmentations: int
    false_positives: int
    false_negatives: int
    mostly_tracked: int
    mostly_lost: int
    n_true_boxes: int
    n_boxes: int
    n_true_tracks: int
    n_tracks: int


@dataclass(frozen=True, slots=True)
class MotReport:
    """Scores per sequence, and of all boxes of all sequences together (not the mean of the sequences)."""

    per_sequence: dict[str, MotScores]
    combined: MotScores


def evaluate_mot(
    sequences: Mapping[str, MotSequence], benchmark: Benchmark = "MOT17", *, remove_distractors: bool = True
) -> MotReport:
    """Score tracks against ground truth as the MOT challenge does.

    Truth with confidence 0 never counts. Except for MOT15, truth of other classes than pedestrian does not count
    either, and tracks that match a distractor are taken out first.

    Args:
        sequences: by name, at least one.
        benchmark: whose rules.
        remove_distractors: False: classes are ignored, every true box with confidence other than 0 counts.

    Raises:
        MissingExtraError: trackeval is not installed.
        UsageError: no sequence.
        DatasetError: a frame beyond the sequence, or an id twice in one frame; names sequence and frame.
    """
    if not sequences:
        raise UsageError("evaluate_mot: wanted at least one sequence, found none")
    metrics = _metrics()
    distractors = DISTRACTORS.get(benchmark) if remove_distractors else None
    results: dict[str, dict[str, Any]] = {name: {} for name in metrics}
    for sequence_name, sequence in sequences.items():
        data = _trackeval_data(sequence_name, sequence, distractors)
        for name, metric in metrics.items():
            results[name][sequence_name] = metric.eval_sequence(data)
    return MotReport(
        {key: _scores({name: results[name][key] for name in metrics}) for key in sequences},
        _scores({name: metric.combine_sequences(results[name]) for name, metric in metrics.items()}),
    )


def _metrics() -> dict[str, Any]:
    try:
        from trackeval import metrics
    except ImportError as error:
        raise MissingExtraError("trackeval", "eval", "scoring tracks") from error
    quiet = {"PRINT_CONFIG": False}
    return {
        "hota": metrics.HOTA(),
        "clear": metrics.CLEAR(quiet),
        "identity": metrics.Identity(quiet),
        "count": metrics.Count(),
    }


def _trackeval_data(name: str, sequence: MotSequence, distractors: tuple[int, ...] | None) -> dict[str, Any]:
    """The dictionary that TrackEval's metrics read: per frame ids from 0 without holes, and IoU of every pair."""
    truth, tracks, n_frames = sequence.truth, sequence.tracks, sequence.n_frames
    counts = truth.confidence != 0
    if distractors is not None:
        counts &= truth.class_id == PEDESTRIAN
    of_truth, of_tracks = _by_frame(name, "truth", truth, n_frames), _by_frame(name, "tracks", tracks, n_frames)
    true_xyxy, xyxy = ltwh_to_xyxy(truth.ltwh), ltwh_to_xyxy(tracks.ltwh)
    true_rows, rows, similarity = [], [], []
    for in_truth, in_tracks in zip(of_truth, of_tracks, strict=True):
        iou = iou_matrix(true_xyxy[in_truth], xyxy[in_tracks])
        keep = np.ones(len(in_tracks), np.bool_)
        if distractors is not None:
            keep[_on_distractors(iou, np.isin(truth.class_id[in_truth], distractors))] = False
        counted = counts[in_truth]
        true_rows.append(in_truth[counted])
        rows.append(in_tracks[keep])
        similarity.append(iou[counted][:, keep])
    true_ids, n_true_ids = _dense_ids(truth.track_id, true_rows)
    ids, n_ids = _dense_ids(tracks.track_id, rows)
    return {
        "num_timesteps": n_frames,
        "gt_ids": true_ids,
        "tracker_ids": ids,
        "similarity_scores": similarity,
        "num_gt_ids": n_true_ids,
        "num_tracker_ids": n_ids,
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, ids)),
    }


def _by_frame(name: str, what: str, rows: MotRows, n_frames: int) -> list[NDArray[np.int64]]:
    """Row numbers of each frame from 1 to n_frames, in file order."""
    if len(rows) and rows.frame.max() > n_frames:
        raise DatasetError(f"{name}, {what}: wanted frames up to {n_frames}, found {rows.frame.max()}")
    order = np.argsort(rows.frame, kind="stable")
    groups = np.split(order, np.searchsorted(rows.frame[order], np.arange(2, n_frames + 1)))
    for frame, group in enumerate(groups, 1):
        if len(np.unique(rows.track_id[group])) != len(group):
            raise DatasetError(f"{name}, {what}: wanted every id once per frame, found one twice in frame {frame}")
    return groups


def _on_distractors(iou: NDArray[Any], is_distractor: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Columns of `iou` (truth, tracks) whose best partner at IoU 0.5 is a distractor."""
    from scipy.optimize import linear_sum_assignment

    limit = 0.5 - np.finfo(np.float64).eps
    similar = np.where(iou < limit, 0, iou)
    true_row, column = linear_sum_assignment(-similar)
    matched = similar[true_row, column] > np.finfo(np.float64).eps
    return np.asarray(column[matched & is_distractor[true_row]], np.int64)


def _dense_ids(ids: NDArray[np.int64], frames: list[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], int]:
    unique, dense = np.unique(ids[np.concatenate(frames)], return_inverse=True)
    ends = np.cumsum([len(rows) for rows in frames])[:-1]
    return np.split(dense.astype(np.int64), ends), len(unique)


def _scores(result: Mapping[str, Mapping[str, Any]]) -> MotScores:
    hota, clear, identity, count = result["hota"], result["clear"], result["identity"], result["count"]
    return MotScores(
        hota=float(np.mean(hota["HOTA"])),
        det_a=float(np.mean(hota["DetA"])),
        ass_a=float(np.mean(hota["AssA"])),
        det_re=float(np.mean(hota["DetRe"])),
        det_pr=float(np.mean(hota["DetPr"])),
        ass_re=float(np.mean(hota["AssRe"])),
        ass_pr=float(np.mean(hota["AssPr"])),
        loc_a=float(np.mean(hota["LocA"])),
        mota=float(clear["MOTA"]),
        motp=float(clear["MOTP"]),
        idf1=float(identity["IDF1"]),
        idp=float(identity["IDP"]),
        idr=float(identity["IDR"]),
        id_switches=int(clear["IDSW"]),
        fragmentations=int(clear["Frag"]),
        false_positives=int(clear["CLR_FP"]),
        false_negatives=int(clear["CLR_FN"]),
        mostly_tracked=int(clear["MT"]),
        mostly_lost=int(clear["ML"]),
        n_true_boxes=int(count["GT_Dets"]),
        n_boxes=int(count["Dets"]),
        n_true_tracks=int(count["GT_IDs"]),
        n_tracks=int(count["IDs"]),
    )
