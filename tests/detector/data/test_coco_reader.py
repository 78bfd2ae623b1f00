"""COCO annotation files as training data, one or several."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.data.read import read_training_set
from detector.data.report import Kind
from pipeline.core.errors import DatasetError


def picture(path: Path, height: int = 40, width: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def document(name: str = "a.png", image_id: int = 7) -> dict[str, Any]:
    return {
        "images": [{"id": image_id, "file_name": name, "height": 40, "width": 80}],
        "categories": [{"id": 90, "name": "eel"}, {"id": 2, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": image_id, "category_id": 90, "bbox": [10, 10, 20, 5], "area": 60}],
    }


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_classes_by_rising_id_and_what_an_annotation_may_say(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    content = document()
    content["images"][0]["not_exhaustive_category_ids"] = [2]
    content["annotations"] += [
        {"id": 2, "image_id": 7, "category_id": 2, "bbox": [0, 0, 8, 4], "iscrowd": 1, "segmentation": {"counts": "x"}},
        {"id": 3, "image_id": 7, "category_id": 90, "bbox": [1, 0, 8, 4], "ignore": 1},
        {
            "id": 4,
            "image_id": 7,
            "category_id": 2,
            "bbox": [40, 0, 20, 10],
            "segmentation": [[40, 0, 60, 0, 60, 10], [41, 1, 42, 1, 42, 2]],
        },
    ]
    dataset, report = read_training_set(write(tmp_path / "annotations" / "x.json", content), "train", cache=False)
    assert (dataset.class_names, dataset.category_ids) == (("cat", "eel"), (2, 90))
    (image,) = dataset.images
    assert image.xyxy.tolist() == [[10, 10, 30, 15], [40, 0, 60, 10]]
    assert image.class_id.tolist() == [1, 0]
    assert image.ignore_xyxy.tolist() == [[0, 0, 8, 4], [1, 0, 9, 4]]
    assert image.ignore_class_id.tolist() == [0, 1]
    assert image.unlabelled == {0}
    assert image.area.tolist() == [60, 200]
    assert [len(outline) for outline in image.outlines] == [0, 2]
    assert image.outlines[1][0].tolist() == [[40, 0], [60, 0], [60, 10]]
    assert (report.boxes, report.ignored, report.problems) == (2, 2, ())


def joined(tmp_path: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> Path:
    """Two files that share their categories; image and annotation ids clash."""
    picture(tmp_path / "one" / "images" / "a.png")
    picture(tmp_path / "two" / "pictures" / "deep" / "a.png")
    write(tmp_path / "one" / "annotations" / "x.json", document())
    second = document()
    change(second)
    write(tmp_path / "two" / "y.json", second)
    text = "path: .\ntrain:\n- one/annotations/x.json\n- {file: two/y.json, images: two/pictures/deep}\n"
    return write(tmp_path / "data.yaml", text)


def test_joining_files_whose_ids_clash(tmp_path: Path) -> None:
    dataset, report = read_training_set(joined(tmp_path), "train", cache=False)
    assert dataset.class_names == ("cat", "eel")
    assert [image.path.relative_to(tmp_path).as_posix() for image in dataset.images] == [
        "one/images/a.png",
        "two/pictures/deep/a.png",
    ]
    assert [len(image.xyxy) for image in dataset.images] == [1, 1]
    assert {p.kind for p in report.problems} == {Kind.EMPTY_CLASS}


def test_joined_files_must_agree_on_their_categories(tmp_path: Path) -> None:
    path = joined(tmp_path, lambda d: d["categories"][0].update(name="elk"))
    with pytest.raises(DatasetError, match="found others: id 90 is 'eel' there and 'elk' here"):
        read_training_set(path, "train", cache=False)


@pytest.mark.parametrize(("names", "good"), [("[cat, eel]", True), ("[eel, cat]", False)])
def test_names_beside_a_coco_file_must_be_its_categories(tmp_path: Path, names: str, good: bool) -> None:
    path = joined(tmp_path)
    path.write_text(path.read_text() + f"names: {names}\n")
    if good:
        assert read_training_set(path, "train", cache=False)[0].class_names == ("cat", "eel")
        return
    with pytest.raises(DatasetError, match=r"by rising id \(cat, eel\), found eel, cat"):
        read_training_set(path, "train", cache=False)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (lambda d: d.update(category_id=3), Kind.UNKNOWN_CLASS, "annotation 5: its category 3"),
        (lambda d: d.update(category_id=[2]), Kind.UNKNOWN_CLASS, "its category"),
        (lambda d: d.update(image_id=3), Kind.UNKNOWN_IMAGE, "annotation 5: its image 3"),
        (lambda d: d.update(image_id={}), Kind.UNKNOWN_IMAGE, "its image {}"),
        (lambda d: d.update(bbox=[1, 2, 3]), Kind.COLUMNS, "wanted a bbox of left, top, width, height"),
        (lambda d: d.update(bbox=None), Kind.COLUMNS, "found None"),
        (lambda d: d.update(bbox=[1, 2, 3, "4"]), Kind.NOT_A_NUMBER, "finite numbers"),
        (lambda d: d.update(bbox=[1, 2, 3, float("nan")]), Kind.NOT_A_NUMBER, "finite numbers"),
        (lambda d: d.update(bbox=[1, 2, 3, 10**400]), Kind.NOT_A_NUMBER, "finite numbers"),
        (lambda d: d.update(bbox=[1, 2, 0, 4]), Kind.NO_AREA, "annotation 5: 0 x 4 px"),
        (lambda d: d.update(bbox=[1, 2, 4, -4]), Kind.NO_AREA, "4 x -4 px"),
        (lambda d: d.update(bbox=[80, 2, 4, 4]), Kind.OUTSIDE, "annotation 5: 80,2 to 84,6 px"),
        (lambda d: d.update(bbox=[70, 2, 20, 4]), Kind.CLIPPED, "annotation 5: reaches 10 px over"),
        (lambda d: d.update(bbox=[10, 10, 20, 5]), Kind.DUPLICATE_BOX, "annotation 5: the same box again"),
        (lambda d: d.update(segmentation={"size": [40, 80], "counts": "x"}), Kind.UNUSED_MASK, "1 masks are not"),
        (lambda d: d.update(segmentation=[[1, 2, 3]]), Kind.UNUSED_MASK, "their boxes are used"),
    ],
)
def test_annotations_with_a_fault(tmp_path: Path, change: Any, kind: Kind, text: str) -> None:
    picture(tmp_path / "a.png")
    content = document()
    record = {"id": 5, "image_id": 7, "category_id": 90, "bbox": [50, 20, 10, 10]}
    change(record)
    content["annotations"].append(record)
    path = write(tmp_path / "x.json", content)
    dataset, report = read_training_set(path, "train", cache=False)
    (problem,) = [p for p in report.problems if p.kind is not Kind.EMPTY_CLASS]
    assert problem.kind is kind
    assert text in str(problem)
    assert problem.file == path
    assert (dataset.images[0].xyxy <= (80, 40, 80, 40)).all()


@pytest.mark.parametrize(("size", "hint"), [((40, 79), False), ((80, 40), True)])
def test_an_image_of_another_size_is_left_out(tmp_path: Path, size: tuple[int, int], hint: bool) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png", *size)
    content = document()
    content["images"].append({"id": 8, "file_name": "b.png", "height": 40, "width": 80})
    dataset, report = read_training_set(write(tmp_path / "x.json", content), "train", cache=False)
    (problem,) = report.bad
    assert problem.kind is Kind.SIZE_MISMATCH
    assert f"wanted b.png of 80 x 40 px, found {size[1]} x {size[0]}" in problem.text
    assert ("EXIF" in problem.text) is hint
    assert len(dataset.images) == 1


def test_the_first_image_may_be_missing(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "b.png")
    content = document()
    content["images"].append({"id": 8, "file_name": "b.png", "height": 40, "width": 80})
    content["annotations"][0]["image_id"] = 8
    _, report = read_training_set(write(tmp_path / "x.json", content), "train", cache=False)
    assert [p.kind for p in report.bad] == [Kind.MISSING_IMAGE]
    assert report.images == 1


def test_images_of_the_split_that_the_file_is_named_after(tmp_path: Path) -> None:
    for split in ("test", "train", "val"):
        picture(tmp_path / "images" / split / "a.png")
    path = write(tmp_path / "annotations" / "instances_train.json", document())
    dataset, _ = read_training_set(path, "train", cache=False)
    assert dataset.images[0].path.parent.name == "train"


def test_an_image_id_that_stands_twice(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    content = document()
    content["images"].append({"id": 7, "file_name": "b.png", "height": 40, "width": 80})
    _, report = read_training_set(write(tmp_path / "x.json", content), "train", cache=False)
    assert "image id 7 stands twice; the second, 'b.png', is left out" in report.bad[0].text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("images"), "wanted COCO annotations with a list 'images'"),
        (lambda d: d["images"].clear(), "wanted at least one image"),
        (lambda d: d["categories"].clear(), "wanted at least one category"),
        (lambda d: d["categories"][0].update(id="x"), "wanted whole numbers as category ids, found 'x'"),
        (lambda d: d["categories"][0].update(id=2), "wanted each category id once"),
        (lambda d: d["images"][0].update(file_name="c.png"), r"wanted the image 'c\.png' beside the file"),
        (
            lambda d: d["images"][0].update(not_exhaustive_category_ids=[5]),
            r"list of category ids \(2, 90\), found \[5\]",
        ),
        (lambda d: d["images"][0].update(not_exhaustive_category_ids=2), "list of category ids"),
    ],
)
def test_files_that_cannot_work(tmp_path: Path, change: Any, message: str) -> None:
    picture(tmp_path / "a.png")
    content = document()
    change(content)
    with pytest.raises(DatasetError, match=message) as caught:
        read_training_set(write(tmp_path / "x.json", content), "train", cache=False)
    assert "\n" not in str(caught.value)
