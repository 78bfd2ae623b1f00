from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.detector import DetectorConfig, YoloDetector
from detector.train import summary
from detector.train.summary import summarise
from detector.validation import read_dataset
from pipeline.core.arrays import ImageArray
from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError
from pipeline.evaluation.dataset import LabelledImage, LabelledImages

pytest.importorskip("matplotlib")

FILES = ["confidence.png", "confusion.png", "pr_curve.png", "predictions.jpg"]
HERE, CROWD, ELSEWHERE = (10, 10, 30, 30), (50, 50, 90, 90), (5, 60, 25, 80)


class Scripted:
    """Gives the same boxes for every image, the least sure first."""

    class_names = ("unknown to the data", "dog", "cat")

    def __init__(self, *rows: tuple[tuple[int, int, int, int], float, int]) -> None:
        self._found = Detections(
            np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
            np.array([row[1] for row in rows], np.float32),
            np.array([row[2] for row in rows], np.int64),
        )

    def detect_images(self, images: Sequence[ImageArray]) -> list[Detections]:
        return [self._found for _ in images]


@pytest.fixture
def dataset(tmp_path: Path) -> LabelledImages:
    """Three images with a cat and a crowd of dogs each."""
    images = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((100, 100, 3), 90, np.uint8))
        xyxy = np.array([HERE, CROWD], np.float64)
        size = xyxy[:, 2:] - xyxy[:, :2]
        ltwh = np.concatenate([xyxy[:, :2], size], axis=1)
        crowd = np.array([False, True])
        images.append(LabelledImage(number, path, (100, 100), ltwh, np.array([0, 1]), size.prod(axis=1), crowd))
    return LabelledImages(tmp_path / "set.json", ("cat", "dog"), (1, 2), tuple(images))


@pytest.fixture
def confusion(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    kept: list[np.ndarray] = []
    monkeypatch.setattr(summary, "plot_confusion", lambda matrix, names, path: kept.append(matrix))
    return kept


def test_the_files_are_written(tmp_path: Path, dataset: LabelledImages) -> None:
    curves = summarise(tmp_path / "new" / "plots", Scripted((HERE, 0.9, 2)), dataset, dataset.class_names)
    assert sorted(p.name for p in (tmp_path / "new" / "plots").iterdir()) == FILES
    assert curves.class_id.tolist() == [0]
    assert curves.map50 == pytest.approx(1, abs=0.01)


def test_crowds_and_unknown_classes_count_neither_way(
    tmp_path: Path, dataset: LabelledImages, confusion: list[np.ndarray]
) -> None:
    in_crowd, stranger = ((55, 55, 70, 70), 0.99, 1), (ELSEWHERE, 0.99, 0)
    curves = summarise(tmp_path, Scripted(in_crowd, stranger, (HERE, 0.9, 2)), dataset, dataset.class_names)
    assert curves.map50 == pytest.approx(1, abs=0.01)
    assert confusion[0].tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_a_crowd_excuses_its_own_class_only(tmp_path: Path, dataset: LabelledImages) -> None:
    cat_in_crowd = ((55, 55, 70, 70), 0.99, 2)
    curves = summarise(tmp_path, Scripted(cat_in_crowd, (HERE, 0.9, 2)), dataset, dataset.class_names)
    assert curves.map50 == pytest.approx(0.5, abs=0.02)


def test_boxes_may_come_in_any_order(tmp_path: Path, dataset: LabelledImages, confusion: list[np.ndarray]) -> None:
    worse = ((10, 10, 28, 30), 0.3, 2)
    curves = summarise(tmp_path, Scripted(worse, (HERE, 0.9, 2)), dataset, dataset.class_names)
    assert curves.precision[0] == pytest.approx(1, abs=1e-3)
    assert confusion[0].tolist() == [[3, 0, 3], [0, 0, 0], [0, 0, 0]]


def test_nothing_found(tmp_path: Path, dataset: LabelledImages, confusion: list[np.ndarray]) -> None:
    curves = summarise(tmp_path, Scripted(), dataset, dataset.class_names)
    assert curves.map50 == 0
    assert confusion[0].tolist() == [[0, 0, 0], [0, 0, 0], [3, 0, 0]]


def test_an_image_that_has_gone_is_told(tmp_path: Path, dataset: LabelledImages) -> None:
    dataset.images[1].path.unlink()
    with pytest.raises(DatasetError, match=r"1\.png: wanted an image"):
        summarise(tmp_path, Scripted(), dataset, dataset.class_names)


@pytest.mark.slow
@pytest.mark.reference
def test_a_real_detector_on_real_pictures(tmp_path: Path, data_dir: Path) -> None:
    coco = read_dataset(
        data_dir / "coco" / "annotations" / "instances_val188.json", images_dir=data_dir / "coco" / "val2017"
    )
    first = replace(coco, images=coco.images[:40])
    weights = str(data_dir / "weights" / "yolox_nano.pth")
    detector = YoloDetector(DetectorConfig(weights=weights, conf_thres=0.01, iou_thres=0.65, device="cpu", threads=1))
    curves = summarise(tmp_path, detector, first, first.class_names)
    detector.close()
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
    assert curves.map50 == pytest.approx(0.526, abs=0.03)
    assert 0.1 < curves.best_confidence < 0.5
