"""Ground truth from whatever it was written in."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from pipeline.core.errors import DatasetError, UsageError
from pipeline.stream_eval.coco_truth import read_coco_truth
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.mot_truth import read_mot_truth


def read_truth(path: Path, fps: Fraction | None = None, names: Sequence[str] = ()) -> list[Labelled]:
    """Labelled sequences.

    Args:
        path: a COCO file of video (.json), the folder of a MOT sequence, or a folder of such folders.
        fps: frame rate, for files that say none; a file that says another one is refused.
        names: read these sequences only.

    Raises:
        DatasetError: nothing of that kind there, or something that cannot be used.
        UsageError: a name that no sequence has.
    """
    if path.is_file():
        found = read_coco_truth(path, fps)
    elif (path / "gt" / "gt.txt").is_file():
        found = [read_mot_truth(path, fps)]
    else:
        folders = sorted(one.parents[1] for one in path.glob("*/gt/gt.txt"))
        if not folders:
            raise DatasetError(
                f"{path}: wanted ground truth (a COCO .json of video, or a MOT folder with gt/gt.txt), found none"
            )
        found = [read_mot_truth(one, fps) for one in folders]
    missing = [name for name in names if name not in {one.name for one in found}]
    if missing:
        there = ", ".join(one.name for one in found[:8]) or "none of these names"
        raise UsageError(f"--sequence: wanted one that {path} has, found {missing[0]!r}; there: {there}")
    return [one for one in found if not names or one.name in names]
