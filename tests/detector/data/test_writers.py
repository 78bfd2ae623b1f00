"""Data sets written in YOLO's and COCO's formats, and read back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data.output_folder import check_output_folder, clear_output_folder, write_manifest
from detector.data.place_images import place_images, placed_names
from detector.data.read import examine
from detector.data.read_all_splits import read_all_splits
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_coco import write_coco
from detector.data.write_yolo import data_yaml_text, label_text, write_yolo
from pipeline.core.errors import DatasetError, UsageError
from pipeline.core.whole_file import write_whole
from pipeline.evaluation.coco_dataset import read_coco

NAMES = ("person", "car", "größe: x")


def _picture(path: Path, seed: int, height: int = 40, width: int = 60) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def _image(path: Path, boxes: list[list[float]], classes: list[int], **more: object) -> TrainingImage:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return TrainingImage(path, (40, 60), xyxy, np.array(classes, np.int64), **more)  # type: ignore[arg-type]


def _set(*images: TrainingImage, numbers: tuple[int, ...] = (1, 3, 8)) -> TrainingSet:
    return TrainingSet(Path("from.json"), NAMES, images, numbers)


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, TrainingSet]:
    outline = (np.array([[1, 1], [9, 1], [9, 9]], np.float32),)
    first = _image(
        _picture(tmp_path / "a" / "one.png", 1),
        [[1, 1, 9, 9], [10.5, 5, 60, 40]],
        [0, 2],
        ignore_xyxy=np.array([[20, 20, 30, 35]], np.float32),
        ignore_class_id=np.array([1], np.int64),
        unlabelled=frozenset({1}),
        outlines=(outline, ()),
        area=np.array([32, 1732.5], np.float32),
    )
    empty = _image(_picture(tmp_path / "a" / "two.png", 2), [], [])
    other = _image(_picture(tmp_path / "b" / "ONE.jpg", 3), [[0, 0, 60, 40]], [1])
    return {"train": _set(first, empty), "val": _set(other)}


def test_yolo_comes_back_as_it_was(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    path = write_yolo(sets, tmp_path / "out")
    assert path == tmp_path / "out" / "data.yaml"
    for split, expected in sets.items():
        found, report = examine(path, split, cache=False)
        assert not report.bad
        assert found.class_names == NAMES
        for image, was in zip(found.images, expected.images, strict=True):
            assert image.xyxy == pytest.approx(was.xyxy, abs=1e-3)
            assert image.class_id.tolist() == was.class_id.tolist()
            assert image.path.read_bytes() == was.path.read_bytes()
    assert (tmp_path / "out" / "labels" / "train" / "two.txt").read_text() == ""
    assert str(tmp_path) not in path.read_text()


def test_coco_comes_back_with_what_yolo_cannot_tell(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    paths = write_coco(sets, tmp_path / "out")
    assert [path.name for path in paths] == ["instances_train.json", "instances_val.json"]
    description = tmp_path / "out" / "read.yaml"
    description.write_text(
        "train: {file: annotations/instances_train.json, images: images/train}\n"
        "val: {file: annotations/instances_val.json, images: images/val}\n"
    )
    for split, expected in sets.items():
        found, report = examine(description, split, cache=False)
        assert not report.bad
        assert (found.class_names, found.category_ids) == (NAMES, (1, 3, 8))
        for image, was in zip(found.images, expected.images, strict=True):
            assert image.xyxy == pytest.approx(was.xyxy, abs=1e-2)
            assert image.ignore_xyxy == pytest.approx(was.ignore_xyxy, abs=1e-2)
            assert image.ignore_class_id.tolist() == was.ignore_class_id.tolist()
            assert image.unlabelled == was.unlabelled
            assert len(image.outlines) == len(was.outlines)
    labelled = read_coco(paths[0], tmp_path / "out" / "images" / "train")
    assert labelled.images[0].crowd.tolist() == [False, False, True]
    assert labelled.images[0].area.tolist() == [32.0, 1732.5, 150.0]


def test_coco_is_read_by_pycocotools(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    path, _ = write_coco(sets, tmp_path / "out")
    found = coco.COCO(str(path))
    assert len(found.getAnnIds(catIds=[1])) == 1
    assert len(found.getAnnIds(iscrowd=True)) == 1
    assert found.loadImgs([2])[0]["file_name"] == "two.png"


def test_both_formats_share_their_images(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    write_yolo(sets, folder)
    write_coco(sets, folder)
    images = sorted(str(path.relative_to(folder)) for path in (folder / "images").rglob("*.*"))
    assert images == ["images/train/one.png", "images/train/two.png", "images/val/ONE-2.jpg"]
    named = [i["file_name"] for i in json.loads((folder / "annotations/instances_val.json").read_text())["images"]]
    assert named == ["ONE-2.jpg"]


def test_names_that_would_share_a_label_file_differ(tmp_path: Path) -> None:
    paths = ["a/x.jpg", "a/x.png", "b/x.jpg", "b/X.jpg", "c/x-2.jpg"]
    images = [_image(tmp_path / path, [], []) for path in paths]
    assert placed_names({"train": _set(*images)}) == {"train": ["x.jpg", "x-2.png", "x-3.jpg", "X-4.jpg", "x-2-2.jpg"]}


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_images_are_linked_or_copied(mode: str, tmp_path: Path) -> None:
    picture = _picture(tmp_path / "a" / "x.png", 0)
    place_images({"train": _set(_image(picture, [], []))}, tmp_path / "out", mode=mode)  # type: ignore[arg-type]
    placed = tmp_path / "out" / "images" / "train" / "x.png"
    assert placed.read_bytes() == picture.read_bytes()
    assert placed.samefile(picture) == (mode == "link")


def test_where_there_are_no_links_images_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    picture = _picture(tmp_path / "a" / "x.png", 0)
    place_images({"train": _set(_image(picture, [], []))}, tmp_path / "out")
    assert not (tmp_path / "out" / "images" / "train" / "x.png").samefile(picture)


def test_what_cannot_be_written_is_told(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least one split"):
        write_yolo({}, tmp_path / "out")
    other = TrainingSet(Path("x"), ("person",), (), (1,))
    with pytest.raises(DatasetError, match="same classes"):
        write_coco({**sets, "test": other}, tmp_path / "out")
    with pytest.raises(UsageError, match="plain name"):
        write_yolo({"../train": sets["train"]}, tmp_path / "out")
    with pytest.raises(UsageError, match="'link' or 'copy'"):
        write_yolo(sets, tmp_path / "out", mode="move")  # type: ignore[arg-type]
    missing = _set(_image(tmp_path / "none.png", [], []))
    with pytest.raises(DatasetError, match=r"none\.png"):
        write_yolo({"train": missing}, tmp_path / "out")


def test_labels_are_fractions_within_the_image() -> None:
    image = _image(Path("x.png"), [[-5, 10, 30, 45]], [2])
    assert label_text(image) == "2 0.250000 0.625000 0.500000 0.750000\n"


def test_names_survive_yaml() -> None:
    names = ("yes", "1", "a: b", "größe")
    text = data_yaml_text(names, ("train",))
    path_free = [line for line in text.splitlines() if "/" in line]
    assert path_free == ["train: images/train"]
    assert "größe" in text
    import yaml

    assert yaml.safe_load(text)["names"] == dict(enumerate(names))


def test_only_our_own_data_set_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    check_output_folder(folder, exist_ok=False)
    (folder / "images").mkdir(parents=True)
    with pytest.raises(UsageError, match="--exist-ok"):
        check_output_folder(folder, exist_ok=False)
    with pytest.raises(UsageError, match="made by this program"):
        check_output_folder(folder, exist_ok=True)
    clear_output_folder(folder)
    assert (folder / "images").is_dir()
    write_manifest(folder, "split", {"pictures": []})
    (folder / "notes.txt").write_text("mine")
    check_output_folder(folder, exist_ok=True)
    clear_output_folder(folder)
    assert [entry.name for entry in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match="found a file"):
        check_output_folder(folder / "notes.txt", exist_ok=True)


def test_all_splits_are_read_as_one(sets: dict[str, TrainingSet], tmp_path: Path) -> None:
    path = write_yolo(sets, tmp_path / "out")
    whole, reports = read_all_splits(path)
    assert [image.path.name for image in whole.images] == ["one.png", "two.png", "ONE-2.jpg"]
    assert [report.split for report in reports] == ["train", "val"]
    path.write_text(path.read_text().replace("images/val", "images/train"))
    assert len(read_all_splits(path)[0].images) == 2


def test_a_data_set_without_a_usable_image_is_told(tmp_path: Path) -> None:
    bad = tmp_path / "images" / "train" / "x.png"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"no picture")
    write_whole(tmp_path / "labels" / "train" / "x.txt", "0 0.5 0.5 0.1 0.1\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [a]\n")
    with pytest.raises(DatasetError, match=r"found none; .*x\.png"):
        read_all_splits(tmp_path / "data.yaml")
