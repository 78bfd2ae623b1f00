"""Matching, AP, confusion matrix and fitness against YOLOv7's own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.precision_recall import (
    ConfusionMatrix,
    PrecisionRecall,
    match_predictions,
    precision_recall,
)


def bits(rows: list[str]) -> np.ndarray:
    return np.array([[digit == "1" for digit in row] for row in rows], np.bool_).reshape(-1, 10)


def labels_in_image(image: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Labels are told in px of the network's input; predictions in those of the image."""
    rows = np.array(image["labels_cls_xywh_px"], np.float32).reshape(-1, 5)
    centre, half = rows[:, 1:3], rows[:, 3:] / 2
    xyxy = np.concatenate([centre - half, centre + half], axis=1)
    xyxy = (xyxy - np.tile(np.float32(image["pad"]), 2)) / np.float32(image["gain"])
    height, width = image["orig_hw"]
    return np.clip(xyxy, 0, np.float32([width, height, width, height])), rows[:, 0].astype(np.int64)


def check_matching(images: list[dict[str, Any]]) -> None:
    for image in images:
        predictions = np.array(image["pred_native"], np.float32).reshape(-1, 6)
        xyxy, class_id = labels_in_image(image)
        right = match_predictions(predictions[:, :4], predictions[:, 5].astype(np.int64), xyxy, class_id)
        np.testing.assert_array_equal(right, bits(image["correct"]))


def check_ap(case: dict[str, Any]) -> None:
    for name, to_full_recall in (("v7", False), ("v5", True)):
        found = precision_recall(
            bits(case["tp"]),
            np.array(case["conf"]),
            np.array(case["pred_cls"]),
            np.array(case["target_cls"]),
            to_full_recall=to_full_recall,
        )
        wanted = case[name]
        assert found.class_id.tolist() == wanted["classes"]
        np.testing.assert_allclose(found.ap, wanted["ap"], atol=1e-9)
        np.testing.assert_allclose(found.precision, wanted["p"], atol=1e-9)
        np.testing.assert_allclose(found.recall, wanted["r"], atol=1e-9)
        np.testing.assert_allclose(found.f1, wanted["f1"], atol=1e-9)
        assert found.map50 == pytest.approx(wanted["map50"])
        assert found.map50_95 == pytest.approx(wanted["map"])


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    return dict(json.loads((golden_dir / "detector" / "prepost.json").read_text()))


def test_matching_golden(golden: dict[str, Any]) -> None:
    check_matching(golden["val_match"]["images"])


def test_ap_golden(golden: dict[str, Any]) -> None:
    check_ap(golden["ap_per_class"][0])


@pytest.mark.reference
def test_ap_reference(reference_dir: Path) -> None:
    for case in json.loads((reference_dir / "prepost" / "prepost.json").read_text())["ap_per_class"]:
        check_ap(case)


@pytest.mark.reference
def test_a_whole_validation(reference_dir: Path) -> None:
    case = json.loads((reference_dir / "prepost" / "val_match.json").read_text())
    check_matching(case["images"])
    predictions = np.concatenate([np.array(image["pred_native"]).reshape(-1, 6) for image in case["images"]])
    found = precision_recall(
        np.concatenate([bits(image["correct"]) for image in case["images"]]),
        predictions[:, 4],
        predictions[:, 5].astype(np.int64),
        np.concatenate([labels_in_image(image)[1] for image in case["images"]]),
    )
    assert found.map50 == pytest.approx(case["map50"])
    assert found.map50_95 == pytest.approx(case["map"])
    np.testing.assert_allclose(found.ap, case["ap"], atol=1e-9)


def test_confusion_matrix(golden: dict[str, Any]) -> None:
    case = golden["confusion"]
    predictions, labels = np.array(case["det"], np.float32), np.array(case["lab"], np.float32)
    matrix = ConfusionMatrix(3)
    matrix.add(
        predictions[:, :4],
        predictions[:, 4],
        predictions[:, 5].astype(np.int64),
        labels[:, 1:],
        labels[:, 0].astype(np.int64),
    )
    # The reference writes pairs as [label, prediction] but false and missed ones as ours does.
    wanted = np.array(case["matrix"])
    wanted[:3, :3] = wanted[:3, :3].T
    np.testing.assert_array_equal(matrix.counts, wanted)


def test_confusion_matrix_of_nothing() -> None:
    matrix = ConfusionMatrix(2)
    none = np.zeros((0, 4), np.float32)
    one = np.array([[0, 0, 10, 10]], np.float32)
    matrix.add(none, np.zeros(0, np.float32), np.zeros(0, np.int64), one, np.array([1]))
    matrix.add(one, np.array([0.9], np.float32), np.array([0]), none, np.zeros(0, np.int64))
    assert matrix.counts.tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_fitness(golden: dict[str, Any]) -> None:
    _, _, map50, map50_95 = golden["fitness"]["x"][0][:4]
    ap = np.full((1, 10), (10 * map50_95 - map50) / 9)
    ap[0, 0] = map50
    one = np.zeros(1)
    curve = np.zeros((1, 1000))
    result = PrecisionRecall(np.zeros(1, np.int64), ap, one, one, one, 0.5, curve, curve)
    assert result.fitness == pytest.approx(golden["fitness"]["f"][0])


@pytest.mark.parametrize("n_labels", [0, 3])
def test_no_predictions(n_labels: int) -> None:
    found = precision_recall(
        np.zeros((0, 10), np.bool_), np.zeros(0), np.zeros(0, np.int64), np.zeros(n_labels, np.int64)
    )
    assert found.map50 == found.map50_95 == found.fitness == 0
    assert len(found.class_id) == min(n_labels, 1)


def test_one_label_is_won_once_and_by_the_most_confident() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], np.float32)
    right = match_predictions(boxes, np.array([1, 1]), boxes[:1], np.array([1]))
    assert right.all(axis=1).tolist() == [True, False]
    assert not match_predictions(boxes, np.array([0, 0]), boxes[:1], np.array([1])).any()
