"""Detections that were made elsewhere: MOT text, one box a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.core.boxes import ltwh_to_xyxy
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError
from pipeline.evaluation.mot_text import read_mot
from pipeline.stream_eval.labelled import Labelled


def read_detections(path: Path, labelled: Labelled) -> list[Detections]:
    """The detections of every frame, all of the truth's one class; scores are cut to [0, 1].

    Raises:
        DatasetError: the file cannot be read, has frames beyond the truth's, or the truth has several classes.
    """
    truth, n_frames = labelled.truth, labelled.truth.stream.n_frames
    if len(truth.class_names) > 1:
        raise DatasetError(
            f"{path}: wanted truth of one class, for MOT detections have none, "
            f"found {len(truth.class_names)} in {labelled.path}"
        )
    rows = read_mot(path)
    if len(rows) and rows.frame.max() > n_frames:
        raise DatasetError(f"{path}: wanted frames up to {n_frames} as in {labelled.path}, found {rows.frame.max()}")
    xyxy = np.asarray(ltwh_to_xyxy(rows.ltwh), np.float32)
    confidence = np.clip(rows.confidence, 0, 1).astype(np.float32)
    found = []
    for frame in range(1, n_frames + 1):
        of_frame = np.flatnonzero(rows.frame == frame)
        found.append(Detections(xyxy[of_frame], confidence[of_frame], np.zeros(len(of_frame), np.int64)))
    return found
