"""Anchors measured, fitted, and set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data.training_set import TrainingImage
from detector.models import DetectionModel, build_model
from detector.models.heads import YoloV7Head
from detector.train.anchors import (
    anchor_fitness,
    best_possible_recall,
    box_sizes,
    checked_anchors,
    fit_anchors,
    set_anchors,
)
from pipeline.core.arrays import FloatArray
from pipeline.core.errors import ConfigError, DatasetError, ShapeError


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    return dict(json.loads((golden_dir / "train" / "prepost_train.json").read_text()))


def _sizes(low: float, high: float, number: int = 500, seed: int = 0) -> FloatArray:
    return np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), (number, 2))).astype(np.float32)


def _anchors(model: DetectionModel) -> FloatArray:
    assert model.anchors is not None
    return model.anchors.numpy().copy()


def test_recall_equals_the_reference(golden: dict[str, Any]) -> None:
    for row in golden["anchors"]:
        sizes = np.exp(np.random.default_rng(row["seed"]).uniform(np.log(3), np.log(600), (500, 2))).round(3)
        if row["wh"]:
            np.testing.assert_array_equal(sizes, row["wh"])
        anchors = np.array(row["anchors"])
        assert best_possible_recall(sizes, anchors) == pytest.approx((row["bpr"], row["aat"]), abs=1e-6)
        assert anchor_fitness(sizes, anchors) == pytest.approx(row["fitness"], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_search_finds_anchors_as_good_as_the_reference(golden: dict[str, Any], seed: int) -> None:
    row = golden["kmean_anchors"]
    sizes = np.array(row["wh"], np.float32)
    assert anchor_fitness(sizes, np.array(row["anchors"])) == pytest.approx(row["fitness"], abs=1e-6)
    found = fit_anchors(sizes, 3, 3, seed=seed)
    assert found.shape == (3, 3, 2)
    assert found.dtype == np.float32
    assert anchor_fitness(sizes, found) >= row["fitness"]
    assert best_possible_recall(sizes, found).best_possible >= row["bpr"]
    assert (np.diff(found.reshape(-1, 2).prod(1)) >= 0).all()


def test_equal_seeds_give_equal_anchors() -> None:
    sizes = _sizes(3, 600, number=12_000)
    first, second = (fit_anchors(sizes, 3, 3, seed=3, generations=20) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_changes_after_k_means_only_improve() -> None:
    sizes = _sizes(3, 600)
    fitness = [anchor_fitness(sizes, fit_anchors(sizes, 3, 3, seed=0, generations=n)) for n in (0, 100, 500)]
    assert fitness == sorted(fitness)
    assert fitness[0] < fitness[-1]


@settings(max_examples=25, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.floats(0.5, 2000, width=32), st.floats(0.5, 2000, width=32)), min_size=9, max_size=40),
    seed=st.integers(0, 99),
)
def test_any_boxes_give_usable_anchors(sizes: list[tuple[float, float]], seed: int) -> None:
    boxes = np.array(sizes, np.float32)
    found = fit_anchors(boxes, 3, 3, seed=seed, generations=5).reshape(-1, 2)
    assert np.isfinite(found).all()
    assert (found > boxes.min() * 0.5).all()
    assert (found < boxes.max() * 2).all()
    assert 0 <= best_possible_recall(boxes, found).best_possible <= 1


def test_boxes_of_one_size_are_fitted_exactly() -> None:
    sizes = np.full((20, 2), 50, np.float32)
    np.testing.assert_allclose(fit_anchors(sizes, 3, 3, seed=0, generations=0), 50, rtol=1e-5)


@pytest.mark.parametrize(("name", "levels"), [("yolov7-tiny", 3), ("yolov7-w6", 4)])
def test_anchors_are_set_by_level(name: str, levels: int) -> None:
    model = build_model(name, form="training")
    anchors = _sizes(5, 700, number=levels * 3)
    set_anchors(model, anchors)
    head = model.detection_head
    assert isinstance(head, YoloV7Head)
    wanted = torch.from_numpy(anchors[np.argsort(anchors.prod(1))]).view(levels, 3, 2)
    assert torch.equal(head.anchors_px, wanted)
    assert head.anchors.dtype == head.anchor_grid.dtype == torch.float32
    torch.testing.assert_close(head.anchors, wanted / torch.tensor(head.strides).view(-1, 1, 1))


def test_anchors_keep_their_precision_in_a_network_of_16_bits() -> None:
    model = build_model("yolov7-tiny", form="training").half()
    set_anchors(model, np.full((3, 3, 2), 373.3, np.float32))
    assert _anchors(model).ravel() == pytest.approx(373.3)


def test_fitting_anchors_are_kept() -> None:
    model = build_model("yolov7-tiny", form="training")
    before = _anchors(model)
    check = checked_anchors(model, np.repeat(before.reshape(-1, 2), 5, axis=0) * np.float32(1.5), seed=0)
    assert check.before.best_possible == 1
    assert check.fitted is None
    assert not check.replaced
    assert str(check) == "anchors: 1.0000 of the boxes within reach; kept"
    np.testing.assert_array_equal(_anchors(model), before)
    np.testing.assert_array_equal(check.anchors_px, before)


def test_anchors_that_miss_boxes_are_replaced() -> None:
    model = build_model("yolov7-tiny", form="training")
    narrow = _sizes(10, 60) * np.array([1, 8], np.float32)
    check = checked_anchors(model, narrow, seed=0)
    assert check.before.best_possible < 0.98
    assert check.fitted is not None
    assert check.fitted.best_possible > 0.98
    assert check.replaced
    np.testing.assert_array_equal(_anchors(model), check.anchors_px)
    assert best_possible_recall(narrow, check.anchors_px) == check.fitted
    assert str(check).endswith("with anchors fitted to the data set; replaced")


def test_anchors_stay_where_the_search_finds_none_better() -> None:
    model = build_model("yolov7-tiny", form="training")
    before = _anchors(model)
    check = checked_anchors(model, before.reshape(-1, 2), seed=0, least_recall=1.1)
    assert check.fitted is not None
    assert not check.replaced
    np.testing.assert_array_equal(_anchors(model), before)


def test_too_few_boxes_leave_the_anchors() -> None:
    model = build_model("yolov7-tiny", form="training")
    check = checked_anchors(model, np.array([[1000, 3]], np.float32), seed=0)
    assert check.before.best_possible == 0
    assert check.fitted is None


def test_sizes_are_those_after_letterboxing() -> None:
    boxes = np.array([[10, 20, 110, 60]], np.float32)
    images = [
        TrainingImage(Path("a.jpg"), (480, 1280), boxes, np.zeros(1, np.int64)),
        TrainingImage(Path("b.jpg"), (64, 32), boxes[:0], np.zeros(0, np.int64)),
    ]
    np.testing.assert_array_equal(box_sizes(images, (640, 640)), np.array([[50, 20]], np.float32))
    assert box_sizes([], (640, 640)).shape == (0, 2)


def test_what_cannot_work_is_refused() -> None:
    nine = np.full((9, 2), 10, np.float32)
    with pytest.raises(ShapeError, match=r"wanted shape \(n, 2\)"):
        best_possible_recall(np.ones((3, 4), np.float32), nine)
    with pytest.raises(DatasetError, match="found none"):
        best_possible_recall(nine[:0], nine)
    with pytest.raises(DatasetError, match="a size of 0 px"):
        best_possible_recall(nine * np.array([0, 1], np.float32), nine)
    with pytest.raises(DatasetError, match="at least 9 boxes"):
        fit_anchors(nine[:8], 3, 3, seed=0)
    with pytest.raises(ShapeError, match="for yolov7-tiny"):
        set_anchors(build_model("yolov7-tiny"), nine[:8])
    with pytest.raises(ConfigError, match="yolox-nano"):
        checked_anchors(build_model("yolox-nano"), nine, seed=0)
