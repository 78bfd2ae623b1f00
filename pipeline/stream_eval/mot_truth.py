"""Ground truth of the MOT challenge: a folder with seqinfo.ini and gt/gt.txt.

What counts: of files with 9 columns (MOT16, MOT17, MOT20) pedestrians with confidence other than 0; what stands in for
people without being scored (person on vehicle, static person, distractor, reflection; MOT20: non-motorised vehicle),
and pedestrians with confidence 0, count neither for nor against; other classes are not there. Other files (MOT15) have
no classes: every box is a person, those with confidence 0 count neither for nor against.

Source: MOT16 (arXiv 1603.00831), section 4.1 and table 6.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.core.arrays import BoolArray
from pipeline.core.errors import DatasetError
from pipeline.evaluation.mot_metrics import DISTRACTORS, PEDESTRIAN, Benchmark
from pipeline.evaluation.mot_text import MotRows, read_mot, read_seqinfo
from pipeline.stream_eval.frame_rate import frame_rate, rate_text, rates_agree
from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

CLASS_NAMES = ("person",)
_COLUMNS_WITH_CLASS = 9


def read_mot_truth(folder: Path, fps: Fraction | None = None) -> Labelled:
    """One sequence; its name is its folder's, for copies of seqinfo.ini keep names of other detectors.

    Args:
        folder: holds seqinfo.ini and gt/gt.txt.
        fps: frame rate that it is expected to have.

    Raises:
        DatasetError: a file is missing or cannot be used, a box lies beyond the last frame, an id stands twice in a
            frame, or seqinfo.ini says another rate than `fps`.
    """
    path = folder / "gt" / "gt.txt"
    info = read_seqinfo(folder / "seqinfo.ini")
    rate = frame_rate(info.fps)
    if fps is not None and not rates_agree(fps, rate):
        raise DatasetError(
            f"{folder / 'seqinfo.ini'}: wanted the rate that --fps says, {rate_text(fps)}, found {rate_text(rate)}"
        )
    rows = read_mot(path)
    if len(rows) and rows.frame.max() > info.n_frames:
        raise DatasetError(
            f"{path}: wanted frames up to {info.n_frames}, as seqinfo.ini says, found {rows.frame.max()}"
        )
    name = folder.resolve().name
    there, crowd = _what_counts(rows, path)
    stream = Stream(name, rate, info.n_frames, info.width_px, info.height_px)
    return Labelled(_truth(stream, rows, there, crowd, path), path, folder / "img1")


def _what_counts(rows: MotRows, path: Path) -> tuple[BoolArray, BoolArray]:
    """Which boxes are there at all, and which of them count neither for nor against."""
    unsure = rows.confidence == 0
    benchmark = benchmark_of(path)
    if benchmark == "MOT15":
        return np.ones(len(rows), np.bool_), unsure
    distractors = DISTRACTORS[benchmark]
    is_person, is_like = rows.class_id == PEDESTRIAN, np.isin(rows.class_id, distractors)
    return is_person | is_like, unsure | is_like


def benchmark_of(path: Path) -> Benchmark:
    """Whose rules a gt/gt.txt follows: by its columns, and MOT20's by the name of the sequence's folder."""
    with path.open(encoding="utf-8") as file:
        first = next((line for line in file if line.strip()), "")
    columns = len(first.strip().rstrip(",").replace(",", " ").split())
    if columns != _COLUMNS_WITH_CLASS:
        return "MOT15"
    return "MOT20" if path.resolve().parents[1].name.startswith("MOT20") else "MOT17"


def _truth(stream: Stream, rows: MotRows, there: BoolArray, crowd: BoolArray, path: Path) -> Truth:
    boxes, flags, areas = [], [], []
    for frame in range(1, stream.n_frames + 1):
        of_frame = np.flatnonzero(there & (rows.frame == frame))
        ids, ltwh = rows.track_id[of_frame], rows.ltwh[of_frame]
        counted = ids[~crowd[of_frame] & (ids >= 0)]
        if len(np.unique(counted)) != len(counted):
            raise DatasetError(f"{path}: wanted every id once per frame, found one twice in frame {frame}")
        n = len(of_frame)
        boxes.append(Boxes(ltwh, np.ones(n), np.zeros(n, np.int64), ids))
        flags.append(crowd[of_frame])
        areas.append(ltwh[:, 2] * ltwh[:, 3])
    return Truth(stream, tuple(boxes), tuple(flags), tuple(areas), CLASS_NAMES)
