"""Sub-verb `dataset import`: files of strangers, and what is said of those that cannot be used."""

from __future__ import annotations

import json
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipeline.archive.corrected import checks
from pipeline.archive.corrected.find import read_annotations
from pipeline.cli.main import main
from pipeline.core.errors import DatasetError

HEAD = (
    "<annotations><version>1.1</version><meta><task><size>5</size><mode>interpolation</mode>"
    "<labels><label><name>cat</name></label></labels></task></meta>\n"
)
BOX = "<box frame='0' xtl='1' ytl='1' xbr='9' ybr='9' outside='0' occluded='0' keyframe='1'/>"
TRACK = f"<track id='0' label='cat'>\n{BOX}\n</track>"
BOMB = (
    '<?xml version="1.0"?>\n<!DOCTYPE annotations [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>\n<annotations>&c;</annotations>'
)
FOREIGN = '<!DOCTYPE annotations [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n<annotations>&x;</annotations>'
COCO: dict[str, Any] = {
    "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 50}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8]}],
}
DATUMARO: dict[str, Any] = {
    "infos": {},
    "categories": {"label": {"labels": [{"name": "cat", "parent": ""}]}},
    "items": [
        {
            "id": "frame_000000",
            "attr": {"frame": 0, "video": "c.mp4"},
            "image": {"path": "x.jpg", "size": [48, 64]},
            "annotations": [{"id": 0, "type": "bbox", "label_id": 0, "bbox": [1, 1, 8, 8]}],
        }
    ],
}


FIFTYONE_OBJECT = {
    "label": "cat",
    "bounding_box": {"top_left": {"x": 0, "y": 0}, "bottom_right": {"x": 1, "y": 1}},
    "attrs": {"attrs": [{"name": "predicted", "value": True}]},
}


def _coco(**changes: Any) -> str:
    return json.dumps(COCO | changes)


def _image(**changes: Any) -> str:
    return _coco(images=[COCO["images"][0] | changes])


def _of_video(name: str) -> str:
    image = {**COCO["images"][0], "file_name": "b", "video_id": 1, "frame_id": 3}
    return _coco(videos=[{"id": 1, "name": name}], images=[image])


def _annotation(**changes: Any) -> str:
    return _coco(annotations=[COCO["annotations"][0] | changes])


def _item(**changes: Any) -> str:
    return json.dumps(DATUMARO | {"items": [DATUMARO["items"][0] | changes]})


def _manifest(labels: str = "labels/c.json", data: str = "data/c.mp4") -> str:
    entry = {"data": data, "labels": labels}
    return json.dumps({"type": "eta.core.datasets.LabeledVideoDataset", "index": [entry]})


def _fiftyone(frames: Any) -> dict[str, str]:
    return {"manifest.json": _manifest(), "labels/c.json": json.dumps({"filename": "c.mp4", "frames": frames})}


