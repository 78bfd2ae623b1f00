"""The model that ships: it runs where no weights are named, and it finds what its card says."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from detector.detector import DetectorConfig, YoloDetector
from detector.validation import reference_settings, validate
from pipeline.cli import main
from pipeline.evaluation.coco_dataset import read_coco

CLASSES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")


def test_it_is_what_runs_without_weights() -> None:
    detector = YoloDetector()
    assert detector.class_names == CLASSES
    assert detector.input_hw == (416, 416)
    detector.close()


def _found(folder: Path, *arguments: object) -> list[dict[str, object]]:
    out = folder / "out.jsonl"
    assert main(["run", *map(str, arguments), "-o", str(out)]) == 0
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


@pytest.mark.reference
@pytest.mark.slow
def test_people_who_walk_by_are_found(data_dir: Path, tmp_path: Path) -> None:
    """Frames 70 to 190 show one person, frames 200 to 225 nobody."""
    clip = data_dir / "clips" / "one-by-one-person-detection.mp4"
    frames = _found(tmp_path, "--source", clip, "--max-frames", "230")
    seen = [any(o["class"] == "person" for o in frame["objects"]) for frame in frames]  # type: ignore[attr-defined]
    assert sum(seen[75:185]) > 0.8 * 110
    assert sum(seen[200:225]) < 5


@pytest.mark.reference
@pytest.mark.slow
def test_the_car_ahead_on_a_highway_is_found(data_dir: Path, tmp_path: Path) -> None:
    [clip] = (data_dir / "clips").glob("mmdetection_demo*")
    frames = _found(tmp_path, "--source", clip, "--max-frames", "40")
    classes = Counter(o["class"] for frame in frames for o in frame["objects"])  # type: ignore[attr-defined]
    with_car = [any(o["class"] == "car" for o in frame["objects"]) for frame in frames]  # type: ignore[attr-defined]
    assert sum(with_car) > 0.8 * len(frames)
    assert classes["car"] > 0.7 * classes.total()


@pytest.mark.reference
@pytest.mark.slow
def test_its_card_tells_the_truth(data_dir: Path) -> None:
    """AP50 on the people and vehicles of 188 pictures of COCO val2017 is what docs/models/street.md says."""
    card = (Path(__file__).resolve().parents[2] / "docs" / "models" / "street.md").read_text(encoding="utf-8")
    told = {name: float(value) for name, value in re.findall(r"^\| (\w+) \| [\d.]+ \| ([\d.]+) \|", card, re.MULTILINE)}
    [annotations] = (data_dir / "coco").rglob("instances_val188.json")
    settings = DetectorConfig(**reference_settings("street"))
    detector = YoloDetector(settings)
    result = validate(detector, read_coco(annotations), classes=CLASSES).result
    detector.close()
    assert set(told) >= {*CLASSES, "mean"}
    for name in CLASSES:
        assert 100 * result.per_class[name].ap50 == pytest.approx(told[name], abs=0.6)
    assert 100 * result.ap50 == pytest.approx(told["mean"], abs=0.6)
