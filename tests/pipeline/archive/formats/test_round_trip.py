"""Results are written, corrected, and come back as training data, through the commands that people type."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from lxml import etree

from detector.data.read import examine
from pipeline.archive.formats import FormatOptions, write_format
from pipeline.archive.record import AnnotatedVideo
from pipeline.cli.main import main

MakeVideo = Callable[..., AnnotatedVideo]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, counter_clip: Callable[..., Path]) -> Path:
    """Two clips of one name in different folders, and a longer one."""
    folder = tmp_path_factory.mktemp("clips")
    counter_clip(folder / "day1" / "north.mp4", 40)
    counter_clip(folder / "day2" / "north.mp4", 40)
    counter_clip(folder / "gate.mp4", 60)
    return folder


@pytest.fixture
def archive(make_video: MakeVideo, scene: Callable, clips: Path) -> list[AnnotatedVideo]:
    names = (("day1/north.mp4", 40), ("day2/north.mp4", 40))
    return [make_video(name, n, scene, path=clips / name) for name, n in names]


def _boxes(data: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Label and corners of every picture, by name."""
    found = {}
    for split in ("train", "val"):
        if (data / "images" / split).is_dir():
            dataset, _ = examine(data / "data.yaml", split, cache=False)
            for image in dataset.images:
                names = [dataset.class_names[number] for number in image.class_id]
                found[image.path.name] = list(zip(names, image.xyxy, strict=True))
    return found


def _import(source: Path, out: Path, *more: str) -> int:
    return main(["dataset", "import", str(source), "-o", str(out), *more])


