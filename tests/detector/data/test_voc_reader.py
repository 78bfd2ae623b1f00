"""Data sets in Pascal VOC's layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data.read import read_training_set, split_names
from detector.data.report import Kind
from pipeline.core.errors import DatasetError


def item(name: str, corners: tuple[object, ...] = (11, 6, 30, 20), difficult: str = "") -> str:
    tags = "".join(
        f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name>{difficult}<bndbox>{tags}</bndbox></object>"


def make(root: Path, objects: dict[str, str], size: tuple[int, int] = (80, 40)) -> Path:
    """One 80 x 40 image per text of objects, all in the split `train`."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, text in objects.items():
        cv2.imwrite(str(root / "JPEGImages" / f"{name}.jpg"), np.full((40, 80, 3), 90, np.uint8))
        head = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{head}{text}</annotation>")
    (root / "ImageSets" / "Main" / "train.txt").write_text("".join(f"{name}\n" for name in objects))
    return root


def test_a_folder_in_the_layout(tmp_path: Path) -> None:
    root = make(tmp_path, {"b": item("dog"), "a": item("cat", difficult="<difficult>1</difficult>") + item("dog")})
    dataset, report = read_training_set(root, "train", cache=False)
    assert dataset.class_names == ("cat", "dog")
    assert [image.path.name for image in dataset.images] == ["b.jpg", "a.jpg"]
    # Pixels count from 1: the pixels 11 to 30 reach from 10 to 30.
    assert dataset.images[0].xyxy.tolist() == [[10, 5, 30, 20]]
    assert dataset.images[1].ignore_xyxy.tolist() == [[10, 5, 30, 20]]
    assert dataset.images[1].ignore_class_id.tolist() == [0]
    assert report.ignored == 1
    assert split_names(root) == ("train",)


@pytest.mark.parametrize(
    "text",
    [
        "format: voc\ntrain: ImageSets/Main/train.txt\nnames: [dog, cat]\n",
        "format: voc\ntrain: JPEGImages\nnames: [dog, cat]\n",
        "format: voc\ntrain: JPEGImages\nlabels: Annotations\nnames: [dog, cat]\n",
    ],
)
def test_a_data_yaml_can_order_the_classes(tmp_path: Path, text: str) -> None:
    make(tmp_path, {"a": item("dog")})
    (tmp_path / "data.yaml").write_text(text)
    dataset, _ = read_training_set(tmp_path / "data.yaml", "train", cache=False)
    assert dataset.class_names == ("dog", "cat")
    assert dataset.images[0].class_id.tolist() == [0]


def test_every_split_numbers_the_classes_alike(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": item("dog"), "b": item("cat")})
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\n")
    (root / "ImageSets" / "Main" / "val.txt").write_text("b\n")
    for split, class_id in (("train", 1), ("val", 0)):
        dataset, _ = read_training_set(root, split, cache=False)
        assert dataset.class_names == ("cat", "dog")
        assert dataset.images[0].class_id.tolist() == [class_id]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (item("dig"), Kind.UNKNOWN_CLASS, "object 2: wanted a class of dog; found 'dig'; did you mean 'dog'?"),
        ("<object><name>dog</name></object>", Kind.COLUMNS, "object 2: wanted a name and a bndbox"),
        (item("dog", ("a", 1, 2, 3)), Kind.NOT_A_NUMBER, "wanted numbers"),
        (item("dog", ("nan", 1, 2, 3)), Kind.NOT_A_NUMBER, "wanted finite numbers"),
        (item("dog", (5, 9, 5, 9)), Kind.NO_AREA, "object 2: from 5,9 to 5,9"),
        (item("dog", (5, 9, 5, 7)), Kind.NO_AREA, "object 2: 1 x -1 px"),
        (item("dog", (95, 5, 99, 9)), Kind.OUTSIDE, "object 2: 94,4 to 99,9 px"),
        (item("dog", (75, 5, 99, 9)), Kind.CLIPPED, "object 2: reaches 19 px over"),
    ],
)
def test_objects_with_a_fault(tmp_path: Path, text: str, kind: Kind, words: str) -> None:
    make(tmp_path, {"a": item("dog") + text})
    (tmp_path / "data.yaml").write_text("format: voc\ntrain: ImageSets/Main/train.txt\nnames: [dog]\n")
    _, report = read_training_set(tmp_path / "data.yaml", "train", cache=False)
    (problem,) = report.problems
    assert (problem.kind, problem.file.name) == (kind, "a.xml")
    assert words in problem.text


def test_one_pixel_wide(tmp_path: Path) -> None:
    dataset, report = read_training_set(make(tmp_path, {"a": item("dog", (5, 5, 5, 9))}), "train", cache=False)
    assert report.problems == ()
    assert dataset.images[0].xyxy.tolist() == [[4, 4, 5, 9]]


def test_pixels_counted_from_zero_are_no_problem(tmp_path: Path) -> None:
    dataset, report = read_training_set(make(tmp_path, {"a": item("dog", (0, 0, 79, 39))}), "train", cache=False)
    assert report.problems == ()
    assert dataset.images[0].xyxy.tolist() == [[0, 0, 79, 39]]


@pytest.mark.parametrize("text", ["", "not xml", "<annotation>", '<?xml version="1.0" encoding="nonsense"?><a/>'])
def test_labels_that_are_no_xml_cost_the_image(tmp_path: Path, text: str) -> None:
    root = make(tmp_path, {"a": item("dog"), "b": ""})
    (root / "Annotations" / "b.xml").write_text(text)
    _, report = read_training_set(root, "train", cache=False)
    assert [p.kind for p in report.problems] == [Kind.UNREADABLE_LABELS]
    assert (report.images, report.background) == (1, 0)


@pytest.mark.parametrize(("size", "bad"), [((80, 40), 0), ((0, 0), 0), ((81, 40), 1)])
def test_the_recorded_size(tmp_path: Path, size: tuple[int, int], bad: int) -> None:
    root = make(tmp_path, {"a": item("dog")})
    make(tmp_path, {"b": item("dog")}, size)
    (root / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    _, report = read_training_set(root, "train", cache=False)
    assert [p.kind for p in report.bad] == [Kind.SIZE_MISMATCH] * bad


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": item("dog"), "b": item("dog")})
    (root / "JPEGImages" / "b.jpg").unlink()
    _, report = read_training_set(root, "train", cache=False)
    assert [(p.kind, p.line) for p in report.bad] == [(Kind.MISSING_IMAGE, 2)]


def test_layouts_that_cannot_work(tmp_path: Path) -> None:
    root = make(tmp_path, {"a": ""})
    with pytest.raises(DatasetError, match="found no object in any"):
        read_training_set(root, "train", cache=False)
    with pytest.raises(DatasetError, match=r"wanted the split 'val' in .*, found: train"):
        read_training_set(root, "val", cache=False)
    (root / "ImageSets" / "Main" / "train.txt").unlink()
    with pytest.raises(DatasetError, match="wanted train, val, test lists in ImageSets/Main, found none"):
        split_names(root)
