"""Pictures of a data set."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data.plots import plot_dataset
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.errors import DatasetError, MissingExtraError


def training_set(folder: Path, count: int) -> TrainingSet:
    images = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.full((60, 90, 3), 200, np.uint8))
        xyxy = np.array([[10, 10, 40, 30]], np.float32)[: number + 1]
        ignored = np.array([[50, 20, 80, 50]], np.float32)
        images.append(TrainingImage(path, (60, 90), xyxy, np.array([number % 12]), ignored, np.array([0])))
    names = tuple(f"class {number}" for number in range(12))
    return TrainingSet(folder / "data.yaml", names, tuple(images), tuple(range(12)))


@pytest.mark.parametrize("count", [1, 20])
def test_four_pictures(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    paths = plot_dataset(training_set(tmp_path, count), tmp_path / "plots")
    assert [path.name for path in paths] == ["classes.png", "box_sizes.png", "centres.png", "samples.jpg"]
    for path in paths:
        pixels = cv2.imread(str(path))
        assert min(pixels.shape[:2]) >= 300
        assert pixels.std() > 1
    sheet = cv2.imread(str(paths[-1]))
    assert sheet.shape == (1680, 1680, 3)
    # The grey of the pictures fills one tile, or all of them.
    grey = (np.abs(sheet.astype(int) - 200).max(axis=2) < 6).mean()
    assert grey > 0.25 if count > 16 else 0.01 < grey < 0.06


def test_an_image_that_has_gone(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    dataset = training_set(tmp_path, 1)
    dataset.images[0].path.write_bytes(b"x")
    with pytest.raises(DatasetError, match="cannot be decoded any more"):
        plot_dataset(dataset, tmp_path / "plots")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[train\]"):
        plot_dataset(training_set(tmp_path, 1), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
