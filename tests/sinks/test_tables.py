"""CSV, MOT text and COCO results."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from sinks.coco_json import CocoJsonConfig, CocoJsonSink
from sinks.csv_file import CsvConfig, CsvSink
from sinks.mot_txt import MotTextConfig, MotTextSink

Make = Callable[..., FrameResult]
NAMES = ("person", 'car, "red"')


@pytest.fixture
def results(make_result: Make) -> list[FrameResult]:
    return [
        make_result(0),
        make_result(4, boxes=[(1, 2, 11.5, 22.256), (-3, 0, 5, 6)], track_id=[3, 7], class_id=[0, 1], pts_s=0.16),
    ]


def write_all(sink: Any, info: StreamInfo, results: list[FrameResult]) -> None:
    sink.open(info)
    for result in results:
        sink.write(result)
    sink.close()


@pytest.mark.parametrize(
    ("tracked", "expected"),
    [
        (True, "5,3,1.00,2.00,10.50,20.26,0.9000,-1,-1,-1\n5,7,-3.00,0.00,8.00,6.00,0.9000,-1,-1,-1\n"),
        (False, "5,-1,1.00,2.00,10.50,20.26,0.9000,-1,-1,-1\n5,-1,-3.00,0.00,8.00,6.00,0.9000,-1,-1,-1\n"),
    ],
)
def test_mot(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo], tracked: bool, expected: str
) -> None:
    boxes = [(1, 2, 11.5, 22.256), (-3, 0, 5, 6)]
    results = [make_result(0), make_result(4, boxes=boxes, track_id=[3, 7], tracked=tracked)]
    write_all(MotTextSink(MotTextConfig(path=tmp_path / "a.txt"), class_names=NAMES), make_info(), results)
    assert (tmp_path / "a.txt").read_text() == expected


def test_csv(tmp_path: Path, results: list[FrameResult], make_info: Callable[..., StreamInfo]) -> None:
    write_all(CsvSink(CsvConfig(path=tmp_path / "a.csv"), class_names=NAMES), make_info(), results)
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "source": "cam",
        "frame": "4",
        "pts_s": "0.160000",
        "track_id": "3",
        "class_id": "0",
        "class": "person",
        "confidence": "0.9000",
        "x1": "1.00",
        "y1": "2.00",
        "x2": "11.50",
        "y2": "22.26",
    }
    assert [row["class"] for row in rows] == list(NAMES)


def test_csv_without_tracker_and_media_time(
    tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]
) -> None:
    sink = CsvSink(CsvConfig(path=tmp_path / "a.csv"), class_names=NAMES)
    write_all(sink, make_info(), [make_result(0, boxes=[(1, 2, 3, 4)], tracked=False)])
    assert (tmp_path / "a.csv").read_text().splitlines()[1] == "cam,0,,,0,person,0.9000,1.00,2.00,3.00,4.00"


def test_coco(tmp_path: Path, results: list[FrameResult], make_info: Callable[..., StreamInfo]) -> None:
    write_all(CocoJsonSink(CocoJsonConfig(path=tmp_path / "a.json"), class_names=NAMES), make_info(), results)
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {"image_id": 4, "category_id": 0, "bbox": [1.0, 2.0, 10.5, 20.26], "score": 0.9, "track_id": 3},
        {"image_id": 4, "category_id": 1, "bbox": [-3.0, 0.0, 8.0, 6.0], "score": 0.9, "track_id": 7},
    ]


def test_coco_is_valid_at_any_moment(tmp_path: Path, make_result: Make, make_info: Callable[..., StreamInfo]) -> None:
    path = tmp_path / "a.json"
    sink = CocoJsonSink(CocoJsonConfig(path=path), class_names=NAMES)
    sink.open(make_info())
    assert json.loads(path.read_text()) == []
    for index in range(5):
        sink.write(make_result(index, boxes=[(1, 2, 3, 4)] * index, tracked=False))
        assert len(json.loads(path.read_text())) == index * (index + 1) // 2
    assert "track_id" not in path.read_text()
    sink.close()


def test_pycocotools_reads_the_results(
    tmp_path: Path, results: list[FrameResult], make_info: Callable[..., StreamInfo]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    write_all(CocoJsonSink(CocoJsonConfig(path=tmp_path / "a.json"), class_names=NAMES), make_info(), results)
    truth = coco.COCO()
    truth.dataset = {"images": [{"id": 4}], "categories": [{"id": 0}, {"id": 1}], "annotations": []}
    truth.createIndex()
    loaded = truth.loadRes(str(tmp_path / "a.json"))
    assert len(loaded.anns) == 2
