"""Reading COCO and YOLO labels, and telling what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.core.errors import DatasetError
from pipeline.evaluation.coco_dataset import read_coco
from pipeline.evaluation.yolo_dataset import labels_path, read_labels, read_yolo


def coco_document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 3, "file_name": "b.jpg", "height": 40, "width": 60},
            {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6},
        ],
        "categories": [{"id": 90, "name": "eel"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 5, "iscrowd": 1},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [1.5, 2, 3, 4]},
        ],
    }


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_coco_labels(tmp_path: Path) -> None:
    dataset = read_coco(write(tmp_path / "x.json", coco_document()), images_dir=tmp_path)
    assert dataset.class_names == ("cat", "eel")
    assert dataset.category_ids == (2, 90)
    first, second = dataset.images
    assert (first.image_id, first.path, first.shape_hw, len(first.ltwh)) == (1, tmp_path / "a.jpg", (4, 6), 0)
    assert second.ltwh.tolist() == [[1, 2, 3, 4], [1.5, 2, 3, 4]]
    assert second.class_id.tolist() == [1, 0]
    assert second.area.tolist() == [5, 12]
    assert second.crowd.tolist() == [True, False]


@pytest.mark.parametrize("folder", ["annotations", "", "annotations/images", "val2017", "images"])
def test_coco_images_are_found_near_the_file(tmp_path: Path, folder: str) -> None:
    path = write(tmp_path / "annotations" / "x.json", coco_document())
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "a.jpg").touch()
    assert read_coco(path).images[0].path == tmp_path / folder / "a.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.pop("categories"),
            "wanted COCO annotations with a list 'categories', found keys: images, annotations",
        ),
        (lambda d: d["images"].clear(), "wanted at least one image"),
        (lambda d: d["images"][0].pop("width"), r"images\[0\]: wanted id, file_name, height, width; missing: width"),
        (lambda d: d["annotations"][0].update(category_id=4), "annotation 1: its category 4 is not among"),
        (lambda d: d["annotations"][0].update(image_id=4), "annotation 1: its image 4 is not among"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2]), "annotation 1: wanted a bbox of four numbers"),
        (lambda d: d["categories"].append({"id": 2, "name": "x"}), "wanted each category id once"),
    ],
)
def test_coco_mistakes(tmp_path: Path, change: Any, message: str) -> None:
    document = coco_document()
    change(document)
    with pytest.raises(DatasetError, match=message):
        read_coco(write(tmp_path / "x.json", document), images_dir=tmp_path)


def test_coco_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wanted a COCO annotation file; No such file"):
        read_coco(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(DatasetError, match="wanted COCO annotations in JSON"):
        read_coco(tmp_path / "text.json")
    with pytest.raises(DatasetError, match="found a JSON list"):
        read_coco(write(tmp_path / "list.json", []))
    with pytest.raises(DatasetError, match=r"wanted the image 'a\.jpg' beside the file"):
        read_coco(write(tmp_path / "deep" / "x.json", coco_document()))


def make_yolo(root: Path, yaml_text: str, labels: str | None = "1 0.5 0.5 0.5 0.25\n") -> Path:
    (root / "images" / "val").mkdir(parents=True)
    (root / "labels" / "val").mkdir(parents=True)
    cv2.imwrite(str(root / "images" / "val" / "a.png"), np.zeros((40, 80, 3), np.uint8))
    if labels is not None:
        (root / "labels" / "val" / "a.txt").write_text(labels)
    (root / "data.yaml").write_text(yaml_text)
    return root / "data.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, dog]\nval: images/val\n",
        "names: {0: cat, 1: dog}\nnc: 2\npath: .\nval: [images/val]\n",
        "names: [cat, dog]\nval: list.txt\n",
    ],
)
def test_yolo_labels(tmp_path: Path, text: str) -> None:
    path = make_yolo(tmp_path, text)
    (tmp_path / "list.txt").write_text("images/val/a.png\n\n")
    dataset = read_yolo(path)
    assert dataset.class_names == ("cat", "dog")
    (image,) = dataset.images
    assert image.shape_hw == (40, 80)
    assert image.ltwh.tolist() == [[20, 15, 40, 10]]
    assert image.class_id.tolist() == [1]
    assert image.area.tolist() == [400]


def test_yolo_image_without_labels(tmp_path: Path) -> None:
    (image,) = read_yolo(make_yolo(tmp_path, "names: [cat]\nval: images/val\n", labels=None)).images
    assert image.ltwh.shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat]\ntrain: images/val\n", "wanted the split 'val', found: train"),
        ("val: images/val\n", "wanted `names`"),
        ("names: {0: cat, 2: dog}\nval: images/val\n", r"names: wanted the numbers 0 to 1, found \[0, 2\]"),
        ("names: [cat]\nnc: 3\nval: images/val\n", "nc is 3, but there are 1 names"),
        ("names: [cat]\nval: nowhere\n", "wanted a folder of images or a .txt list"),
        ("names: [cat]\nval: labels\n", "wanted images in .*labels, found none"),
        ("names: [cat]\nval: images/val\n", "wanted a class from 0 to 0, found 1"),
        ("- a\n", "wanted a mapping"),
        ("names: [cat\n", "wanted YAML"),
    ],
)
def test_yolo_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_yolo(make_yolo(tmp_path, text))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", "wanted five numbers .* found 4"),
        ("0 a 0.5 0.1 0.1", "wanted five numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "wanted a class from 0 to 1, found 0.5"),
        ("-1 0.5 0.5 0.1 0.1", "wanted a class from 0 to 1, found -1"),
        ("0 1.5 0.5 0.1 0.1", "wanted fractions of the image"),
        ("0 nan 0.5 0.1 0.1", "wanted fractions of the image"),
    ],
)
def test_yolo_label_mistakes(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 1 1\n{line}\n")
    with pytest.raises(DatasetError, match=rf"a\.txt:2: {message}"):
        read_labels(tmp_path / "a.txt", 2)


def test_an_image_that_is_none(tmp_path: Path) -> None:
    path = make_yolo(tmp_path, "names: [cat, dog]\nval: images/val\n")
    (tmp_path / "images" / "val" / "a.png").write_bytes(b"x")
    with pytest.raises(DatasetError, match="found a file that cannot be decoded"):
        read_yolo(path)


@pytest.mark.parametrize(
    ("image", "labels"),
    [
        ("/a/images/val/x.jpg", "/a/labels/val/x.txt"),
        ("/images/b/images/x.jpg", "/images/b/labels/x.txt"),
        ("/a/x.y.png", "/a/x.y.txt"),
    ],
)
def test_where_labels_are(image: str, labels: str) -> None:
    assert labels_path(Path(image)) == Path(labels)
