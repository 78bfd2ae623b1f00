"""Every format: whole or not there, the same bytes, and what its readers find in it."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
import trackeval
from lxml import etree
from pycocotools.coco import COCO

from detector.data.read import examine, read_training_set
from pipeline.archive.formats import FORMATS, FormatOptions, write_format
from pipeline.archive.formats.yolo import deal_out
from pipeline.archive.record import AnnotatedVideo
from pipeline.core.errors import ConfigError, DatasetError, SinkError, SourceError, UsageError
from pipeline.evaluation.mot_text import read_mot, read_seqinfo, write_mot
from pipeline.records.parquet import track_schema

MakeVideo = Callable[..., AnnotatedVideo]
WITHOUT_PICTURES = [name for name in FORMATS if name != "yolo"]


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.readlink().as_posix().encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, counter_clip: Callable[..., Path]) -> Path:
    return counter_clip(tmp_path_factory.mktemp("clips") / "north.mp4", 40)


@pytest.fixture
def two(make_video: MakeVideo, scene: Callable, clip: Path) -> list[AnnotatedVideo]:
    """Two videos of one name in different folders, the second without objects."""
    return [make_video("day1/north.mp4", objects=scene, path=clip), make_video("day2/north.mp4", path=clip)]


@pytest.mark.parametrize("name", FORMATS)
def test_equal_input_gives_equal_files_and_nothing_half_done(name: str, two: list, tmp_path: Path) -> None:
    write_format(name, two, tmp_path / "a")
    write_format(name, two, tmp_path / "b")
    first = _tree(tmp_path / "a")
    assert first == _tree(tmp_path / "b")
    assert not [path for path in first if path.endswith(".part")]
    # Once more over itself.
    write_format(name, two, tmp_path / "a")
    assert _tree(tmp_path / "a") == first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert str(tmp_path) not in first["_tracklight.json"].decode()


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_what_fails_leaves_what_was_there(name: str, two: list, tmp_path: Path, make_video: MakeVideo) -> None:
    def breaks(frame: int) -> list:
        if frame == 20:
            raise DatasetError("tracks.jsonl, line 21: wanted a frame")
        return [(1, 0, (1, 2, 3, 4), 0.5, False)]

    write_format(name, two, tmp_path / "out")
    before = _tree(tmp_path / "out")
    with pytest.raises(DatasetError, match="line 21"):
        write_format(name, [make_video(objects=breaks)], tmp_path / "out")
    assert _tree(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_that_are_not_ours_or_were_worked_in_are_left_alone(two: list, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="wanted a new folder, found one with other files"):
        write_format("cvat", two, tmp_path / "theirs")
    write_format("cvat", two, tmp_path / "out")
    corrected = tmp_path / "out" / "day1" / "north.mp4.xml"
    corrected.write_text(corrected.read_text().replace("person", "child"))
    later = (tmp_path / "out" / "_tracklight.json").stat().st_mtime_ns + 1_000_000
    os.utime(corrected, ns=(later, later))
    with pytest.raises(UsageError, match=r"found day1/north\.mp4\.xml changed since; move the folder away"):
        write_format("cvat", two, tmp_path / "out")
    assert "child" in corrected.read_text()
    with pytest.raises(UsageError, match="wanted a folder to write to, found a file"):
        write_format("cvat", two, corrected)


def test_what_cannot_be_written_is_said(two: list, tmp_path: Path, make_video: MakeVideo) -> None:
    with pytest.raises(UsageError, match=r"wanted one of cvat, mot, .*, found 'cvta'"):
        write_format("cvta", two, tmp_path / "out")
    with pytest.raises(UsageError, match="wanted annotated videos, found none"):
        write_format("cvat", [], tmp_path / "out")
    with pytest.raises(DatasetError, match=r"b\.mp4: wanted the classes of day1/north\.mp4, found others"):
        write_format("cvat", [two[0], make_video("b.mp4", class_names=("cat",))], tmp_path / "out")
    with pytest.raises(ConfigError, match="did you mean 'person'"):
        write_format("cvat", two, tmp_path / "out", FormatOptions(classes=("persn",)))
    with pytest.raises(SourceError, match="nothing there"):
        write_format("yolo", [make_video("gone.mp4")], tmp_path / "out")
    with pytest.raises(ValueError, match="wanted every=1s"):
        FormatOptions(images="every=one")
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="wanted to write there"):
        write_format("cvat", two, tmp_path / "file" / "out")
    assert not (tmp_path / "out").exists()


# What a strange file has to survive: names with markup and letters of the world, both ways into one file name.
NAMES = ("ü/día & <1>.mp4", "ü__día & <1>.mp4")
CLASSES = ("<b>\"per&son'</b>", "автомобиль")


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_strange_names(name: str, tmp_path: Path, make_video: MakeVideo, scene: Callable) -> None:
    videos = [make_video(each, objects=scene, class_names=CLASSES) for each in NAMES]
    write_format(name, videos, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "_tracklight.json").read_text())["videos"][0]["name"] == NAMES[0]
    found = {
        "cvat": lambda out: [
            (etree.parse(out / f"{each}.xml").findtext("meta/task/name"), _labels_of(out / f"{each}.xml"))
            for each in NAMES
        ],
        "mot": lambda out: [
            (read_seqinfo(out / each / "seqinfo.ini").name, (out / each / "gt/labels.txt").read_text().splitlines())
            for each in NAMES
        ],
        "coco": lambda out: _coco_names(json.loads((out / "annotations/instances_default.json").read_text())),
        "datumaro": lambda out: [_datumaro_names(out / "annotations" / f"{each}.json") for each in FLAT],
        "fiftyone": lambda out: [_fiftyone_names(out / "labels" / f"{each}.json") for each in FLAT],
        "parquet": lambda out: [
            (source, list(rows["class"].unique()))
            for source, rows in pd.read_parquet(out).groupby("source", observed=True)
        ],
    }[name](tmp_path / "out")
    assert sorted((each, sorted(classes)) for each, classes in found) == [
        (each, sorted(CLASSES)) for each in sorted(NAMES)
    ]


FLAT = ("ü__día & <1>.mp4", "ü__día & <1>.mp4-2")


def _labels_of(path: Path) -> list[str]:
    return [str(node.text) for node in etree.parse(path).findall("meta/task/labels/label/name")]


def _coco_names(document: dict) -> list:
    return [(video["name"], [one["name"] for one in document["categories"]]) for video in document["videos"]]


def _datumaro_names(path: Path) -> tuple:
    document = json.loads(path.read_text())
    return document["items"][0]["attr"]["video"], [one["name"] for one in document["categories"]["label"]["labels"]]


def _fiftyone_names(path: Path) -> tuple:
    document = json.loads(path.read_text())
    objects = [one for frame in document["frames"].values() for one in frame["objects"]["objects"]]
    return document["filename"], {one["label"] for one in objects}


@pytest.fixture(scope="module")
def schema(golden_dir: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(golden_dir / "cvat" / "annotations.xsd"))


@pytest.mark.parametrize("max_error_px", [0.0, 1.0])
def test_cvat(
    two: list, tmp_path: Path, schema: etree.XMLSchema, scene: Callable, make_video: MakeVideo, max_error_px: float
) -> None:
    odd = make_video("odd.mp4", objects=scene, class_names=CLASSES)
    for folder, videos in (("two", two), ("odd", [odd]), ("none", [make_video("none.mp4", 0)])):
        write_format("cvat", videos, tmp_path / folder, FormatOptions(max_error_px=max_error_px))
        for path in (tmp_path / folder).rglob("*.xml"):
            schema.assertValid(etree.parse(path))
    document = etree.parse(tmp_path / "two" / "day1" / "north.mp4.xml")
    person, car = document.findall("track")
    assert (person.get("label"), car.get("label")) == ("person", "car")
    # The car stands still and is cut off at the edge: two boxes for 40 frames.
    assert [(box.get("frame"), box.get("xbr")) for box in car] == [("0", "160.00"), ("39", "160.00")]
    outside = [int(box.get("frame")) for box in person if box.get("outside") == "1"]
    assert outside == [15]
    assert {int(box.get("frame")) for box in person} >= {0, 8, 12, 14, 20, 39}
    occluded = {int(box.get("frame")) for box in person if box.get("occluded") == "1"}
    assert occluded <= {8, 9, 10, 11}
    assert not etree.parse(tmp_path / "two" / "day2" / "north.mp4.xml").findall("track")


def test_the_schema_refuses_what_is_no_cvat(schema: etree.XMLSchema, two: list, tmp_path: Path) -> None:
    write_format("cvat", two, tmp_path / "out")
    text = (tmp_path / "out" / "day1" / "north.mp4.xml").read_text()
    for before, after in (('outside="0"', 'outside="no"'), ("<size>40</size>", ""), (' label="car"', ""), ("1.1", "2")):
        assert not schema.validate(etree.fromstring(text.replace(before, after).encode()))


def test_a_track_has_the_label_of_most_of_its_boxes(tmp_path: Path, make_video: MakeVideo) -> None:
    def flips(frame: int) -> list:
        return [(7, 1 if frame < 6 else 0, (0, 0, 10, 10), 0.9, False), (8, frame % 2, (0, 0, 10, 10), 0.9, False)]

    write_format("cvat", [make_video("a.mp4", 10, flips)], tmp_path / "out")
    tracks = etree.parse(tmp_path / "out" / "a.mp4.xml").findall("track")
    assert [(track.get("id"), track.get("label")) for track in tracks] == [("7", "car"), ("8", "person")]


def test_mot(two: list, tmp_path: Path) -> None:
    write_format("mot", two, tmp_path / "out")
    rows = read_mot(tmp_path / "out" / "day1" / "north.mp4" / "gt" / "gt.txt")
    assert len(rows) == 40 + 35
    assert (rows.frame.min(), rows.frame.max()) == (1, 40)
    assert set(rows.confidence) == {1.0}
    car = rows.track_id == 2
    # Not cut off at the edge: MOT's boxes may reach beyond it.
    np.testing.assert_allclose(rows.ltwh[car][0], [120.25, 40, 49.75, 40.5])
    assert set(rows.class_id[car]) == {2}
    assert len(read_mot(tmp_path / "out" / "day2" / "north.mp4" / "gt" / "gt.txt")) == 0
    info = read_seqinfo(tmp_path / "out" / "day1" / "north.mp4" / "seqinfo.ini")
    assert (info.n_frames, info.fps, info.width_px, info.height_px) == (40, 10.0, 160, 96)
    text = (tmp_path / "out" / "day1" / "north.mp4" / "gt" / "gt.txt").read_text().splitlines()
    hidden = [line.split(",")[0] for line in text if line.split(",")[1] == "1" and line.endswith(",0")]
    assert hidden == ["9", "10", "11", "12"]
    assert (tmp_path / "out" / "seqmap.txt").read_text() == "name\nday1/north.mp4\nday2/north.mp4\n"


def test_trackeval_reads_mot(two: list, tmp_path: Path, make_video: MakeVideo, scene: Callable) -> None:
    """With the tracks as ground truth and as results, nothing is missed."""
    videos = [two[0], make_video("gate.mp4", objects=scene)]
    write_format("mot", videos, tmp_path / "gt", FormatOptions(classes=("person",)))
    for video in videos:
        rows = read_mot(tmp_path / "gt" / video.facts.name / "gt" / "gt.txt")
        results = tmp_path / "trackers" / "ours" / "data" / f"{video.facts.name}.txt"
        results.parent.mkdir(parents=True, exist_ok=True)
        write_mot(results, rows)
    settings = {
        **{"GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers"), "SKIP_SPLIT_FOL": True},
        **{"SEQMAP_FILE": str(tmp_path / "gt" / "seqmap.txt"), "TRACKERS_TO_EVAL": ["ours"], "PRINT_CONFIG": False},
        **{"OUTPUT_FOLDER": str(tmp_path), "BENCHMARK": "MOT17"},
    }
    dataset = trackeval.datasets.MotChallenge2DBox(settings)
    assert sorted(dataset.seq_list) == ["day1/north.mp4", "gate.mp4"]
    for sequence in dataset.seq_list:
        raw = dataset.get_raw_seq_data("ours", sequence)
        data = dataset.get_preprocessed_seq_data(raw, "pedestrian")
        figures = trackeval.metrics.HOTA().eval_sequence(data)
        assert (data["num_timesteps"], data["num_gt_dets"], data["num_gt_ids"]) == (40, 35, 1)
        assert figures["HOTA"].mean() == pytest.approx(1)


def test_coco(
    two: list, tmp_path: Path, make_video: MakeVideo, scene: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = [*two, make_video("z.mp4", objects=scene)]
    write_format("coco", videos, tmp_path / "out")
    coco = COCO(str(tmp_path / "out" / "annotations/instances_default.json"))
    capsys.readouterr()
    assert (len(coco.imgs), len(coco.anns), len(coco.cats)) == (120, 150, 2)
    of_video = defaultdict(set)
    for one in coco.anns.values():
        image = coco.imgs[one["image_id"]]
        assert image["video_id"] == one["video_id"]
        of_video[one["video_id"]].add(one["track_id"])
        left, _, width, height = one["bbox"]
        assert left + width <= 160
        assert one["area"] == pytest.approx(width * height, abs=0.01)
    # Numbers of tracks are unique in the file.
    assert of_video == {1: {1, 2}, 3: {3, 4}}
    predicted = [one for one in coco.anns.values() if one.get("predicted")]
    assert [coco.imgs[one["image_id"]]["frame_id"] for one in predicted] == [8, 9, 10, 11] * 2
    assert coco.imgs[13]["file_name"] == "day1/north.mp4/frame_000012.jpg"
    assert coco.dataset["videos"][2] == {
        "id": 3,
        "name": "z.mp4",
        "width": 160,
        "height": 96,
        "fps": 10.0,
        "length": 40,
    }


def test_parquet(two: list, tmp_path: Path) -> None:
    write_format("parquet", two, tmp_path / "out")
    table = pd.read_parquet(tmp_path / "out")
    assert len(table) == 75
    assert set(table["source"]) == {"day1/north.mp4"}
    assert table["predicted"].sum() == 4
    assert table["x2"].max() == 170
    # The columns of `run -o tracks.parquet`.
    assert set(table.columns) == set(track_schema().names)
    first = table[(table["frame"] == 3) & (table["track_id"] == 2)].iloc[0]
    assert (first["class"], first["class_id"], first["pts_s"], first["confidence"]) == ("car", 1, 0.3, 0.5)
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == [
        "source=day1%2Fnorth.mp4",
        "source=day2%2Fnorth.mp4",
    ]


DATUMARO = {
    "type": "object",
    "required": ["dm_format_version", "infos", "categories", "items"],
    "additionalProperties": False,
    "properties": {
        "dm_format_version": {"const": "1.0"},
        "infos": {"type": "object"},
        "categories": {
            "type": "object",
            "properties": {
                "label": {
                    "type": "object",
                    "required": ["labels", "attributes"],
                    "properties": {
                        "labels": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name", "parent", "attributes"],
                                "properties": {"name": {"type": "string"}, "parent": {"type": "string"}},
                            },
                        },
                    },
                }
            },
        },
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "annotations", "image"],
                "properties": {
                    "id": {"type": "string"},
                    "attr": {"type": "object", "required": ["frame"]},
                    "image": {
                        "type": "object",
                        "required": ["path", "size"],
                        "properties": {
                            "path": {"type": "string"},
                            "size": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
                        },
                    },
                    "annotations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["id", "type", "attributes", "group", "label_id", "z_order", "bbox"],
                            "properties": {
                                "id": {"type": "integer"},
                                "type": {"const": "bbox"},
                                "group": {"type": "integer"},
                                "label_id": {"type": "integer"},
                                "z_order": {"type": "integer"},
                                "bbox": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4},
                            },
                        },
                    },
                },
            },
        },
    },
}
"""After the example in Datumaro's documentation, "Datumaro Format", version 1.0."""


