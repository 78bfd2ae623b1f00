"""The comparison of a file with the network: what counts as the same, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detector.export.parity import TOLERANCES, Parity, _compare_boxes
from pipeline.core.detections import Detections


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4].copy(), table[:, 4].copy(), table[:, 5].astype(np.int64))


HERE = (10, 10, 50, 50, 0.9, 0)


@pytest.mark.parametrize(
    ("wanted", "found", "missing", "extra", "px"),
    [
        ([], [], 0, 0, []),
        ([HERE], [HERE], 0, 0, [0]),
        ([HERE], [(10, 10.25, 50, 52, 0.8, 0)], 0, 0, [2]),
        ([HERE], [], 1, 0, []),
        ([], [HERE], 0, 1, []),
        ([HERE], [(10, 10, 50, 50, 0.9, 1)], 1, 1, []),  # another class
        ([HERE], [(40, 40, 90, 90, 0.9, 0)], 1, 1, []),  # elsewhere
        ([(10, 10, 50, 50, 0.2505, 0)], [], 0, 0, []),  # so near the threshold that rounding decides
        ([HERE, (12, 10, 52, 50, 0.8, 0)], [(12, 10, 52, 50, 0.8, 0), HERE], 0, 0, [0, 0]),
    ],
)
def test_pairs(wanted: Any, found: Any, missing: int, extra: int, px: list[float]) -> None:
    compared = _compare_boxes(boxes(*wanted), boxes(*found), 0.251)
    assert (compared.n_missing, compared.n_extra, compared.px.tolist()) == (missing, extra, px)


def parity(precision: Any = "fp32", **changes: Any) -> Parity:
    same = {
        "n_frames": 1,
        "n_boxes": 10,
        "n_missing": 0,
        "n_extra": 0,
        "max_px": 0.0,
        "median_px": 0.0,
        "max_score": 0.0,
        "median_score": 0.0,
        "raw_px": 0.0,
        "raw_score": 0.0,
        "tolerance": TOLERANCES[precision],
        "conf_thres": 0.25,
    }
    return Parity(**{**same, **changes})


@pytest.mark.parametrize(
    ("precision", "changes", "problem"),
    [
        ("fp32", {}, None),
        ("fp32", {"max_px": 0.4, "max_score": 9e-4}, None),
        ("fp32", {"max_px": 0.6}, "boxes differ by 0.6 px or more (allowed: 0.5)"),
        ("fp32", {"max_score": 0.002}, "confidences of boxes differ by 0.002 or more (allowed: 0.001)"),
        ("fp32", {"n_missing": 1}, "1 of 10 boxes are missing and 0 are new"),
        ("fp32", {"max_px": float("nan")}, "boxes differ by nan px or more (allowed: 0.5)"),
        ("fp16", {"max_px": 9.0, "n_extra": 1}, None),
        ("fp16", {"median_px": 2.0}, "half of the boxes differ by 2 px or more (allowed: 1)"),
        ("int8", {"n_missing": 4}, None),
        ("int8", {"n_missing": 4, "n_extra": 2}, "4 of 10 boxes are missing and 2 are new"),
        ("fp32", {"n_boxes": 0, "raw_score": 0.01}, "confidences of boxes differ by 0.01 or more (allowed: 0.001)"),
        ("fp32", {"n_boxes": 0, "n_extra": 1}, "0 of 0 boxes are missing and 1 are new"),
    ],
)
def test_what_is_refused(precision: str, changes: dict[str, float], problem: str | None) -> None:
    assert parity(precision, **changes).problem == problem