# What is wrong: files by name, and what is said of them.
REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "nothing there": ({"notes.txt": ""}, r"in: wanted an \.xml of CVAT, .*; found none"),
    "several formats": ({"a.xml": HEAD, "b.json": _coco()}, r"wanted annotations of one format, found coco, cvat"),
    # XML
    "entity bomb": ({"a.xml": BOMB}, r"a\.xml, line 2: wanted no document type"),
    "foreign entity": ({"a.xml": FOREIGN}, r"a\.xml, line 1: wanted no document type"),
    "entity without a type": (
        {"a.xml": "<annotations>\n&x;</annotations>"},
        r"line 2: wanted XML, found: undefined entity",
    ),
    "half a file": (
        {"c.mp4.xml": HEAD + "<track id='0' label='cat'>\n<box"},
        r"c\.mp4\.xml, line 3: wanted XML, found",
    ),
    "other XML": ({"a.xml": "<svg/>"}, r"a\.xml, line 1: wanted <annotations>, found <svg>"),
    "deep XML": ({"a.xml": "<annotations>" + "<g>" * 200}, r"found elements in elements without end"),
    "empty XML": ({"a.xml": ""}, r"a\.xml, line 1: wanted XML, found: no element found"),
    "no number": ({"c.mp4.xml": HEAD + TRACK.replace("'9'", "'nine'")}, r"line 3: xbr: wanted a number, found 'nine'"),
    "infinite": ({"c.mp4.xml": HEAD + TRACK.replace("'9'", "'1e999'")}, r"line 3: xbr: wanted a number, found '1e999'"),
    "not a number": ({"c.mp4.xml": HEAD + TRACK.replace("'9'", "'nan'")}, r"line 3: xbr: wanted a number, found 'nan'"),
    "missing": ({"c.mp4.xml": HEAD + TRACK.replace("xtl='1'", "")}, r"line 3: wanted 'xtl' in <box>, found none"),
    "label missing": ({"c.mp4.xml": HEAD + "<track/>"}, r"line 2: wanted 'label' in <track>, found none"),
    "huge frame": (
        {"c.mp4.xml": HEAD + TRACK.replace("frame='0'", f"frame='{'9' * 5000}'")},
        r"line 3: frame: wanted a who",
    ),
    "negative frame": (
        {"c.mp4.xml": HEAD + TRACK.replace("frame='0'", "frame='-1'")},
        r"line 3: frame: wanted a whole num",
    ),
    "huge task": (
        {"c.mp4.xml": HEAD.replace(">5<", ">99999999999<") + TRACK + "</annotations>"},
        r"size: wanted a whole number from 0 to 5",
    ),
    "huge picture": (
        {"a.xml": "<annotations><image id='0' name='a.png' width='9999999' height='50'/>"},
        r"line 1: width: wanted a whole number from 0 to 100000, found '9999999'",
    ),
    "polygon": (
        {"a.xml": "<annotations><image name='a.png'><polygon label='cat' points='1,2;3'/></image></annotations>"},
        r"line 1: points: wanted x,y;x,y",
    ),
    "picture outside": (
        {"a.xml": "<annotations><image name='../../etc/a.png' width='1' height='1'/></annotations>"},
        r"line 1: wanted the name of a file in the folder, found '\.\./\.\./etc/a\.png'",
    ),
    "video outside": (
        {"a.xml": HEAD.replace("<size>", "<source>../c.mp4</source><size>") + TRACK + "</annotations>"},
        r"the video's name: wanted the name of a file in the folder, found '\.\./c\.mp4'",
    ),
    "no video's name": (
        {"a.xml": HEAD + TRACK + "</annotations>"},
        r"wanted the video's name .* rename the file to <video>",
    ),
    "unknown label": (
        {"c.mp4.xml": HEAD + TRACK.replace("cat", "dog") + "</annotations>"},
        r"labels: wanted those of the classes \(cat\), found 'dog' \(1 times\)",
    ),
    # JSON
    "broken JSON": ({"a.json": '{"images":\n[}'}, r"a\.json, line 2: wanted JSON, found"),
    "deep JSON": ({"a.json": "[" * 200_000}, r"a\.json: wanted annotations, found JSON that is nested too deeply"),
    "endless number": (
        {"a.json": _coco().replace("[1, 1, 8, 8]", "[" + "9" * 5000 + ", 1, 8, 8]")},
        r"a\.json: wanted JSON",
    ),
    "NaN": ({"a.json": _coco().replace("[1, 1, 8, 8]", "[NaN, 1, 8, 8]")}, r"wanted JSON, found: the number NaN"),
    "bytes": ({"a.json": "\udc80"}, r"a\.json: wanted JSON, found"),
    "no list": ({"a.json": _coco(images={"id": 1})}, r"a\.json: images: wanted a list of records, found dict"),
    "no id": ({"a.json": _coco(images=[{"file_name": "a.png"}])}, r"wanted an 'id' in every record"),
    "other image": ({"a.json": _annotation(image_id=9)}, r"annotation 7: wanted an image_id of the images, found 9"),
    "odd image": (
        {"a.json": _annotation(image_id=[1])},
        r"annotation 7: wanted an image_id of the images, found \[1\]",
    ),
    "other class": (
        {"a.json": _annotation(category_id=9)},
        r"annotation 7: wanted a category_id of the categories, found 9",
    ),
    "three numbers": (
        {"a.json": _annotation(bbox=[1, 2, 3])},
        r"annotation 7: wanted a box of left, top, width, height",
    ),
    "text in a box": ({"a.json": _annotation(bbox=["x", 2, 3, 4])}, r"annotation 7: bbox: wanted a number, found 'x'"),
    "huge box": (
        {"a.json": _annotation(bbox=[1, 2, 3, 1e300])},
        r"annotation 7: bbox: wanted a number, found '1e\+300'",
    ),
    "COCO outside": ({"a.json": _image(file_name="/etc/a.png")}, r"image 1: wanted the name of a file in the folder"),
    "COCO drive": ({"a.json": _image(file_name="C:\\a.png")}, r"image 1: wanted the name of a file in the folder"),
    "COCO video outside": (
        {"a.json": _of_video("../c.mp4")},
        r"image 1: wanted the name of a file in the folder",
    ),
    "other size": (
        {"a.json": _image(width=64)},
        r"a\.json: wanted .*a\.png to be 64x50 px, found 100x50; is it the same one",
    ),
    "no picture": (
        {"a.json": _image(file_name="b.png")},
        r"a\.json: wanted the picture 'b\.png' in .*; say where pictures",
    ),
    "Datumaro label": (
        {"annotations/c.json": _item(annotations=[{"type": "bbox", "label_id": 3, "bbox": [1, 1, 2, 2]}])},
        r"item 'frame_000000': label_id: wanted a whole number from 0 to 0, found '3'",
    ),
    "Datumaro size": (
        {"annotations/c.json": _item(image={"size": 3})},
        r"image\.size: wanted height and width, found 3",
    ),
    "Datumaro outside": (
        {"annotations/c.json": _item(image={"path": "../x.jpg"})},
        r"wanted the name of a file in the folder, found '\.\./x\.jpg'",
    ),
    "FiftyOne outside": ({"manifest.json": _manifest("../x.json")}, r"labels: wanted the name of a file in the folder"),
    "FiftyOne missing": ({"manifest.json": _manifest()}, r"labels/c\.json: wanted annotations, found: No such file"),
    "FiftyOne frame": (_fiftyone({"0": {}}), r"frame 0: wanted a record, numbered from 1"),
    "FiftyOne label": (_fiftyone({"1": {"objects": {"objects": [{}]}}}), r"frame 1: wanted a label of every object"),
    "FiftyOne box": (
        _fiftyone({"1": {"objects": {"objects": [{"label": "cat", "bounding_box": {"top_left": 1}}]}}}),
        r"frame 1: wanted a bounding_box with top_left and bottom_right, found none",
    ),
    # MOT
    "MOT columns": ({"c.mp4/gt/gt.txt": "1,1,2,2,2,2\n1,1,2\n"}, r"gt\.txt, line 2: wanted 6 to 10 columns, found 3"),
    "MOT text": ({"c.mp4/gt/gt.txt": "1,1,2,x,2,2\n"}, r"gt\.txt, line 1: column: wanted a number, found 'x'"),
    "MOT frame": ({"c.mp4/gt/gt.txt": "0,1,2,2,2,2\n"}, r"gt\.txt, line 1: wanted frames from 1, found 0"),
    "MOT class": (
        {"c.mp4/gt/gt.txt": "1,1,2,2,2,2,1,9,1\n", "c.mp4/gt/labels.txt": "cat"},
        r"gt\.txt, line 1: wanted a class from 1 to 1, found 9",
    ),
    "MOT outside": (
        {
            "c.mp4/gt/gt.txt": "1,1,2,2,2,2,1,1,1\n",
            "c.mp4/seqinfo.ini": "[Sequence]\nname=../../c.mp4\nseqLength=5\nframeRate=5\nimWidth=64\nimHeight=48\n",
        },
        r"the sequence's name: wanted the name of a file in the folder",
    ),
    # Videos
    "no such video": ({"d.mp4.xml": HEAD + TRACK + "</annotations>"}, r"wanted its video, 'd\.mp4', in .*, found none"),
    "several videos": (
        {"e.mp4.xml": HEAD + TRACK + "</annotations>"},
        r"wanted one video 'e\.mp4' in .*, found x/e\.mp4, y/e",
    ),
    "shorter video": (
        {"c.mp4.xml": HEAD.replace(">5<", ">50<") + TRACK.replace("frame='0'", "frame='30'") + "</annotations>"},
        r"wanted .*c\.mp4 to have frame 30, which is labelled, found 5 frames; is it the same video",
    ),
    "smaller video": (
        {
            "c.mp4.xml": HEAD.replace(
                "</task>", "<original_size><width>9</width><height>9</height></original_size></task>"
            )
            + TRACK
            + "</annotations>"
        },
        r"wanted .*c\.mp4 to be 9x9 px, found 64x48",
    ),
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """c.mp4 of five frames, and two files that are called e.mp4."""
    folder = tmp_path_factory.mktemp("videos")
    with av.open(str(folder / "c.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            image = np.full((48, 64, 3), 40 * number, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    for name in ("x", "y"):
        (folder / name).mkdir()
        (folder / name / "e.mp4").write_bytes((folder / "c.mp4").read_bytes())
    return folder


@pytest.fixture
def write_source(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Annotation files in a folder, and a picture of 100x50 beside them."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode(errors="surrogateescape"))
        cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((50, 100, 3), np.uint8))
        return tmp_path / "in"

    return write


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_said_in_one_line(
    case: str,
    write_source: Callable[[dict[str, str]], Path],
    videos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files, message = REFUSED[case]
    source = write_source(files)
    assert main(["dataset", "import", str(source), "-o", str(tmp_path / "out"), "--videos", str(videos)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert re.search(message, printed.err), printed.err
    assert "Traceback" not in printed.err
    # Nothing was made that looks like a data set.
    assert not (tmp_path / "out" / "data.yaml").exists()


VALID = {
    "c.mp4.xml": HEAD + TRACK + "</annotations>",
    "a.json": _coco(),
    "annotations/c.json": json.dumps(DATUMARO),
    "manifest.json": _manifest(),
    "c.mp4/gt/gt.txt": "1,1,2,2,2,2,1,1,1\n2,1,2,2,2,2,0,1,1\n",
}
VALUES = (None, True, -1, 0, 7, 1.5, 1e99, "", "x", "..", [], [1], {}, {"a": 1})


def _leaves(document: Any, place: tuple = ()) -> Iterator[tuple]:
    yield place
    inside = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inside:
        yield from _leaves(value, (*place, key))


def _replaced(document: Any, place: tuple, value: Any) -> Any:
    if not place:
        return value
    copied = dict(document) if isinstance(document, dict) else list(document)
    copied[place[0]] = _replaced(document[place[0]], place[1:], value)
    return copied


@pytest.mark.parametrize("name", [name for name in VALID if name.endswith(".json")])
def test_no_value_in_a_document_leads_to_anything_but_an_error_of_ours(name: str, tmp_path: Path) -> None:
    """Every value of each document in turn is replaced by values of every kind."""
    labels = {"filename": "c.mp4", "frames": {"1": {"objects": {"objects": [FIFTYONE_OBJECT]}}}}
    files = {name: json.loads(VALID[name])} | ({"labels/c.json": labels} if name == "manifest.json" else {})
    for changed, document in files.items():
        for place in _leaves(document):
            for value in VALUES:
                for each, content in {**files, changed: _replaced(document, place, value)}.items():
                    path = tmp_path / each
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(json.dumps(content))
                _read(tmp_path)


@pytest.mark.parametrize("name", [name for name in VALID if not name.endswith(".json")])
def test_no_damage_leads_to_anything_but_an_error_of_ours(name: str, tmp_path: Path) -> None:
    rng = random.Random(0)
    content = VALID[name].encode()
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(damaged))
            damaged[place : place + rng.randint(0, 4)] = bytes(
                rng.choices(b"09-.,;'<>&x\x00\xff\n ", k=rng.randint(0, 4))
            )
        path.write_bytes(bytes(damaged[: rng.choice((len(damaged), rng.randrange(1, len(damaged))))]))
        _read(tmp_path)


def _read(folder: Path) -> None:
    try:
        found = read_annotations(folder)
    except DatasetError:
        return
    for video in found.videos:
        for frame in range(5):
            for box in video.at(frame):
                assert np.isfinite(box.xyxy).all()


def test_a_bomb_is_refused_before_it_goes_off(write_source: Callable[[dict[str, str]], Path], tmp_path: Path) -> None:
    source = write_source({"a.xml": BOMB.replace('"&b;&b;', '"' + "&b;" * 5000)})
    tracemalloc.start()
    assert main(["dataset", "import", str(source), "-o", str(tmp_path / "out")]) == 1
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_files_larger_than_anybodys_are_refused(
    write_source: Callable[[dict[str, str]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = write_source({"a.json": _coco()})
    with (source / "a.json").open("r+b") as file:
        file.truncate(checks.MAX_FILE_BYTES + (1 << 20))
    assert main(["dataset", "import", str(source), "-o", str(tmp_path / "out")]) == 1
    assert "a.json: wanted at most 1024 MiB, found 1025 MiB; export it in parts" in capsys.readouterr().err


def test_places_that_cannot_be(
    write_source: Callable[[dict[str, str]], Path], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_source({"c.mp4.xml": HEAD + TRACK + "</annotations>"})

    def says(code: int, *arguments: object) -> str:
        assert main(["dataset", "import", *map(str, arguments)]) == code
        return capsys.readouterr().err

    out = tmp_path / "out"
    assert "wanted annotations, found no such file" in says(1, tmp_path / "nowhere", "-o", out)
    assert "wanted the video 'c.mp4'; say with --videos in which folder it is" in says(1, source, "-o", out)
    assert "wanted a new or empty folder" in says(2, source, "-o", source, "--videos", videos)
    (tmp_path / "a.zip").write_bytes(b"PK")
    assert "found none; unpack it first" in says(1, tmp_path / "a.zip", "-o", out)
    assert "import.every_s" in says(2, source, "-o", out, "--every", "-1")
    assert "import.val_share" in says(2, source, "-o", out, "--val-share", "1")
    assert "wanted each label once" in says(2, source, "-o", out, "--videos", videos, "--classes", "cat", "cat=x")
    assert "wanted at least one class" in says(2, source, "-o", out, "--videos", videos, "--classes", "cat=")
    assert not out.exists()


def test_an_older_import_is_replaced_only_where_asked_for(
    write_source: Callable[[dict[str, str]], Path], videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_source({"c.mp4.xml": HEAD + TRACK + "</annotations>"})
    command = ["dataset", "import", str(source), "-o", str(tmp_path / "out"), "--videos", str(videos), "--every", "0"]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith("5 pictures (4 train, 1 val), 5 boxes: ")
    assert main(command) == 2
    assert "--exist-ok" in capsys.readouterr().err
    assert main([*command, "--exist-ok", "--val-share", "0"]) == 0
    assert not (tmp_path / "out" / "images" / "val").exists()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["settings"]["val_share"] == 0
    assert manifest["pictures"][4] == {
        **{"file": "images/train/c.mp4_000004.jpg", "recording": "c.mp4"},
        **{"frame": 4, "boxes": 1},
    }
