"""The data descriptions in configs/data, and the sets they describe."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from detector.data.convert import convert
from detector.data.data_yaml import yaml_splits
from detector.data.read import read_training_set
from detector.data.report import Kind
from pipeline.core.errors import DatasetError

CONFIGS = sorted(Path(str(entry)) for entry in (files("configs") / "data").iterdir() if entry.name.endswith(".yaml"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKLIGHT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_file_is_a_data_yaml(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert document["names"]
    assert not Path(document["path"]).is_absolute()
    assert {"train", "val"} <= set(yaml_splits(path))


def config(name: str, root: Path, folder: Path) -> Path:
    """The file with its root set to where the tests find the data."""
    document = yaml.safe_load((files("configs") / "data" / name).read_text(encoding="utf-8"))
    path = folder / name
    path.write_text(yaml.safe_dump(document | {"path": str(root)}), encoding="utf-8")
    return path


@pytest.mark.reference
def test_street_joins_two_files(data_dir: Path, tmp_path: Path) -> None:
    path = config("street.yaml", data_dir, tmp_path)
    dataset, report = read_training_set(path, "train", bad_items="stop")
    assert (report.images, report.boxes, report.ignored, report.background) == (5065, 22443, 7771, 377)
    assert report.problems == ()
    assert dataset.class_names == ("person", "bicycle", "car", "motorcycle", "bus", "truck")
    assert dataset.category_ids == (1, 2, 3, 4, 6, 8)
    assert report.boxes_per_class == (18340, 435, 1974, 780, 532, 382)
    assert sum(1 for image in dataset.images if image.unlabelled) == 4786
    val, report = read_training_set(path, "val")
    assert (report.images, report.boxes) == (97, 159)
    assert [(p.kind, p.text) for p in report.problems] == [(Kind.EMPTY_CLASS, "no box of 'bicycle' in val")]
    assert val.images[0].path.parent.name == "val_images"


@pytest.mark.reference
def test_bccd_as_voc_and_as_yolo(data_dir: Path, tmp_path: Path) -> None:
    path = config("bccd.yaml", data_dir / "bccd" / "BCCD", tmp_path)
    counts = {}
    for split in yaml_splits(path):
        _, report = read_training_set(path, split)
        counts[split] = (report.images, report.boxes, [p.kind for p in report.problems])
    slip = [Kind.NO_AREA]
    assert counts == {"train": (205, 2804, slip), "val": (87, 1137, slip), "test": (72, 945, [])}
    with pytest.raises(DatasetError, match=r"BloodImage_00343\.xml: box without area: object 4"):
        read_training_set(path, "train", bad_items="stop")
    yolo = tmp_path / "yolo.yaml"
    yolo.write_text(
        f"path: {data_dir / 'bccd'}\nnames: [RBC, WBC, Platelets]\nimages: BCCD/JPEGImages\nlabels: labels\n"
        "train: BCCD/ImageSets/Main/train.txt\nval: BCCD/ImageSets/Main/val.txt\n"
    )
    for split in ("train", "val"):
        as_voc, as_yolo = (read_training_set(file, split)[0] for file in (path, yolo))
        assert [image.path for image in as_voc.images] == [image.path for image in as_yolo.images]
        # The same classes by hand of another program, which leaves doubtful boxes out and counts pixels from 0.
        equal = sum(
            a.class_id.tolist() == b.class_id.tolist() for a, b in zip(as_voc.images, as_yolo.images, strict=True)
        )
        assert equal > 0.98 * len(as_voc.images)


@pytest.mark.reference
@pytest.mark.parametrize("to", ["yolo", "coco", "voc"])
def test_bccd_round_trip(data_dir: Path, tmp_path: Path, to: str) -> None:
    dataset, _ = read_training_set(data_dir / "bccd" / "BCCD", "val")
    written = convert({"val": dataset}, to, tmp_path / "out")  # type: ignore[arg-type]
    read, report = read_training_set(written.path, "val", bad_items="stop")
    assert report.problems == ()
    boxes = {image.path.name: image for image in read.images}
    assert len(boxes) == len(dataset.images)
    for image in dataset.images:
        new = boxes[image.path.name]
        assert new.class_id.tolist() == image.class_id.tolist()
        assert abs(new.xyxy - image.xyxy).max() < 2e-3


@pytest.mark.reference
def test_coco_with_outlines(data_dir: Path) -> None:
    dataset, report = read_training_set(data_dir / "coco" / "annotations" / "instances_val188.json", "val")
    assert (report.images, report.boxes, report.ignored, report.problems) == (188, 1672, 20, ())
    assert len(dataset.class_names) == 80
    assert all(len(image.outlines) == len(image.xyxy) for image in dataset.images)
    assert all(outline for image in dataset.images for outline in image.outlines)
