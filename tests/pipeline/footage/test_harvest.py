"""From results to a data set on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.data.near_duplicates import difference, fingerprint
from detector.data.read import examine
from pipeline.core.arrays import ImageArray
from pipeline.core.detections import Detections
from pipeline.core.errors import SinkError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Sink
from pipeline.core.result import FrameResult
from pipeline.footage.harvest import Harvest
from pipeline.footage.picture_folder import PictureFolder
from pipeline.footage.settings import FootageSettings

Result = Callable[..., FrameResult]
Scene = Callable[..., ImageArray]
BOX = (10.0, 10.0, 40.0, 60.0)


class _Made:
    """A harvest into a folder, opened for one source."""

    def __init__(self, path: Path, *, labelled: bool = True, detector: Any = None, **settings: Any) -> None:
        self.path = path
        self.settings = FootageSettings(**settings)
        self.folder = PictureFolder(path, self.settings, ("person", "car"), labelled=labelled)
        self.full: list[str] = []
        self.harvest = Harvest(self.settings, self.folder, class_ids=(0, 2), detector=detector, full=self.full.append)
        self.open("cam")

    def open(self, source_id: str) -> None:
        self.harvest.open(StreamInfo(source_id, 128, 96, None, False, None))

    def write(self, *results: FrameResult) -> None:
        for result in results:
            self.harvest.write(result)

    def finish(self) -> dict[str, int]:
        self.harvest.close()
        return self.folder.finish({"status": "completed"})

    def coco(self, split: str) -> dict[str, Any]:
        return dict(json.loads((self.path / "annotations" / f"instances_{split}.json").read_text()))

    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())


def test_a_harvest_is_a_sink(tmp_path: Path) -> None:
    assert isinstance(_Made(tmp_path / "out").harvest, Sink)


def test_a_still_camera_gives_one_picture(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out")
    made.write(*(result(i, scene(0)) for i in range(50)))
    assert made.finish() == {"train": 1, "val": 0}
    count = made.harvest.counts["cam"]
    assert (count.frames, count.looked_at, count.look_alikes, count.pictures) == (50, 5, 4, 1)
    assert made.files() == [
        "annotations/instances_train.json", "data.yaml", "images/train/cam_000000.jpg", "labels/train/cam_000000.txt",
        "manifest.json",
    ]  # fmt: skip


def test_look_alikes_of_another_source_are_left_out(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out")
    made.open("other")
    made.write(result(0, scene(0)), result(0, scene(0), source_id="other"), result(10, scene(1), source_id="other"))
    assert sum(made.finish().values()) == 2
    assert made.harvest.counts["other"].look_alikes == 1


def test_no_two_pictures_of_train_and_val_look_alike(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", every_s=0.1, min_difference=0)
    made.write(*(result(i, scene(i // 7, left=i % 90)) for i in range(140)))
    splits = made.finish()
    assert sum(splits.values()) == 140
    assert splits["val"] >= 14
    looks = {
        split: [fingerprint(np.asarray(cv2.imread(str(path)))) for path in (tmp_path / "out/images" / split).iterdir()]
        for split in splits
    }
    least = min(difference(a, b) for a in looks["train"] for b in looks["val"])
    # The stored pictures went through JPEG, so a cell or two may be on the other side of the noise.
    assert least >= 0.02 - 3 / 1024


def test_labels_say_what_was_found_and_how_sure(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", split=(1.0,))
    doubt = (60.0, 10.0, 90.0, 60.0, 0.2, 2)
    made.write(*(result(i, scene(0), boxes=[(*BOX, 0.9, 0), doubt], track_ids=[4, 0]) for i in range(8)))
    assert made.finish() == {"train": 1}
    person, ignored = made.coco("train")["annotations"]
    expected = {"category_id": 1, "bbox": [10, 10, 30, 50], "iscrowd": 0, "origin": "pseudo", "score": 0.9}
    assert expected.items() <= person.items()
    assert person["track_id"] == 4
    expected = {"category_id": 2, "iscrowd": 1, "ignore": 1, "origin": "pseudo", "score": 0.2}
    assert expected.items() <= ignored.items()
    assert made.coco("train")["images"][0] == {
        "id": 1, "file_name": "cam_000000.jpg", "width": 128, "height": 96, "source": "cam", "frame": 0, "time_s": 0.0,
    }  # fmt: skip
    assert made.coco("train")["categories"] == [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}]
    assert (tmp_path / "out/labels/train/cam_000000.txt").read_text().splitlines() == [
        "0 0.195312 0.364583 0.234375 0.520833"
    ]
    count = made.harvest.counts["cam"]
    assert (count.boxes, count.unsure) == (1, 1)
    for path in ("data.yaml", "annotations/instances_train.json"):
        found, report = examine(tmp_path / "out" / path, "train", cache=False)
        assert not report.bad
        assert found.class_names == ("person", "car")


def test_a_source_that_is_full_gives_no_more(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", every_s=0.1, max_per_source=3)
    made.write(*(result(i, scene(i)) for i in range(20)))
    assert sum(made.finish().values()) == 3
    assert made.full == ["cam"]


def test_at_every_moment_there_is_a_data_set(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", every_s=0.1)
    for i in range(12):
        made.write(result(i, scene(i), boxes=[(*BOX, 0.9)], track_ids=[1]))
        if i >= 5:
            found, report = examine(tmp_path / "out" / "data.yaml", "train", cache=False)
            assert len(found.images) == i - 4
            assert not report.bad
    assert sum(made.finish().values()) == 12
    assert not [path for path in made.files() if path.endswith(".part")]


class _OneBox:
    class_names = ("person", "dog", "car")

    def warmup(self) -> None: ...

    def close(self) -> None: ...

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        boxes = np.array([[*BOX]], np.float32)
        return [Detections(boxes, np.array([0.8], np.float32), np.array([2], np.int64)) for _ in frames]


def test_without_tracks_only_the_pictures_are_looked_at(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", detector=_OneBox(), split=(1.0,))
    made.write(*(result(i, scene(i), tracked=False) for i in range(12)))
    made.finish()
    assert [label["category_id"] for label in made.coco("train")["annotations"]] == [2, 2]


def test_still_images_are_not_tracked(tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", split=(1.0,))
    made.write(*(result(i, scene(i), boxes=[(*BOX, 0.9)], track_ids=[0], pts_s=None) for i in range(4)))
    made.finish()
    labels = made.coco("train")["annotations"]
    assert [label["iscrowd"] for label in labels] == [0, 0, 0, 0]
    assert "track_id" not in labels[0]


@pytest.mark.parametrize(("picture", "exact"), [("png", True), ("jpg", False)])
def test_pictures_are_stored_as_asked(picture: str, exact: bool, tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", picture=picture, labelled=False)
    made.write(result(0, scene(3)))
    made.finish()
    (path,) = (tmp_path / "out" / "images" / "train").iterdir()
    assert path.name == f"cam_000000.{picture}"
    stored = np.asarray(cv2.imread(str(path)))
    assert (stored == scene(3)).all() == exact
    assert np.abs(stored.astype(int) - scene(3)).mean() < 2
    assert not (tmp_path / "out" / "labels").exists(), "an empty label file would say that there is nothing"


@pytest.mark.parametrize(("labels", "absent"), [("yolo", "annotations"), ("coco", "labels")])
def test_one_format_alone(labels: str, absent: str, tmp_path: Path, result: Result, scene: Scene) -> None:
    made = _Made(tmp_path / "out", format=labels)
    made.write(result(0, scene(0)))
    made.finish()
    assert not (tmp_path / "out" / absent).exists()
    assert (tmp_path / "out" / "data.yaml").exists() == (labels == "yolo")


def test_a_full_disk_is_one_line(tmp_path: Path, result: Result, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    made = _Made(tmp_path / "out")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(SinkError, match=r"frame 0 of cam: .*No space left"):
        made.write(*(result(i, scene(0)) for i in range(8)))
