from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detector.train.confusion import ConfusionMatrix, inside
from pipeline.core.detections import Detections


def detections(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def labels(*rows: tuple[float, float, float, float, int]) -> tuple[np.ndarray, np.ndarray]:
    table = np.array(rows, np.float32).reshape(-1, 5)
    return table[:, :4], table[:, 4].astype(np.int64)


def entries(matrix: ConfusionMatrix) -> dict[tuple[int, int], int]:
    return {(int(row), int(column)): int(matrix.matrix[row, column]) for row, column in np.argwhere(matrix.matrix)}


def test_equal_to_the_reference(golden: dict[str, Any]) -> None:
    case = golden["confusion"]
    table = np.array(case["lab"], np.float32)
    matrix = ConfusionMatrix(3)
    matrix.update(detections(*case["det"]), table[:, 1:], table[:, 0].astype(np.int64))
    # The reference writes pairs as [label, prediction] but false and missed ones as ours does.
    wanted = np.array(case["matrix"])
    wanted[:3, :3] = wanted[:3, :3].T
    np.testing.assert_array_equal(matrix.matrix, wanted)
    assert matrix.matrix.dtype == np.int64


def test_images_add_up() -> None:
    matrix = ConfusionMatrix(2)
    for _ in range(3):
        matrix.update(detections((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.9, 1)), *labels((0, 0, 10, 10, 1)))
    assert entries(matrix) == {(0, 1): 3, (1, 2): 3}
    matrix.update(Detections.empty(), *labels((0, 0, 10, 10, 0)))
    matrix.update(Detections.empty(), *labels())
    assert entries(matrix) == {(0, 1): 3, (1, 2): 3, (2, 0): 1}


@pytest.mark.parametrize(("confidence", "counted"), [(0.2, {}), (0.5, {}), (0.6, {(0, 2): 1})])
def test_only_sure_predictions_count(confidence: float, counted: dict[tuple[int, int], int]) -> None:
    matrix = ConfusionMatrix(2, conf_thres=0.5)
    matrix.update(detections((0, 0, 10, 10, confidence, 0)), *labels())
    assert entries(matrix) == counted


CROWD = (100.0, 100.0, 200.0, 200.0)


@pytest.mark.parametrize(
    ("xyxy", "counted"),
    [
        ((110, 110, 150, 150), {}),
        ((60, 110, 150, 150), {}),
        ((40, 110, 150, 150), {(0, 2): 1}),
        ((0, 0, 300, 300), {(0, 2): 1}),
        ((210, 210, 250, 250), {(0, 2): 1}),
    ],
    ids=["inside", "mostly", "less than half", "around", "outside"],
)
def test_predictions_in_ignored_places(
    xyxy: tuple[float, float, float, float], counted: dict[tuple[int, int], int]
) -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(detections((*xyxy, 0.9, 0)), *labels(), np.array([CROWD, (900, 900, 901, 901)]))
    assert entries(matrix) == counted


def test_a_label_in_an_ignored_place_can_be_found() -> None:
    matrix = ConfusionMatrix(2)
    here = (110, 110, 150, 150)
    matrix.update(detections((*here, 0.9, 1), (160, 160, 190, 190, 0.9, 1)), *labels((*here, 1)), [CROWD])
    assert entries(matrix) == {(1, 1): 1}


def test_inside() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 4], [3, 3, 3, 3]], np.float32)
    places = np.array([[0, 0, 5, 10], [0, 0, 6, 10]], np.float32)
    assert inside(boxes, places).tolist() == [[False, True], [False, True], [False, False]]
    assert inside(boxes, np.zeros((0, 4))).shape == (3, 0)
