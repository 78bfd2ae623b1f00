"""COCO AP against pycocotools, and the ways in which predictions and labels can disagree."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError, DatasetError, MissingExtraError
from pipeline.evaluation.coco_dataset import read_coco
from pipeline.evaluation.coco_map import coco_map, coco_results, write_json
from pipeline.evaluation.dataset import LabelledImage, LabelledImages

pytest.importorskip("faster_coco_eval")


def random_dataset(seed: int, n_images: int = 12) -> tuple[LabelledImages, list[dict[str, Any]]]:
    """Images with crowds, and predictions that are labels moved a little, some left out, some made up."""
    rng = np.random.default_rng(seed)
    category_ids = (1, 5, 90)
    images, predictions = [], []
    for image_id in range(100, 100 + n_images):
        count = int(rng.integers(0, 8))
        ltwh = np.round(np.concatenate([rng.random((count, 2)) * 300, 5 + rng.random((count, 2)) * 200], axis=1), 2)
        class_id = rng.integers(0, 3, count)
        images.append(
            LabelledImage(
                image_id,
                Path(f"{image_id}.jpg"),
                (480, 640),
                ltwh,
                class_id,
                ltwh[:, 2:].prod(axis=1),
                rng.random(count) < 0.2,
            )
        )
        for box, index in zip(ltwh, class_id, strict=True):
            for _ in range(int(rng.integers(0, 3))):
                moved = box + rng.normal(0, 6, 4)
                predictions.append(
                    {
                        "image_id": image_id,
                        "category_id": category_ids[index if rng.random() < 0.8 else int(rng.integers(0, 3))],
                        "bbox": [float(v) for v in np.maximum(moved, 1)],
                        "score": float(rng.random()),
                    }
                )
    return LabelledImages(Path("made.json"), ("cat", "dog", "eel"), category_ids, tuple(images)), predictions


def pycocotools_stats(dataset: LabelledImages, predictions: list[dict[str, Any]], categories: list[int]) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    evaluator = pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = dataset.as_coco()
        truth.createIndex()
        evaluation = evaluator.COCOeval(truth, truth.loadRes([dict(p) for p in predictions]), "bbox")
        evaluation.params.catIds = categories
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [None, ("dog",), ("eel", "cat")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_equals_pycocotools(seed: int, classes: tuple[str, ...] | None) -> None:
    dataset, predictions = random_dataset(seed)
    result = coco_map(dataset, predictions, classes)
    chosen = [dataset.category_ids[dataset.class_names.index(name)] for name in classes or dataset.class_names]
    names = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_1", "ar_10", "ar_100", "ar_s", "ar_m", "ar_l")
    for name, wanted in zip(names, pycocotools_stats(dataset, predictions, sorted(chosen)), strict=True):
        found = getattr(result, name)
        assert (-1 if found is None else found) == pytest.approx(wanted, abs=1e-9), name


def test_per_class_figures_are_those_of_the_class_alone() -> None:
    dataset, predictions = random_dataset(1)
    whole = coco_map(dataset, predictions)
    assert list(whole.per_class) == ["cat", "dog", "eel"]
    for name, figures in whole.per_class.items():
        alone = coco_map(dataset, predictions, [name])
        assert figures.ap == pytest.approx(alone.ap)
        assert figures.ap50 == pytest.approx(alone.ap50)
        assert list(alone.per_class) == [name]
    scored = [figures.ap for figures in whole.per_class.values() if figures.ap is not None]
    assert whole.ap == pytest.approx(np.mean(scored))


def test_perfect_predictions_score_one() -> None:
    dataset, _ = random_dataset(2)
    predictions = []
    for image in dataset.images:
        xyxy = np.concatenate([image.ltwh[:, :2], image.ltwh[:, :2] + image.ltwh[:, 2:]], axis=1).astype(np.float32)
        found = Detections(xyxy, np.ones(len(xyxy), np.float32), image.class_id)
        predictions += coco_results(image.image_id, found, dataset.category_ids)
    result = coco_map(dataset, predictions)
    assert result.ap == pytest.approx(1)
    assert result.n_boxes == len(predictions)


def test_a_class_without_labels_has_no_ap() -> None:
    dataset, predictions = random_dataset(3, n_images=2)
    empty = LabelledImages(
        dataset.path,
        (*dataset.class_names, "fox"),
        (*dataset.category_ids, 91),
        dataset.images,
    )
    result = coco_map(empty, predictions)
    assert result.per_class["fox"].ap is None
    assert result.to_dict()["per_class"]["fox"] == {"ap": None, "ap50": None}


def test_no_predictions_score_zero() -> None:
    dataset, _ = random_dataset(4)
    result = coco_map(dataset, [])
    assert result.ap == 0
    assert result.n_boxes == 0


def test_predictions_are_not_modified() -> None:
    dataset, predictions = random_dataset(5)
    before = json.dumps(predictions)
    coco_map(dataset, predictions)
    assert json.dumps(predictions) == before


def test_a_prediction_for_another_image_is_refused() -> None:
    dataset, predictions = random_dataset(0)
    with pytest.raises(DatasetError, match=r"image 7 is not among the 12 images of made\.json"):
        coco_map(dataset, [*predictions, {**predictions[0], "image_id": 7}])


def test_a_misspelt_class_is_refused() -> None:
    dataset, predictions = random_dataset(0)
    with pytest.raises(ConfigError, match="found 'dgo'; did you mean 'dog'"):
        coco_map(dataset, predictions, ["dgo"])


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, predictions = random_dataset(0)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[eval\]"):
        coco_map(dataset, predictions)


def test_as_coco_and_back(tmp_path: Path) -> None:
    dataset, _ = random_dataset(6)
    write_json(tmp_path / "labels.json", dataset.as_coco())
    back = read_coco(tmp_path / "labels.json", images_dir=tmp_path)
    assert back.class_names == dataset.class_names
    assert back.category_ids == dataset.category_ids
    for one, other in zip(back.images, dataset.images, strict=True):
        assert one.image_id == other.image_id
        np.testing.assert_array_equal(one.ltwh, other.ltwh)
        np.testing.assert_array_equal(one.class_id, other.class_id)
        np.testing.assert_array_equal(one.crowd, other.crowd)
    numbers = [label["id"] for label in dataset.as_coco()["annotations"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [path.name for path in tmp_path.iterdir()] == ["labels.json"]
