"""Data sets in YOLO's layout: what is read, what is told, what stops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data.read import examine, read_training_set
from detector.data.report import Kind, Report
from detector.data.training_set import TrainingSet
from detector.data.yolo_labels import labels_path
from pipeline.core.errors import DatasetError, UsageError

GOOD = "1 0.5 0.5 0.5 0.25\n"


def picture(path: Path, height: int = 40, width: int = 80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def make(root: Path, labels: dict[str, str | None], text: str = "names: [cat, dog]\ntrain: images/train\n") -> Path:
    """One 80 x 40 image per label text; None: no label file."""
    for name, rows in labels.items():
        picture(root / "images" / "train" / f"{name}.png")
        if rows is not None:
            file = root / "labels" / "train" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(rows)
    (root / "data.yaml").write_text(text)
    return root / "data.yaml"


def read(path: Path) -> tuple[TrainingSet, Report]:
    return read_training_set(path, "train", cache=False)


def kinds(report: Report) -> list[tuple[Kind, int | None]]:
    return [(p.kind, p.line) for p in report.problems if p.kind is not Kind.EMPTY_CLASS]


@pytest.mark.parametrize(
    "text",
    [
        "names: [cat, dog]\ntrain: images/train\n",
        "names: {1: dog, 0: cat}\nnc: 2\npath: .\ntrain: [images/train]\nformat: yolo\n",
        "names: [cat, dog]\ntrain: list.txt\n",
        "names: [cat, dog]\ntrain: lists/from_root.txt\n",
        "names: [cat, dog]\ntrain: lists/stems.txt\nimages: images/train\nlabels: labels/train\n",
        "names: [cat, dog]\ntrain: {file: lists/stems.txt, images: images/train, labels: labels/train}\n",
        "names: [cat, dog]\ntrain: images\nlabels: labels\n",
    ],
)
def test_ways_to_say_the_same(tmp_path: Path, text: str) -> None:
    path = make(tmp_path, {"a": GOOD}, text)
    (tmp_path / "lists").mkdir()
    (tmp_path / "list.txt").write_text("\n./images/train/a.png\n\n")
    (tmp_path / "lists" / "from_root.txt").write_text("images/train/a.png\n")
    (tmp_path / "lists" / "stems.txt").write_text("a\n")
    dataset, report = read(path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.category_ids == (0, 1)
    (image,) = dataset.images
    assert image.path == tmp_path / "images" / "train" / "a.png"
    assert image.shape_hw == (40, 80)
    assert image.xyxy.tolist() == [[20, 15, 60, 25]]
    assert image.class_id.tolist() == [1]
    assert (image.xyxy.dtype, image.class_id.dtype) == (np.float32, np.int64)
    assert kinds(report) == []


def test_the_path_key_moves_the_root(tmp_path: Path) -> None:
    make(tmp_path / "data", {"a": GOOD})
    (tmp_path / "yaml").mkdir()
    path = tmp_path / "yaml" / "data.yaml"
    path.write_text("path: ../data\nnames: [cat, dog]\ntrain: images/train\n")
    assert read(path)[0].images[0].path == tmp_path / "data" / "images" / "train" / "a.png"


def test_outlines(tmp_path: Path) -> None:
    rows = "0 0.25 0.25 0.75 0.25 0.75 0.75\n" + GOOD
    (image,) = read(make(tmp_path, {"a": rows}))[0].images
    assert image.xyxy.tolist() == [[20, 10, 60, 30], [20, 15, 60, 25]]
    triangle, none = image.outlines
    assert triangle[0].tolist() == [[20, 10], [60, 10], [60, 30]]
    assert triangle[0].dtype == np.float32
    assert none == ()
    assert image.area.tolist() == [400, 400]


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        ("0 0.5 0.5 0.1", Kind.COLUMNS, "found 4 columns"),
        ("0 0.5 0.5 0.1 0.1 0.9", Kind.COLUMNS, "found 6 columns"),
        ("0 0.5 0.5 0.1 0.1 0.9 0.9 0.9", Kind.COLUMNS, "found 8 columns"),
        ("0 x 0.5 0.1 0.1", Kind.NOT_A_NUMBER, "wanted numbers, found '0 x 0.5"),
        ("0 nan 0.5 0.1 0.1", Kind.NOT_A_NUMBER, "finite"),
        ("0 0.5 inf 0.1 0.1", Kind.NOT_A_NUMBER, "finite"),
        ("0 0.5 0.5 1e300 0.1", Kind.NOT_A_NUMBER, "finite"),
        ("2 0.5 0.5 0.1 0.1", Kind.UNKNOWN_CLASS, "wanted a class from 0 to 1, found 2"),
        ("-1 0.5 0.5 0.1 0.1", Kind.UNKNOWN_CLASS, "found -1"),
        ("0.5 0.5 0.5 0.1 0.1", Kind.UNKNOWN_CLASS, "found 0.5"),
        ("0 1.5 0.5 0.1 0.1", Kind.OUTSIDE, "116,18 to 124,22 px in an image of 80 x 40"),
        ("0 32 20 10 10", Kind.OUTSIDE, "are these pixels?"),
        ("0 0.5 0.5 0 0.1", Kind.NO_AREA, "0 x 4 px"),
        ("0 0.5 0.5 0.1 -0.1", Kind.NO_AREA, "8 x -4 px"),
        ("0 0.2 0.2 0.4 0.4 0.8 0.8 ", None, ""),
    ],
)
def test_rows_that_are_left_out(tmp_path: Path, row: str, kind: Kind | None, text: str) -> None:
    dataset, report = read(make(tmp_path, {"a": f"{GOOD}\n{row}\n"}))
    if kind is None:
        assert report.boxes == 2
        return
    assert kinds(report) == [(kind, 3)]
    problem = report.problems[0]
    assert problem.file == tmp_path / "labels" / "train" / "a.txt"
    assert text in str(problem)
    assert "\n" not in str(problem)
    assert report.bad[0] is problem
    assert not report.clean
    assert len(dataset.images[0].xyxy) == 1


def test_changes_that_lose_nothing(tmp_path: Path) -> None:
    rows = GOOD + GOOD + "0 0.05 0.5 0.2 0.5\n" + "0 0.009 0.5 0.02 0.5\n"
    dataset, report = read(make(tmp_path, {"a": rows}))
    assert kinds(report) == [(Kind.DUPLICATE_BOX, 2), (Kind.CLIPPED, 3)]
    assert "reaches 4 px over the edge of a.png" in str(report.problems[1])
    assert dataset.images[0].xyxy[:, 0].tolist() == [20, 0, 0]
    assert not report.bad
    assert not report.clean
    read_training_set(dataset.path, "train", bad_items="stop", cache=False)


def test_the_same_box_of_another_class_is_no_duplicate(tmp_path: Path) -> None:
    _, report = read(make(tmp_path, {"a": GOOD + GOOD.replace("1", "0", 1)}))
    assert (report.boxes, report.problems) == (2, ())


def test_background_is_no_problem(tmp_path: Path) -> None:
    dataset, report = read(make(tmp_path, {"a": GOOD, "b": None, "c": "\n"}))
    assert (report.images, report.background, report.boxes) == (3, 2, 1)
    assert dataset.images[1].xyxy.shape == (0, 4)
    assert report.clean


def test_a_class_without_boxes_is_a_warning(tmp_path: Path) -> None:
    _, report = read(make(tmp_path, {"a": GOOD}))
    assert [str(p.kind) for p in report.problems] == ["class without a box"]
    assert "no box of 'cat'" in report.problems[0].text
    assert report.clean


def test_labels_without_image(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD, "b": GOOD})
    (tmp_path / "images" / "train" / "b.png").unlink()
    (tmp_path / "labels" / "train" / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "labels" / "train" / "._a.txt").write_bytes(b"\x00")
    _, report = read(path)
    assert kinds(report) == [(Kind.ORPHAN_LABELS, None)]
    assert report.problems[0].file.name == "b.txt"


def test_labels_of_images_that_another_split_lists_are_no_orphans(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD, "b": GOOD}, "names: [cat, dog]\ntrain: list.txt\n")
    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    assert kinds(read(path)[1]) == []


def test_two_label_formats_in_one_folder(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD})
    (tmp_path / "labels" / "train" / "a.xml").write_text("<annotation/>")
    _, report = read(path)
    assert kinds(report) == [(Kind.MIXED_FORMATS, None)]
    assert "1 .xml files lie beside the .txt files" in report.problems[0].text


def test_labels_beside_the_images(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text(GOOD)
    (tmp_path / "train.txt").write_text("a.png\n")
    (tmp_path / "data.yaml").write_text("names: [cat, dog]\ntrain: train.txt\n")
    _, report = read(tmp_path / "data.yaml")
    assert (report.boxes, kinds(report)) == (1, [])


def test_an_image_listed_twice(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD}, "names: [cat, dog]\ntrain: [images/train, list.txt]\n")
    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    _, report = read(path)
    assert report.listed == 1
    assert kinds(report) == [(Kind.DUPLICATE_IMAGE, 1)]


def test_a_missing_image_names_the_line_of_the_list(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD}, "names: [cat, dog]\ntrain: list.txt\n")
    (tmp_path / "list.txt").write_text("images/train/a.png\nimages/train/b.png\n")
    _, report = read(path)
    assert kinds(report) == [(Kind.MISSING_IMAGE, 2)]
    assert report.problems[0].file == tmp_path / "list.txt"
    assert (report.listed, report.images) == (2, 1)


def test_labels_that_are_no_text_cost_the_image(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD, "b": GOOD})
    (tmp_path / "labels" / "train" / "b.txt").write_bytes(b"\xff\xfe\x00\x81")
    _, report = read(path)
    assert kinds(report) == [(Kind.UNREADABLE_LABELS, None)]
    assert (report.images, report.background) == (1, 0)


def test_stopping_at_bad_items(tmp_path: Path) -> None:
    bad = "".join(f"{number} 0.5 0.5 0.1 0.1\n" for number in range(5, 9))
    path = make(tmp_path, {"a": GOOD + bad})
    with pytest.raises(DatasetError) as caught:
        read_training_set(path, "train", bad_items="stop", cache=False)
    text = str(caught.value)
    assert "found 4 x class out of range" in text
    assert all(f"a.txt:{line}: " in text for line in (2, 3, 4))
    assert "a.txt:5" not in text
    assert "\n" not in text


@pytest.mark.parametrize("bad_items", ["drop", "stop"])
def test_nothing_usable_always_stops(tmp_path: Path, bad_items: str) -> None:
    path = make(tmp_path, {"a": "7 0.5 0.5 0.1 0.1\n"})
    with pytest.raises(DatasetError, match=r"found none that can be used .*1 x class out of range"):
        read_training_set(path, "train", bad_items=bad_items, cache=False)  # type: ignore[arg-type]
    assert examine(path, "train", cache=False)[1].boxes == 0


def test_no_label_file_at_all_names_one_that_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"labels/train: no label files: wanted a\.txt and others"):
        read(make(tmp_path, {"a": None}))


def test_images_without_a_single_box(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wanted boxes, found none in 1 images"):
        read(make(tmp_path, {"a": ""}))


def test_arguments_are_checked(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD})
    with pytest.raises(UsageError, match="bad_items: wanted 'drop' or 'stop', found 'ask'"):
        read_training_set(path, "train", bad_items="ask")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="workers: wanted 1 or more, found 0"):
        read_training_set(path, "train", workers=0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [cat, dog]\nval: images/train\n", "wanted the split 'train', found: val"),
        ("train: images/train\n", "wanted `names`"),
        ("names: [cat, dog]\nnc: 3\ntrain: images/train\n", "nc is 3, but there are 2 names"),
        ("nc: 3\ntrain: a.json\n", "wanted `names` beside `nc: 3`"),
        ("names: [cat]\ntrain: images/trian\n", "train: wanted 'images/trian', .* did you mean '.*images/train'"),
        ("names: [cat]\ntrain: image/train\n", "did you mean '.*/images/train'"),
        ("names: [cat]\ntrain: image/tarin\n", "; in .* there is: a.json, data.yaml, images, labels"),
        ("names: [cat]\ntrain: ../images/train\n", "wanted '../images/train', .* did you mean 'images/train'"),
        ("names: [cat]\npath: nowhere\ntrain: images\n", "path: wanted 'nowhere', found nothing .*; in .* there is: "),
        ("names: [cat]\nlabel: labels\ntrain: images\n", "found 'label'; did you mean 'labels'"),
        ("name: [cat]\ntrain: images\n", "found 'name'; did you mean 'names'"),
        ("names: [cat]\ntrain: labels\n", "labels: wanted images, found none"),
        ("names: [cat]\ntrain: data.yaml\n", r"wanted a folder of images, .* found a \.yaml file"),
        ("names: [cat]\ntrain: [3]\n", "train: wanted a path, found 3"),
        ("names: [cat]\ntrain: {images: images}\n", "wanted {file, images, labels}, found {images}"),
        ("names: [cat]\ntrain: images\nlabels: data.yaml\n", "labels: wanted a folder, found the file"),
        ("names: [cat]\ntrain: images\nformat: yolov5\n", "format: wanted yolo, coco or voc, found 'yolov5'"),
        ("names: [cat]\ntrain: [images, a.json]\n", r"wanted COCO \.json files only or none"),
        ("names: [cat\n", "wanted YAML"),
        ("- a\n", "wanted a mapping with `names`"),
        ("names: {0: cat, 2: dog}\ntrain: images\n", r"names: wanted the numbers 0 to 1, found \[0, 2\]"),
        ("names: {0: cat, x: dog}\ntrain: images\n", r"names: wanted the numbers 0 to 1, found \[0, 'x'\]"),
    ],
)
def test_descriptions_that_cannot_work(tmp_path: Path, text: str, message: str) -> None:
    path = make(tmp_path, {"a": GOOD}, text)
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(DatasetError, match=message) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_key_of_another_program_is_a_warning(tmp_path: Path) -> None:
    path = make(tmp_path, {"a": GOOD + "0 0.5 0.5 0.1 0.1\n"})
    path.write_text(path.read_text() + "roboflow: {license: MIT}\n")
    _, report = read(path)
    assert [(p.kind, p.text) for p in report.problems] == [(Kind.UNUSED_KEY, "the key 'roboflow' means nothing here")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data.yml", r"wanted a data set, found no such file; did you mean '.*data\.yaml'"),
        ("images", "found another folder; describe it in a data.yaml"),
        (".", r"found another folder; did you mean '.*data\.yaml'"),
        ("list.txt", r"found a \.txt file; describe the data in a data.yaml"),
    ],
)
def test_paths_that_are_no_data_set(tmp_path: Path, name: str, message: str) -> None:
    make(tmp_path, {"a": GOOD})
    (tmp_path / "list.txt").write_text("images/train/a.png\n")
    with pytest.raises(DatasetError, match=message):
        read(tmp_path / name)


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