@pytest.mark.parametrize("name", ["cvat", "mot", "coco", "datumaro", "fiftyone"])
def test_what_is_written_comes_back(
    name: str,
    archive: list,
    clips: Path,
    tmp_path: Path,
    read_counter: Callable[[Path], int],
    scene: Callable[[int], Sequence],
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_format(name, archive, tmp_path / "out", FormatOptions(max_error_px=0.5))
    assert _import(tmp_path / "out", tmp_path / "data", "--videos", str(clips), "--every", "0.3") == 0
    assert "28 pictures (14 train, 14 val), 52 boxes" in capsys.readouterr().out
    boxes = _boxes(tmp_path / "data")
    assert sorted(boxes) == sorted(
        f"{video}__north.mp4_{n:06d}.jpg" for video in ("day1", "day2") for n in range(0, 40, 3)
    )
    for path in (tmp_path / "data" / "images").rglob("*.jpg"):
        frame = int(path.stem[-6:])
        assert read_counter(path) == frame
        wanted = scene(frame)
        found = sorted(boxes[path.name], key=lambda one: one[0], reverse=True)
        assert [label for label, _ in found] == [("person", "car")[one[1]] for one in wanted]
        corners = np.clip([one[2] for one in wanted], 0, [160, 96] * 2)
        np.testing.assert_allclose([xyxy for _, xyxy in found], corners, atol=0.55 if name == "cvat" else 0.02)
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert (manifest["made_by"], manifest["status"], manifest["format"]) == (
        "tracklight dataset import",
        "completed",
        name,
    )
    assert len(manifest["annotations"][0]["sha256"]) == 64
    assert main(["dataset", "check", str(tmp_path / "data" / "data.yaml")]) == 0


def test_corrections_in_cvat_arrive(
    archive: list, clips: Path, tmp_path: Path, read_counter: Callable[[Path], int], scene: Callable[[int], Sequence]
) -> None:
    """In day1 the car is moved from frame 20 on, in day2 the car is deleted; the person is called a child in both."""
    write_format("cvat", archive, tmp_path / "out", FormatOptions(max_error_px=0.0))
    for day in ("day1", "day2"):
        path = tmp_path / "out" / day / "north.mp4.xml"
        document = ElementTree.parse(path)
        root = document.getroot()
        for node in root.iter("name"):
            if node.text == "person":
                node.text = "child"
        person, car = root.findall("track")
        person.set("label", "child")
        if day == "day2":
            root.remove(car)
        else:
            first = car.find("box")
            assert first is not None
            moved = ElementTree.Element(
                "box", {**first.attrib, "frame": "20", "xtl": "20", "ytl": "10", "xbr": "60", "ybr": "50"}
            )
            car.insert(1, moved)
            last = car.findall("box")[-1]
            last.attrib.update({name: moved.attrib[name] for name in ("xtl", "ytl", "xbr", "ybr")})
        document.write(path, encoding="utf-8")
    assert _import(tmp_path / "out", tmp_path / "data", "--videos", str(clips), "--every", "0") == 0
    boxes = _boxes(tmp_path / "data")
    assert len(boxes) == 80
    for name, found in boxes.items():
        frame = int(Path(name).stem[-6:])
        of_person = [one for one in scene(frame) if one[0] == 1]
        persons = [xyxy for label, xyxy in found if label == "child"]
        np.testing.assert_allclose(
            np.reshape(persons, (-1, 4)), np.reshape([one[2] for one in of_person], (-1, 4)), atol=0.02
        )
        cars = [xyxy for label, xyxy in found if label == "car"]
        if name.startswith("day2"):
            assert not cars
        else:
            # A straight way from where it stood to where it was moved to.
            share = min(frame / 20, 1)
            there = np.array([120.25, 40, 160, 80.5]) * (1 - share) + np.array([20, 10, 60, 50]) * share
            np.testing.assert_allclose(cars, [there], atol=0.02)
    for path in (tmp_path / "data" / "images").rglob("*.jpg"):
        assert read_counter(path) == int(path.stem[-6:])


def test_labels_are_renamed_joined_and_left_out(
    archive: list, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_format("coco", archive, tmp_path / "out")
    where = ("--videos", str(clips))
    assert _import(tmp_path / "out", tmp_path / "a", *where, "--classes", "car=vehicle", "person=") == 0
    assert "left out: 8 x label 'person'" in capsys.readouterr().err
    assert {label for found in _boxes(tmp_path / "a").values() for label, _ in found} == {"vehicle"}
    assert _import(tmp_path / "out", tmp_path / "b", *where, "--classes", "car=thing", "person=thing") == 0
    assert {label for found in _boxes(tmp_path / "b").values() for label, _ in found} == {"thing"}
    capsys.readouterr()
    assert _import(tmp_path / "out", tmp_path / "c", *where, "--classes", "car") == 1
    assert "wanted those of the classes (car), found 'person' (70 times)" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("name", ["cvat", "mot", "coco", "datumaro", "fiftyone"])
def test_hidden_objects_can_be_left_out(name: str, archive: list, clips: Path, tmp_path: Path) -> None:
    write_format(name, archive[:1], tmp_path / "out")
    more = ("--videos", str(clips), "--every", "0", "--val-share", "0")
    assert _import(tmp_path / "out", tmp_path / "data", *more, "--drop-occluded") == 0
    boxes = _boxes(tmp_path / "data")
    without = {int(Path(picture).stem[-6:]) for picture, found in boxes.items() if "person" not in dict(found)}
    assert without == {8, 9, 10, 11, 15, 16, 17, 18, 19}


@pytest.mark.parametrize("name", ["coco", "datumaro"])
def test_pictures_that_lie_beside_are_taken(
    name: str, archive: list, tmp_path: Path, read_counter: Callable[[Path], int]
) -> None:
    write_format(name, archive, tmp_path / "out", FormatOptions(images="every=10"))
    assert _import(tmp_path / "out", tmp_path / "data") == 0
    pictures = sorted((tmp_path / "data" / "images").rglob("*.jpg"))
    assert sorted(read_counter(path) for path in pictures) == [0, 0, 10, 10, 20, 20, 30, 30]
    # Whole recordings on either side.
    sides = {(path.parent.name, path.name.partition("__")[0]) for path in pictures}
    assert len(sides) == 2
    assert sum(len(found) for found in _boxes(tmp_path / "data").values()) == 2 * (4 + 4)


def test_one_recording_gives_its_last_part_to_validation(archive: list, clips: Path, tmp_path: Path) -> None:
    write_format("cvat", archive[:1], tmp_path / "out")
    assert (
        _import(tmp_path / "out", tmp_path / "data", "--videos", str(clips), "--every", "0", "--val-share", "0.25") == 0
    )
    held_back = sorted(int(path.stem[-6:]) for path in (tmp_path / "data" / "images" / "val").iterdir())
    assert held_back == list(range(30, 40))


def test_an_archive_of_the_first_frames_trains_no_background_behind_them(
    make_video: MakeVideo, scene: Callable, clips: Path, tmp_path: Path
) -> None:
    """`annotate --max-frames`: nobody looked at the rest of the video."""
    video = make_video("gate.mp4", 25, scene, path=clips / "gate.mp4")
    for name in ("cvat", "mot", "coco", "datumaro", "fiftyone"):
        write_format(name, [video], tmp_path / name)
        assert _import(tmp_path / name, tmp_path / f"{name}-data", "--videos", str(clips), "--every", "0") == 0
        assert len(list((tmp_path / f"{name}-data" / "images").rglob("*.jpg"))) == 25, name


@pytest.mark.slow
def test_what_is_written_trains(archive: list, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to pictures and labels: written for YOLO at once, and corrected in CVAT before."""
    monkeypatch.chdir(tmp_path)
    write_format("yolo", archive, tmp_path / "yolo", FormatOptions(images="every=5"))
    write_format("cvat", archive, tmp_path / "cvat")
    assert _import(tmp_path / "cvat", tmp_path / "data", "--videos", str(clips), "--every", "0.5") == 0
    tiny = ("--weights", "none", "--model", "yolov7-nano", "--img-size", "64", "--workers", "0", "--epochs", "1")
    for name in ("yolo", "data"):
        data = str(tmp_path / name / "data.yaml")
        assert main(["train", "--data", data, *tiny, "--quiet", "--project", str(tmp_path / "runs")]) == 0
    assert len(list((tmp_path / "runs").rglob("best.safetensors"))) == 2


def test_cvat_for_images(tmp_path: Path) -> None:
    """Polygons become the boxes around them; what has no box is counted."""
    (tmp_path / "in" / "images").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "in" / "images" / name), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "in" / "annotations.xml").write_text(
        """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><mode>annotation</mode><size>2</size>
<labels><label><name>cat</name></label><label><name>dog</name></label></labels></job></meta>
<image id="0" name="a.png" width="100" height="50">
  <box label="cat" source="manual" occluded="0" xtl="10" ytl="5" xbr="30" ybr="25" z_order="0">
    <attribute name="a">b</attribute>
  </box>
  <polygon label="dog" occluded="0" points="40,10;60,12;50,44"/>
  <mask label="cat" occluded="0" rle="1,2" left="70" top="20" width="10" height="20"/>
  <ellipse label="cat" occluded="0" cx="20" cy="40" rx="5" ry="4"/>
  <polyline label="dog" occluded="0" points="0,0;9,9"/>
  <points label="dog" occluded="0" points="0,0"/>
  <skeleton label="dog"><points label="eye" points="1,1"/></skeleton>
  <tag label="dog"/>
  <box label="dog" occluded="0" xtl="200" ytl="5" xbr="300" ybr="25"/>
</image>
<image id="1" name="b.png" width="100" height="50"></image>
</annotations>"""
    )
    assert _import(tmp_path / "in", tmp_path / "data", "--val-share", "0") == 0
    boxes = _boxes(tmp_path / "data")
    assert boxes["b.png"] == []
    assert [(label, xyxy.round(1).tolist()) for label, xyxy in boxes["a.png"]] == [
        ("cat", [10, 5, 30, 25]),
        ("dog", [40, 10, 60, 44]),
        ("cat", [70, 20, 80, 40]),
        ("cat", [15, 36, 25, 44]),
    ]
    left_out = json.loads((tmp_path / "data" / "manifest.json").read_text())["left_out"]
    assert left_out == {
        **{"polyline": 1, "points": 2, "skeleton": 1, "tag": 1},
        "box without area in the picture": 1,
    }


def test_a_cvat_task_that_takes_every_fifth_frame(archive: list, clips: Path, tmp_path: Path) -> None:
    """Frame numbers stay those of the video; only the frames of the task are labelled."""
    write_format("cvat", archive[:1], tmp_path / "out")
    path = tmp_path / "out" / "day1" / "north.mp4.xml"
    document = etree.parse(path)
    task = document.find("meta/task")
    task.find("size").text = "6"
    for name, text in (("start_frame", "5"), ("stop_frame", "30"), ("frame_filter", "step=5")):
        etree.SubElement(task, name).text = text
    document.write(path)
    assert _import(tmp_path / "out", tmp_path / "data", "--videos", str(clips), "--every", "0", "--val-share", "0") == 0
    frames = sorted(int(one.stem[-6:]) for one in (tmp_path / "data" / "images" / "train").iterdir())
    assert frames == [5, 10, 15, 20, 25, 30]


def test_a_track_stays_until_the_end_of_the_task(clips: Path, tmp_path: Path) -> None:
    """As in CVAT: after its last keyframe a box stays where it is."""
    (tmp_path / "gate.mp4.xml").write_text(
        "<annotations><meta><task><size>60</size><mode>interpolation</mode><labels><label><name>x</name></label></labels>"
        "</task></meta><track id='0' label='x'>"
        "<box frame='50' xtl='1' ytl='1' xbr='11' ybr='11' outside='0' occluded='0' keyframe='1'/>"
        "<box frame='52' xtl='90' ytl='1' xbr='95' ybr='11' outside='0' occluded='0' keyframe='0'/>"
        "</track></annotations>"
    )
    more = ("--videos", str(clips), "--every", "0", "--val-share", "0")
    assert _import(tmp_path / "gate.mp4.xml", tmp_path / "data", *more) == 0
    boxes = _boxes(tmp_path / "data")
    assert [len(boxes[f"gate.mp4_{n:06d}.jpg"]) for n in (0, 49, 50, 52, 59)] == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(boxes["gate.mp4_000052.jpg"][0][1], [1, 1, 11, 11], atol=0.02)


def test_mot_with_pictures(tmp_path: Path) -> None:
    """A sequence of the challenge: pictures in img1, classes of MOT16, rows that do not count."""
    place = tmp_path / "MOT-01"
    for folder in ("img1", "gt"):
        (place / folder).mkdir(parents=True)
    for number in range(1, 6):
        cv2.imwrite(str(place / "img1" / f"{number:06d}.jpg"), np.full((50, 100, 3), number, np.uint8))
    (place / "gt" / "gt.txt").write_text("1,1,10,5,20,20,1,1,1\n1,2,50,5,20,20,0,1,1\n3,1,12,5,20,20,1,3,0.5\n")
    assert _import(place, tmp_path / "data", "--val-share", "0") == 0
    boxes = _boxes(tmp_path / "data")
    assert {name: [label for label, _ in found] for name, found in boxes.items()} == {
        "MOT-01__img1__000001.jpg": ["pedestrian"],
        "MOT-01__img1__000002.jpg": [],
        "MOT-01__img1__000003.jpg": ["car"],
        "MOT-01__img1__000004.jpg": [],
        "MOT-01__img1__000005.jpg": [],
    }
