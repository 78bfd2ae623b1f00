"""Data sets written in another layout come back box for box."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data.convert import convert
from detector.data.read import read_training_set
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.errors import DatasetError, UsageError

NAMES = ("cat", "dog & <cat>", "größe")


def picture(path: Path, height: int = 48, width: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def image(path: Path, *, rich: bool = True) -> TrainingImage:
    xyxy = np.array([[0, 0, 64, 48], [3.25, 4.5, 20.75, 30], [40, 40, 41, 41.5]], np.float32)
    plain = TrainingImage(path, (48, 64), xyxy, np.array([2, 0, 1]))
    if not rich:
        return plain
    triangle = np.array([[3.25, 4.5], [20.75, 4.5], [20.75, 30]], np.float32)
    return TrainingImage(
        *(path, (48, 64), xyxy, np.array([2, 0, 1])),
        ignore_xyxy=np.array([[10, 10, 30, 20]], np.float32),
        ignore_class_id=np.array([1]),
        unlabelled=frozenset({1}),
        outlines=((), (triangle,), ()),
        area=np.array([3072, 223.125, 1.5], np.float32),
    )


def training_set(folder: Path, *, rich: bool = True, category_ids: tuple[int, ...] = (0, 1, 2)) -> TrainingSet:
    """Two images of the same name and one background."""
    images = (
        image(picture(folder / "one" / "a.png"), rich=rich),
        image(picture(folder / "two" / "a.png"), rich=rich),
        TrainingImage(
            picture(folder / "one" / "b b.jpg", 32, 32), (32, 32), np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        ),
    )
    return TrainingSet(folder / "data.yaml", NAMES, images, category_ids)


def assert_same_boxes(read: TrainingSet, written: TrainingSet) -> None:
    assert read.class_names == written.class_names
    assert len(read.images) == len(written.images)
    for new, old in zip(read.images, written.images, strict=True):
        assert new.shape_hw == old.shape_hw
        assert new.class_id.tolist() == old.class_id.tolist()
        assert np.allclose(new.xyxy, old.xyxy, rtol=0, atol=2e-2)
        assert (cv2.imread(str(new.path)) == cv2.imread(str(old.path))).all()


@pytest.mark.parametrize("to", ["yolo", "coco", "voc"])
def test_plain_boxes_survive_every_layout(tmp_path: Path, to: str) -> None:
    dataset = training_set(tmp_path / "in", rich=False)
    written = convert({"train": dataset, "val": dataset}, to, tmp_path / "out")  # type: ignore[arg-type]
    assert (written.images, written.boxes, written.losses) == (6, 12, ())
    for split in ("train", "val"):
        read, report = read_training_set(written.path, split, bad_items="stop", cache=False)
        assert report.problems == ()
        # A folder is read in the order of its names.
        read = TrainingSet(read.path, read.class_names, tuple(sorted(read.images, key=lambda i: len(i.xyxy) == 0)), ())
        assert_same_boxes(read, dataset)


def test_coco_keeps_everything(tmp_path: Path) -> None:
    dataset = training_set(tmp_path / "in", category_ids=(1, 5, 90))
    written = convert({"train": dataset}, "coco", tmp_path / "out")
    assert written.losses == ()
    read, report = read_training_set(written.path, "train", bad_items="stop", cache=False)
    assert report.problems == ()
    assert_same_boxes(read, dataset)
    assert read.category_ids == (1, 5, 90)
    for new, old in zip(read.images, dataset.images, strict=True):
        assert new.ignore_xyxy.tolist() == old.ignore_xyxy.tolist()
        assert new.ignore_class_id.tolist() == old.ignore_class_id.tolist()
        assert new.unlabelled == old.unlabelled
        assert [[ring.tolist() for ring in outline] for outline in new.outlines] == [
            [ring.tolist() for ring in outline] for outline in old.outlines
        ]
        assert np.allclose(new.area, old.area, atol=2e-2)
    # The .json alone will do, too.
    alone, _ = read_training_set(tmp_path / "out" / "annotations" / "instances_train.json", "train", cache=False)
    assert_same_boxes(alone, dataset)


def test_voc_keeps_ignored_places_as_difficult_objects(tmp_path: Path) -> None:
    dataset = training_set(tmp_path / "in")
    written = convert({"train": dataset}, "voc", tmp_path / "out")
    read, _ = read_training_set(written.path, "train", bad_items="stop", cache=False)
    assert_same_boxes(read, dataset)
    assert read.images[0].ignore_xyxy.tolist() == [[10, 10, 30, 20]]
    assert read.images[0].ignore_class_id.tolist() == [1]
    assert [loss.split(":")[0] for loss in written.losses] == ["the classes not looked for in 2 images", "2 outlines"]


def test_yolo_says_what_it_loses(tmp_path: Path) -> None:
    written = convert({"train": training_set(tmp_path / "in")}, "yolo", tmp_path / "out")
    assert [loss.split(":")[0] for loss in written.losses] == [
        "2 ignored places",
        "the classes not looked for in 2 images",
        "2 outlines",
    ]
    assert (tmp_path / "out" / "labels" / "train" / "a-2.txt").is_file()


fraction = st.floats(0, 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(fraction, fraction, fraction, fraction, st.integers(0, 2)), min_size=1, max_size=8))
def test_any_boxes_survive_every_layout(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float, float, int]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    size = np.array([64, 48, 64, 48])
    corners = np.array([row[:4] for row in rows])
    xyxy = np.concatenate([np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1)
    # Boxes of a pixel at least: what is smaller than the decimals of a format has no area there.
    xyxy[:, 2:] = np.minimum(xyxy[:, 2:] + 0.05, 1)
    xyxy[:, :2] = np.minimum(xyxy[:, :2], 0.95)
    boxes, first = np.unique((xyxy * size).astype(np.float32).round(1), axis=0, return_index=True)
    class_id = np.array([row[4] for row in rows])[first]
    old = TrainingImage(picture(folder / "in" / "a.png"), (48, 64), boxes, class_id)
    dataset = TrainingSet(folder / "in" / "x.json", NAMES, (old,), (0, 1, 2))
    for to in ("yolo", "coco", "voc"):
        written = convert({"train": dataset}, to, folder / to)  # type: ignore[arg-type]
        assert_same_boxes(read_training_set(written.path, "train", bad_items="stop", cache=False)[0], dataset)


@pytest.mark.parametrize(("mode", "linked"), [("link", True), ("copy", False)])
@pytest.mark.parametrize(("to", "below"), [("yolo", "images/train"), ("coco", "images/train"), ("voc", "JPEGImages")])
def test_how_images_are_placed(tmp_path: Path, mode: str, linked: bool, to: str, below: str) -> None:
    dataset = training_set(tmp_path / "in")
    convert({"train": dataset}, to, tmp_path / "out", mode=mode)  # type: ignore[arg-type]
    new = tmp_path / "out" / below / "a.png"
    assert new.samefile(dataset.images[0].path) is linked
    assert new.read_bytes() == dataset.images[0].path.read_bytes()


def test_nothing_of_the_users_is_overwritten(tmp_path: Path) -> None:
    dataset = training_set(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "x").touch()
    for exist_ok in (False, True):
        with pytest.raises(UsageError, match="name another"):
            convert({"train": dataset}, "yolo", tmp_path / "out", exist_ok=exist_ok)
    new = tmp_path / "new"
    for to in ("voc", "coco", "yolo"):
        convert({"train": dataset}, to, new, exist_ok=True)  # type: ignore[arg-type]
    assert sorted(entry.name for entry in new.iterdir()) == ["data.yaml", "images", "labels", "manifest.json"]
    with pytest.raises(UsageError, match="wanted a new or empty folder"):
        convert({"train": dataset}, "yolo", new)
    read, _ = read_training_set(new / "data.yaml", "train", cache=False)
    with pytest.raises(UsageError, match="wanted a folder apart from the data set"):
        convert({"train": read}, "coco", new, exist_ok=True)
    assert all(image.path.is_file() for image in (*dataset.images, *read.images))


def test_splits_must_agree(tmp_path: Path) -> None:
    one = training_set(tmp_path / "in")
    other = TrainingSet(one.path, ("a", "b", "c"), one.images, one.category_ids)
    with pytest.raises(DatasetError, match="wanted the same classes in all splits"):
        convert({"train": one, "val": other}, "voc", tmp_path / "out")
    with pytest.raises(DatasetError):
        convert({}, "coco", tmp_path / "empty")
