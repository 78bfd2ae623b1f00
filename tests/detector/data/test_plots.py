"""Pictures of a data set."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.data.chart import chart_names
from detector.data.plots import plot_dataset, plot_labels, plot_samples
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.errors import DatasetError, MissingExtraError

HARD_NAMES = ("_hidden", "$x^{", "血小板", "two\nlines", "", "a name that is much too long for any chart", "%s {0}")
SHOWN_NAMES = ["_hidden", r"\$x^{", "class 2", "class 3", "class 4", "a name that is much too…", "%s {0}"]


def class_names(n: int) -> list[str]:
    return [*HARD_NAMES, *(f"class of number {k}" for k in range(len(HARD_NAMES), n))][:n]


def made_set(n_classes: int, n_images: int, boxes: int) -> TrainingSet:
    rng = np.random.default_rng(1)
    images = []
    for _ in range(n_images):
        left_top = rng.random((boxes, 2)) * (300, 200)
        size = rng.random((boxes, 2)) * (300, 200)
        xyxy = np.concatenate([left_top, left_top + size], axis=1).astype(np.float32)
        images.append(TrainingImage(Path("x.jpg"), (400, 600), xyxy, rng.integers(0, n_classes, boxes)))
    return TrainingSet(Path("set.yaml"), tuple(class_names(n_classes)), tuple(images), tuple(range(n_classes)))


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
def test_the_pictures_of_a_data_set(tmp_path: Path, count: int) -> None:
    pytest.importorskip("matplotlib")
    paths = plot_dataset(training_set(tmp_path, count), tmp_path / "plots")
    assert [path.name for path in paths] == ["labels.png", "samples.jpg"]
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
    dataset.images[0].path.unlink()
    with pytest.raises(DatasetError, match=r"0\.png: wanted an image, found: No such file"):
        plot_dataset(dataset, tmp_path / "plots")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[train\]"):
        plot_dataset(training_set(tmp_path, 1), tmp_path / "plots")
    assert not (tmp_path / "plots").exists()


@pytest.mark.parametrize("n", [1, 7, 12, 13, 80])
def test_labels(figure_of: Callable[..., Any], n: int) -> None:
    made = made_set(n, 20, 7)
    figure = figure_of(plot_labels, made)
    assert figure.get_suptitle() == "20 pictures, 140 boxes"
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    wanted = np.bincount(np.concatenate([image.class_id for image in made.images]), minlength=n)
    assert bars == wanted.tolist()
    for texts in (figure.axes[0].get_xticklabels(), figure.axes[0].texts):
        boxes = [text.get_window_extent().padded(-1) for text in texts]
        assert not any(before.overlaps(after) for before, after in pairwise(boxes))
    for axes in figure.axes[1:3]:
        assert axes.collections[0].get_array().sum() == 140


def test_labels_say_what_they_do_not_tell(figure_of: Callable[..., Any]) -> None:
    image = TrainingImage(
        Path("x.jpg"),
        (10, 10),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        ignore_xyxy=np.array([[0, 0, 5, 5]], np.float32),
        ignore_class_id=np.array([0]),
        unlabelled=frozenset({0}),
    )
    figure = figure_of(plot_labels, TrainingSet(Path("x"), ("a",), (image,), (1,)))
    assert figure.get_suptitle() == (
        "1 pictures, 0 boxes, 1 pictures without boxes, 1 ignored places, 1 pictures not labelled for every class"
    )


def test_labels_of_an_empty_set(figure_of: Callable[..., Any]) -> None:
    figure = figure_of(plot_labels, made_set(2, 0, 0))
    assert [axes.texts[0].get_text() for axes in figure.axes[1:]] == ["no boxes", "no boxes", "no pictures"]


def test_a_box_of_no_size_counts(figure_of: Callable[..., Any]) -> None:
    image = TrainingImage(Path("x.jpg"), (10, 10), np.array([[2, 2, 2, 2]], np.float32), np.zeros(1, np.int64))
    figure = figure_of(plot_labels, TrainingSet(Path("x"), ("a",), (image,), (1,)))
    assert figure.axes[2].collections[0].get_array().sum() == 1


def test_names_that_a_chart_cannot_write() -> None:
    pytest.importorskip("matplotlib")
    assert chart_names(HARD_NAMES) == SHOWN_NAMES


def test_samples_of_any_names(tmp_path: Path, figure_of: Callable[..., Any]) -> None:
    files = [f"{k} {name}".replace("\n", " ")[:60] + ".png" for k, name in enumerate(HARD_NAMES)]
    images = []
    (tmp_path.parent / "images").mkdir(exist_ok=True)
    for number, file in enumerate(files):
        path = tmp_path.parent / "images" / file
        cv2.imencode(".png", np.full((60, 90, 3), 200, np.uint8))[1].tofile(path)
        images.append(TrainingImage(path, (60, 90), np.array([[10, 30, 40, 50]], np.float32), np.array([number])))
    figure = figure_of(plot_samples, TrainingSet(Path("x"), HARD_NAMES, tuple(images), tuple(range(7))))
    assert [axes.texts[0].get_text() for axes in figure.axes[:7]] == SHOWN_NAMES
    assert figure.axes[2].get_title() == "image 3"
    assert figure.axes[5].get_title() == "5 a name that is much t…"