def test_datumaro(two: list, tmp_path: Path) -> None:
    write_format("datumaro", two, tmp_path / "out")
    for path in (tmp_path / "out" / "annotations").iterdir():
        jsonschema.validate(json.loads(path.read_text()), DATUMARO)
    document = json.loads((tmp_path / "out" / "annotations" / "day1__north.mp4.json").read_text())
    assert [item["id"] for item in document["items"]] == [f"frame_{number:06d}" for number in range(40)]
    item = document["items"][9]
    assert item["image"] == {"path": "frame_000009.jpg", "size": [96, 160]}
    assert [one["attributes"]["occluded"] for one in item["annotations"]] == [True, False]
    assert item["annotations"][1]["bbox"] == [120.25, 40.0, 39.75, 40.5]


def test_fiftyone(two: list, tmp_path: Path, clip: Path) -> None:
    write_format("fiftyone", two, tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["type"] == "eta.core.datasets.LabeledVideoDataset"
    assert manifest["index"][0] == {"data": "data/day1__north.mp4", "labels": "labels/day1__north.mp4.json"}
    for entry in manifest["index"]:
        assert (tmp_path / "out" / entry["data"]).resolve() == clip.resolve()
    document = json.loads((tmp_path / "out" / "labels" / "day1__north.mp4.json").read_text())
    assert list(document["frames"]) == [str(number) for number in range(1, 41)]
    person, car = document["frames"]["10"]["objects"]["objects"]
    assert person["attrs"]["attrs"][0] == {
        "type": "eta.core.data.BooleanAttribute", "name": "predicted", "value": True,
    }  # fmt: skip
    assert car["bounding_box"] == {
        "top_left": {"x": 0.7515625, "y": round(40 / 96, 7)},
        "bottom_right": {"x": 1.0, "y": round(80.5 / 96, 7)},
    }
    assert (car["label"], car["index"], car["confidence"]) == ("car", 2, 0.5)


def test_yolo_shows_the_frames_that_it_names(
    two: list, tmp_path: Path, read_counter: Callable[[Path], int], scene: Callable
) -> None:
    write_format("yolo", two, tmp_path / "out", FormatOptions(images="every=0.5s"))
    pictures = sorted((tmp_path / "out" / "images").rglob("*.jpg"))
    assert {path.parent.name for path in pictures} == {"train", "val"}
    # Pictures of one video are all on one side.
    assert len({(path.parent.name, path.name.partition("__")[0]) for path in pictures}) == 2
    assert (
        [read_counter(path) for path in pictures]
        == [int(path.stem[-6:]) for path in pictures]
        == [*range(0, 40, 5)] * 2
    )
    found = {split: examine(tmp_path / "out" / "data.yaml", split, cache=False)[0] for split in ("train", "val")}
    assert found["train"].class_names == ("person", "car")
    images = [image for dataset in found.values() for image in dataset.images]
    for image in images:
        frame = int(image.path.stem[-6:])
        if "day1" in image.path.name:
            # What was only assumed is left out.
            wanted = [one for one in scene(frame) if not one[4]]
            assert image.class_id.tolist() == [one[1] for one in wanted]
            np.testing.assert_allclose(image.xyxy, np.clip([one[2] for one in wanted], 0, [160, 96] * 2), atol=0.02)
        else:
            assert not len(image.xyxy)


@pytest.mark.parametrize(("images", "wanted"), [("every=13", [0, 13, 26, 39]), ("every=1s", [0, 10, 20, 30])])
@pytest.mark.parametrize("name", ["coco", "datumaro"])
def test_pictures_beside_other_formats(
    name: str, images: str, wanted: list[int], two: list, tmp_path: Path, read_counter: Callable[[Path], int]
) -> None:
    write_format(name, two[:1], tmp_path / "out", FormatOptions(images=images))
    pictures = sorted((tmp_path / "out" / "images").rglob("*.jpg"))
    assert [read_counter(path) for path in pictures] == wanted
    if name == "coco":
        document = json.loads((tmp_path / "out" / "annotations/instances_default.json").read_text())
        assert [image["file_name"] for image in document["images"]] == [
            f"day1/north.mp4/frame_{n:06d}.jpg" for n in wanted
        ]
        dataset, report = read_training_set(
            tmp_path / "out" / "annotations/instances_default.json", "train", cache=False
        )
        assert (len(dataset.images), report.clean) == (4, True)
    else:
        document = json.loads((tmp_path / "out" / "annotations" / "day1__north.mp4.json").read_text())
        assert [f"day1__north.mp4/{item['image']['path']}" for item in document["items"]] == [
            path.relative_to(tmp_path / "out" / "images").as_posix() for path in pictures
        ]


@pytest.mark.parametrize(
    ("n_frames", "size", "message"),
    [(41, None, "found 40 frames instead of 41"), (40, (64, 48), "found 160x96 px instead of 64x48")],
)
def test_a_video_that_changed_gives_no_pictures(
    n_frames: int, size: tuple | None, message: str, tmp_path: Path, make_video: MakeVideo, clip: Path
) -> None:
    video = make_video("north.mp4", n_frames, path=clip)
    if size:
        object.__setattr__(video.facts, "width_px", size[0])
        object.__setattr__(video.facts, "height_px", size[1])
    with pytest.raises(DatasetError, match=message):
        write_format("yolo", [video], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_written_can_be_chosen(two: list, tmp_path: Path) -> None:
    def rows(**options: object) -> pd.DataFrame:
        write_format("parquet", two, tmp_path / "out", FormatOptions(**options))  # type: ignore[arg-type]
        return pd.read_parquet(tmp_path / "out")

    cars = rows(classes=("car",))
    assert (set(cars["class"]), set(cars["class_id"]), len(cars)) == ({"car"}, {0}, 40)
    assert set(rows(min_confidence=0.6)["class"]) == {"person"}
    assert not rows(include_predicted=False)["predicted"].any()
    write_format("yolo", two[:1], tmp_path / "yolo", FormatOptions(images="every=9", include_predicted=True))
    assert len((tmp_path / "yolo/labels/train/day1__north.mp4_000009.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("sizes", "shares", "seed"),
    [
        ([100], (0.8, 0.2), 0),
        ([100, 1], (0.8, 0.2), 3),
        ([10] * 10, (0.8, 0.2), 1),
        ([50, 20, 20, 5, 5], (0.6, 0.2, 0.2), 2),
    ],
)
def test_videos_are_dealt_out_whole(sizes: list[int], shares: tuple[float, ...], seed: int) -> None:
    found = deal_out(sizes, shares, seed)
    assert found == deal_out(sizes, shares, seed)
    assert len(set(found)) == min(len(sizes), len(shares))
    if len(sizes) >= 5:
        for split, share in zip(("train", "val", "test"), shares, strict=False):
            got = sum(size for size, its in zip(sizes, found, strict=True) if its == split) / sum(sizes)
            assert got == pytest.approx(share, abs=0.11)


@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_memory_does_not_grow_with_the_video(
    name: str, tmp_path: Path, make_video: MakeVideo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.archive.formats.parquet.ROW_GROUP", 400)
    rng = np.random.default_rng(0)
    boxes = [np.round(np.sort(rng.uniform(0, 90, 4)), 2).tolist() for _ in range(97)]

    def peak(n_frames: int) -> int:
        video = make_video("long.mp4", n_frames, lambda frame: [(1, 0, boxes[frame % 97], 0.5, False)])
        tracemalloc.start()
        write_format(name, [video], tmp_path / str(n_frames), FormatOptions(max_error_px=0.0))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    # The first call loads what the format needs.
    write_format(name, [make_video("a.mp4", 3)], tmp_path / "a")
    few, many = peak(500), peak(4000)
    # One row of a format is some 100 bytes and more, so 3500 of them would be seen.
    assert many < few + 200_000


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_PICTURES)
def test_a_long_video(name: str, tmp_path: Path, make_video: MakeVideo) -> None:
    """An hour at 28 frames/s in one format of each kind (JSON, XML); six minutes in the others."""
    n_frames = 100_000 if name in ("coco", "cvat") else 10_000
    objects = [(1, 0, (1.0, 2.0, 30.0, 40.0), 0.5, False)]
    video = make_video("long.mp4", n_frames, lambda frame: objects if frame % 2 else ())
    write_format(name, [video], tmp_path / "out")
    if name == "parquet":
        assert len(pd.read_parquet(tmp_path / "out")) == n_frames // 2
    elif name == "mot":
        assert len(read_mot(tmp_path / "out" / "long.mp4" / "gt" / "gt.txt")) == n_frames // 2
    elif name == "cvat":
        # Seen and gone in turn: each sighting and each gap has its box.
        assert sum(1 for _ in etree.iterparse(tmp_path / "out" / "long.mp4.xml", tag="box")) == n_frames - 1
