"""Training with what people really have: every fault is told with its file, and costs no more than what is faulty."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.train.history import History
from pipeline.cli.main import main

TINY = ("--weights", "none", "--model", "yolov7-nano", "--img-size", "64", "--epochs", "1", "--workers", "0")
GOOD_ROW = "0 0.5 0.5 0.4 0.4\n"

Fault = tuple[Callable[[Path], None], str, str]
"""What is done to a good data set, the file that must be named, and how the fault is called."""


def picture(path: Path, channels: int = 3, dtype: type = np.uint8) -> Path:
    """Noise with a bright square in the middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    top = 255 if dtype is np.uint8 else 65535
    pixels = np.random.default_rng(0).integers(0, top // 3, (60, 80, channels)).astype(dtype)
    pixels[18:42, 24:56] = top
    assert cv2.imwrite(str(path), pixels)
    return path


def yolo_set(folder: Path) -> Path:
    """Four good pictures to train on and two to validate with."""
    for split, count in (("train", 4), ("val", 2)):
        for number in range(count):
            picture(folder / "images" / split / f"good{number}.png")
            write_labels(folder, f"good{number}", GOOD_ROW, split=split)
    describe(folder)
    return folder / "data.yaml"


def describe(folder: Path, **changes: object) -> None:
    """The data.yaml."""
    values = {"train": "images/train", "val": "images/val", "names": ["red", "blue"], **changes}
    (folder / "data.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in values.items()))


def write_labels(folder: Path, name: str, text: str, *, split: str = "train") -> None:
    path = folder / "labels" / split / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def with_row(name: str, row: str) -> Callable[[Path], None]:
    """A picture of its own, with a good box, and a bad one in line 2."""

    def make(folder: Path) -> None:
        picture(folder / "images/train" / f"{name}.png")
        write_labels(folder, name, f"{GOOD_ROW}{row}\n")

    return make


def cut_jpeg(folder: Path) -> None:
    path = picture(folder / "images/train/cut.jpg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    write_labels(folder, "cut", GOOD_ROW)


def no_picture(folder: Path) -> None:
    (folder / "images/train/text.jpg").write_text("no picture at all")
    write_labels(folder, "text", GOOD_ROW)


def empty_picture(folder: Path) -> None:
    (folder / "images/train/nothing.png").touch()
    write_labels(folder, "nothing", GOOD_ROW)


def missing_picture(folder: Path) -> None:
    (folder / "more.txt").write_text("images/train/gone.png\n")
    describe(folder, train=["images/train", "more.txt"])


def labels_without_picture(folder: Path) -> None:
    write_labels(folder, "lonely", GOOD_ROW)


def labels_in_binary(folder: Path) -> None:
    picture(folder / "images/train/binary.png")
    (folder / "labels/train/binary.txt").write_bytes(b"\xff\xfe\x00\x81")


LEFT_OUT: dict[str, Fault] = {
    "class out of range": (with_row("class9", "9 0.5 0.5 0.2 0.2"), "class9.txt:2", "class out of range: .* found 9"),
    "class below zero": (with_row("minus", "-1 0.5 0.5 0.2 0.2"), "minus.txt:2", "class out of range: .* found -1"),
    "box outside": (with_row("far", "0 1.5 1.5 0.2 0.2"), "far.txt:2", "box outside the image"),
    "NaN": (with_row("nan", "0 nan 0.5 0.2 0.2"), "nan.txt:2", "not a number"),
    "infinite": (with_row("inf", "0 0.5 0.5 inf 0.2"), "inf.txt:2", "not a number"),
    "text": (with_row("word", "red 0.5 0.5 0.2 0.2"), "word.txt:2", "not a number"),
    "no area": (with_row("flat", "0 0.5 0.5 0 0.2"), "flat.txt:2", "box without area"),
    "columns": (with_row("short", "0 0.5 0.5 0.2"), "short.txt:2", "wrong number of columns"),
    "cut JPEG": (cut_jpeg, "cut.jpg", "truncated image"),
    "text for a picture": (no_picture, "text.jpg", "unreadable image"),
    "empty file": (empty_picture, "nothing.png", "unreadable image"),
    "missing picture": (missing_picture, "more.txt:1", "missing image: .*gone.png"),
    "labels alone": (labels_without_picture, "lonely.txt", "labels without an image"),
    "labels in binary": (labels_in_binary, "binary.txt", "unreadable labels"),
}


def grey(folder: Path) -> None:
    picture(folder / "images/train/grey.png", channels=1)
    write_labels(folder, "grey", GOOD_ROW)


def sixteen_bits(folder: Path) -> None:
    picture(folder / "images/train/deep.png", channels=3, dtype=np.uint16)
    write_labels(folder, "deep", GOOD_ROW)


def transparent(folder: Path) -> None:
    picture(folder / "images/train/glass.png", channels=4)
    write_labels(folder, "glass", GOOD_ROW)


def empty_class(folder: Path) -> None:
    describe(folder, names=["red", "blue", "green"])


def two_formats(folder: Path) -> None:
    (folder / "labels/train/good0.xml").write_text("<annotation/>")


USED: dict[str, Fault] = {
    "one channel": (grey, "1 images decoded", "8-bit colour: .*(grey|1 channel)"),
    "16 bits": (sixteen_bits, "1 images decoded", "8-bit colour: .*16"),
    "four channels": (transparent, "1 images decoded", "8-bit colour: .*(alpha|4 channel)"),
    "over the edge": (with_row("edge", "0 0.95 0.5 0.4 0.2"), "edge.txt:2", "box clipped to the image"),
    "twice": (with_row("twice", GOOD_ROW.strip()), "twice.txt:2", "duplicate box"),
    "empty class": (empty_class, "data.yaml", "class without a box: no box of 'green' in train"),
    "two formats": (two_formats, "labels", "label files of two formats"),
}


def train(data: Path, project: Path, *more: str) -> int:
    return main(["train", "--data", str(data), *TINY, "--project", str(project), *more])


def assert_told(told: str, file: str, fault: str) -> None:
    """One line names the file and the fault."""
    assert any(file in line and re.search(fault, line) for line in told.splitlines()), f"{file}: {fault}\n{told}"


def assert_trained(folder: Path) -> None:
    [row] = History(folder / "results.csv").rows
    assert all(math.isfinite(value) for value in (*row.losses.values(), *row.val_losses.values(), row.ap50))
    assert (folder / "weights/best.safetensors").is_file()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_bad_is_left_out_and_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = yolo_set(tmp_path / "set")
    for make, _, _ in (*LEFT_OUT.values(), *USED.values()):
        if make is not missing_picture:
            make(tmp_path / "set")
    (tmp_path / "set/more.txt").write_text("images/train/gone.png\n")
    describe(tmp_path / "set", train=["images/train", "more.txt"], names=["red", "blue", "green"])
    assert train(data, tmp_path / "runs") == 0
    told = capfd.readouterr().err
    for _, file, fault in (*LEFT_OUT.values(), *USED.values()):
        assert_told(told, file, fault)
    # 4 good ones; 8 with a bad row; grey, deep, glass, edge and twice; of the rest nothing can be used.
    assert "17 pictures to train on, 2 to validate with, 3 classes" in told
    assert told.index("problems: ") < told.index("epoch 1 ")
    assert_trained(tmp_path / "runs/exp")


@pytest.mark.parametrize("case", LEFT_OUT)
def test_bad_items_stop_the_run_before_it_begins(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, file, fault = LEFT_OUT[case]
    data = yolo_set(tmp_path / "set")
    make(tmp_path / "set")
    assert train(data, tmp_path / "runs", "--bad-items", "stop") == 1
    told = capfd.readouterr().err
    assert told.startswith("tracklight: ")
    assert told.count("\n") == 1
    assert "wanted no bad items, found 1 x " in told
    assert_told(told, file, fault)
    assert not (tmp_path / "runs").exists()


def test_what_is_odd_but_usable_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = yolo_set(tmp_path / "set")
    for make, _, _ in USED.values():
        make(tmp_path / "set")
    assert train(data, tmp_path / "runs", "--bad-items", "stop") == 0
    told = capfd.readouterr().err
    for _, file, fault in USED.values():
        assert_told(told, file, fault)
    assert_trained(tmp_path / "runs/exp")


BROKEN: dict[str, tuple[dict[str, object], str]] = {
    "wrong nc": ({"nc": 5}, r"nc.*5.*2"),
    "typo in a path": ({"train": "images/trian"}, r"images/trian.*did you mean '.*images/train"),
    "no such root": ({"path": "elsewhere"}, r"elsewhere"),
    "no val": ({"val": None}, r"val"),
    "unknown format": ({"format": "yollo"}, r"format: wanted yolo, coco or voc, found 'yollo'"),
    "names twice": ({"names": ["red", "red"]}, r"a different name for every class, found 'red'"),
}


@pytest.mark.parametrize("bad_items", ["drop", "stop"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_description_that_cannot_work_always_stops(
    case: str, bad_items: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changes, wanted = BROKEN[case]
    data = yolo_set(tmp_path / "set")
    describe(tmp_path / "set", **changes)
    assert train(data, tmp_path / "runs", "--bad-items", bad_items) == 1
    told = capfd.readouterr().err
    assert told.startswith("tracklight: ")
    assert told.count("\n") == 1
    assert re.search(wanted, told), told
    assert "data.yaml" in told
    assert not (tmp_path / "runs").exists()


def coco_set(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The same in COCO's format; gives data.yaml and the document of the training split."""
    documents = {}
    for split, count in (("train", 4), ("val", 2)):
        names = [picture(folder / "images" / split / f"good{n}.png").name for n in range(count)]
        documents[split] = {
            "images": [{"id": n, "file_name": name, "width": 80, "height": 60} for n, name in enumerate(names)],
            "annotations": [
                {"id": n, "image_id": n, "category_id": 3, "bbox": [24, 18, 32, 24], "area": 768, "iscrowd": 0}
                for n in range(count)
            ],
            "categories": [{"id": 3, "name": "red"}],
        }
        (folder / f"instances_{split}.json").write_text(json.dumps(documents[split]))
    (folder / "data.yaml").write_text("train: instances_train.json\nval: instances_val.json\n")
    return folder / "data.yaml", documents["train"]


@pytest.mark.parametrize("bad_items", ["drop", "stop"])
def test_the_same_in_coco_files(bad_items: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, document = coco_set(tmp_path / "set")
    document["images"].append({"id": 9, "file_name": "gone.png", "width": 80, "height": 60})
    boxes: list[tuple[int, int, list[float]]] = [
        (0, 7, [24, 18, 32, 24]),
        (0, 3, [200, 200, 10, 10]),
        (1, 3, [math.nan, 0, 10, 10]),
        (1, 3, [10, 10, 0, 10]),
        (77, 3, [10, 10, 10, 10]),
    ]
    document["annotations"] += [
        {"id": 100 + n, "image_id": image, "category_id": category, "bbox": box, "area": 1, "iscrowd": 0}
        for n, (image, category, box) in enumerate(boxes)
    ]
    (tmp_path / "set/instances_train.json").write_text(json.dumps(document))
    code = train(data, tmp_path / "runs", "--bad-items", bad_items)
    told = capfd.readouterr().err
    if bad_items == "stop":
        assert code == 1
        assert told.count("\n") == 1
        assert "wanted no bad items, found" in told
        assert not (tmp_path / "runs").exists()
        return
    assert code == 0
    for fault in (
        *("class out of range", "box outside the image", "not a number", "box without area", "box of an unknown image"),
        "missing image: .*gone.png",
    ):
        assert_told(told, "instances_train.json", fault)
    assert "4 pictures to train on" in told
    assert_trained(tmp_path / "runs/exp")
