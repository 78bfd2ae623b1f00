"""The report as text and as data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from detector.data.report import Kind, Problem, Report, Severity, make_report
from detector.data.training_set import TrainingImage

PATH = Path("data.yaml")


def image(*boxes: tuple[float, float, float, float], class_id: int = 0) -> TrainingImage:
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return TrainingImage(Path("a.jpg"), (100, 400), xyxy, np.full(len(xyxy), class_id, np.int64))


def report(*problems: Problem, images: tuple[TrainingImage, ...] = ()) -> Report:
    converted = [(Path("a.png"), "16-bit"), (Path("b.png"), "16-bit")]
    return make_report(PATH, "train", ("cat", "dog"), images, listed=9, problems=problems, converted=converted)


def test_what_is_counted() -> None:
    made = report(images=(image((0, 0, 10, 10), (0, 0, 40, 90)), image(), image((0, 0, 100, 100), class_id=1)))
    assert (made.listed, made.images, made.background, made.boxes, made.boxes_per_class) == (9, 3, 1, 3, (2, 1))
    assert made.box_sizes is not None
    assert made.box_sizes.px == pytest.approx((10, 35, 60, 80, 100))
    assert made.box_sizes.relative == pytest.approx((0.05, 0.175, 0.3, 0.4, 0.5))
    assert (made.box_sizes.small, made.box_sizes.medium, made.box_sizes.large) == (1, 1, 1)
    assert made.clean
    assert made.counts_text() == "no problems"


def test_an_empty_set_has_a_report_too() -> None:
    made = report()
    assert made.box_sizes is None
    assert made.counts() == {Kind.EMPTY_CLASS: 2}
    assert "0 of 9 images, 0 boxes" in made.table()
    json.dumps(made.to_dict())


def test_the_table_shows_a_few_of_each_kind() -> None:
    problems = [Problem(Kind.COLUMNS, Path("a.txt"), f"number {n}", n) for n in range(1, 6)]
    made = report(*problems, Problem(Kind.CLIPPED, Path("b.txt"), "far"), images=(image((0, 0, 10, 10)),))
    lines = made.table(examples=2).splitlines()
    assert lines[0] == "data.yaml, train: 1 of 9 images, 1 boxes, 0 ignored places, 0 images without a box"
    assert "2 images decoded to 8-bit colour: 16-bit" in lines
    assert "problems: 5 x wrong number of columns, 1 x box clipped to the image, 1 x class without a box" in lines
    assert "  bad     a.txt:1: wrong number of columns: number 1" in lines
    assert "  bad     ... and 3 more: wrong number of columns" in lines
    assert "  changed b.txt: box clipped to the image: far" in lines
    assert "  warning data.yaml: class without a box: no box of 'dog' in train" in lines
    assert not any("number 3" in line for line in lines)
    assert all(len(line) <= 120 for line in lines)


def test_the_report_as_data() -> None:
    made = report(Problem(Kind.COLUMNS, Path("a.txt"), "wrong", 3), images=(image((0, 0, 10, 10)),)).to_dict()
    assert json.loads(json.dumps(made)) == made
    assert made["boxes_per_class"] == {"cat": 1, "dog": 0}
    assert made["clean"] is False
    assert made["counts"] == {"wrong number of columns": 1, "class without a box": 1}
    assert made["problems"][0] == {
        "kind": "wrong number of columns",
        "severity": "bad",
        "file": "a.txt",
        "line": 3,
        "text": "wrong",
    }
    assert made["converted"][0] == {"file": "a.png", "from": "16-bit"}


def test_every_kind_has_a_severity_and_a_name_of_its_own() -> None:
    assert len({str(kind) for kind in Kind}) == len(Kind)
    assert {kind.severity for kind in Kind} == set(Severity)
