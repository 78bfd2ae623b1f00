"""Ground truth: both layouts of COCO video, and the rules of the MOT challenge."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DatasetError, UsageError
from pipeline.stream_eval.frame_rate import frame_rate
from pipeline.stream_eval.job import truth_notes
from pipeline.stream_eval.read_truth import read_truth

Argoverse = Callable[..., dict[str, Any]]
Change = Callable[[dict[str, Any]], None]


def written(tmp_path: Path, document: dict[str, Any]) -> Path:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    return path


def mot(folder: Path, rows: list[str], *, fps: float = 10, n_frames: int = 3, name: str = "MOT17-99") -> Path:
    (folder / "gt").mkdir(parents=True)
    (folder / "gt" / "gt.txt").write_text("\n".join(rows) + "\n")
    (folder / "seqinfo.ini").write_text(
        f"[Sequence]\nname={name}\nframeRate={fps}\nseqLength={n_frames}\nimWidth=160\nimHeight=96\n"
    )
    return folder


@pytest.mark.parametrize(
    ("value", "rate"),
    [
        (30, Fraction(30)),
        ("12.5", Fraction(25, 2)),
        (29.97, Fraction(30000, 1001)),
        ("30000/1001", Fraction(30000, 1001)),
        (23.976, Fraction(24000, 1001)),
        (14.0, Fraction(14)),
    ],
)
def test_frame_rates_are_exact(value: float | str, rate: Fraction) -> None:
    assert frame_rate(value) == rate


@pytest.mark.parametrize("value", ["0", "-1", "fast", "1/0", float("nan"), float("inf"), 1e9])
def test_what_is_no_rate_is_refused(value: float | str) -> None:
    with pytest.raises(UsageError, match="frames per s such as 30"):
        frame_rate(value)


def test_argoverse(argoverse: Argoverse, tmp_path: Path) -> None:
    document = argoverse(4)
    document["images"].reverse()
    document["annotations"][1] |= {"ignore": True, "area": 5.0}
    document["annotations"][2] |= {"iscrowd": 1, "category_id": 4}
    (labelled,) = read_truth(written(tmp_path, document), Fraction(30))
    truth = labelled.truth
    assert (truth.stream.name, truth.stream.fps, truth.stream.n_frames) == ("square", 30, 4)
    assert (truth.stream.width_px, truth.stream.height_px) == (400, 96)
    assert truth.class_names == ("person", "bus")
    assert [boxes.ltwh[0, 0] for boxes in truth.boxes] == [8, 10, 12, 14]
    assert [crowd.tolist() for crowd in truth.crowd] == [[False], [True], [True], [False]]
    assert [area.tolist() for area in truth.area] == [[1024], [5], [1024], [1024]]
    assert [boxes.class_id.tolist() for boxes in truth.boxes] == [[0], [0], [1], [0]]
    assert labelled.has_tracks
    assert labelled.pictures == tmp_path / "square"


def as_coco_vid(document: dict[str, Any]) -> dict[str, Any]:
    videos = [{"id": 7, "name": "square", "fps": 29.97003}]
    images = [
        {"video_id": 7, "frame_id": i["fid"], **{k: i[k] for k in ("id", "width", "height")}}
        for i in document["images"]
    ]
    annotations = [{**{k: v for k, v in a.items() if k != "track"}, "track_id": 5} for a in document["annotations"]]
    return {"categories": document["categories"], "videos": videos, "images": images, "annotations": annotations}


def test_coco_vid_tells_its_rate(argoverse: Argoverse, tmp_path: Path) -> None:
    path = written(tmp_path, as_coco_vid(argoverse(3)))
    (labelled,) = read_truth(path)
    assert labelled.truth.stream.fps == Fraction(30000, 1001)
    assert labelled.truth.boxes[0].track_id.tolist() == [5]
    assert read_truth(path, Fraction(30))[0].truth.stream.fps == 30
    with pytest.raises(DatasetError, match=r"the rate that --fps says, 25 frames/s, found 29\.97 frames/s"):
        read_truth(path, Fraction(25))


def test_labels_without_tracks_are_told_apart(argoverse: Argoverse, tmp_path: Path) -> None:
    document = argoverse(3)
    del document["annotations"][1]["track"]
    (labelled,) = read_truth(written(tmp_path, document), Fraction(30))
    assert not labelled.has_tracks
    (note,) = truth_notes([labelled], None)
    assert "labels without track ids" in note


def _drop_frame(document: dict[str, Any]) -> None:
    del document["images"][1], document["annotations"][1]


def _twice(document: dict[str, Any]) -> None:
    document["images"][1]["fid"] = 0


def _other_size(document: dict[str, Any]) -> None:
    document["images"][1]["width"] = 161


def _no_class(document: dict[str, Any]) -> None:
    document["annotations"][0]["category_id"] = 9


def _no_image(document: dict[str, Any]) -> None:
    document["annotations"][0]["image_id"] = 9


def _no_box(document: dict[str, Any]) -> None:
    document["annotations"][0]["bbox"] = [1, 2, 3]


def _no_sequence(document: dict[str, Any]) -> None:
    document["images"][1]["sid"] = 3


def _no_video(document: dict[str, Any]) -> None:
    del document["images"][1]["sid"]


def _no_names(document: dict[str, Any]) -> None:
    document["sequences"] = []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_drop_frame, "each once, found no frame 1"),
        (_twice, "found frame 0 twice"),
        (_other_size, r"one size, found \[\(161, 96\), \(400, 96\)\]"),
        (_no_class, "category 9 is not among the categories"),
        (_no_image, "image 9 is not among the images"),
        (_no_box, "a bbox of four numbers"),
        (_no_sequence, "a named sequence, found the number 3"),
        (_no_video, "annotations of video"),
        (_no_names, "lists sequences and seq_dirs, of one length"),
    ],
)
def test_coco_that_cannot_be_used_is_refused(change: Change, said: str, argoverse: Argoverse, tmp_path: Path) -> None:
    document = argoverse(3)
    change(document)
    path = written(tmp_path, document)
    with pytest.raises(DatasetError, match=said) as caught:
        read_truth(path, Fraction(30))
    assert str(path) in str(caught.value)


def test_a_truth_without_a_rate_asks_for_it(argoverse: Argoverse, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="found none in the file; give it with --fps"):
        read_truth(written(tmp_path, argoverse(3)))


def test_mot17_counts_people_and_passes_over_what_looks_like_them(tmp_path: Path) -> None:
    rows = [
        "1,1,10,10,20,40,1,1,1",  # counts
        "1,2,50,10,20,40,0,1,1",  # a person that is not to count
        "1,3,80,10,20,40,0,7,1",  # static person
        "1,4,90,10,20,40,0,3,1",  # a car
        "2,1,12,10,20,40,1,1,0.5",
    ]
    (labelled,) = read_truth(mot(tmp_path / "a", rows))
    truth = labelled.truth
    assert [boxes.track_id.tolist() for boxes in truth.boxes] == [[1, 2, 3], [1], []]
    assert [crowd.tolist() for crowd in truth.crowd] == [[False, True, True], [False], []]
    assert truth.area[0].tolist() == [800, 800, 800]
    assert truth.class_names == ("person",)
    assert labelled.pictures == tmp_path / "a" / "img1"


def test_mot15_has_no_classes_but_places(tmp_path: Path) -> None:
    rows = ["1,1,10,10,20,40,1,-3.2,16.3,0.4", "1,2,50,10,20,40,0,7,1,1"]
    (labelled,) = read_truth(mot(tmp_path / "a", rows, name="ETH-Bahnhof"))
    assert labelled.truth.crowd[0].tolist() == [False, True]


def test_cyclists_look_like_people_in_mot20_only(tmp_path: Path) -> None:
    rows = ["1,1,10,10,20,40,1,1,1", "1,2,50,10,20,40,1,6,1"]
    found = [
        read_truth(mot(tmp_path / name, rows, name=name))[0].truth.crowd[0].tolist() for name in ("MOT17-1", "MOT20-1")
    ]
    assert found == [[False], [False, True]]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["4,1,10,10,20,40,1,1,1"], "wanted frames up to 3, as seqinfo.ini says, found 4"),
        (["1,1,10,10,20,40,1,1,1", "1,1,50,10,20,40,1,1,1"], "found one twice in frame 1"),
        (["1,1,10,10"], "columns"),
    ],
)
def test_mot_that_cannot_be_used_is_refused(rows: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=said):
        read_truth(mot(tmp_path / "a", rows))


def test_a_folder_of_sequences_and_one_of_them(tmp_path: Path) -> None:
    for name, fps in (("a", 10), ("b", 25)):
        mot(tmp_path / name, ["1,1,10,10,20,40,1,1,1"], fps=fps, name=name.upper())
    assert [(one.name, one.truth.stream.fps) for one in read_truth(tmp_path)] == [("a", 10), ("b", 25)]
    assert [one.name for one in read_truth(tmp_path, names=["b"])] == ["b"]
    with pytest.raises(UsageError, match="found 'c'; there: a, b"):
        read_truth(tmp_path, names=["c"])
    with pytest.raises(DatasetError, match="10 frames/s"):
        read_truth(tmp_path, Fraction(25))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wanted ground truth"):
        read_truth(tmp_path)


@pytest.mark.reference
def test_the_shared_sequences_are_read(data_dir: Path, reference_dir: Path) -> None:
    mot15 = read_truth(data_dir / "mot15")
    assert [int(one.truth.stream.fps) for one in mot15] == [30, 30, 14, 14, 14, 10, 10, 30]
    assert sum(int((~crowd).sum()) for one in mot15 for crowd in one.truth.crowd) == 33_914
    sap = read_truth(reference_dir / "sap" / "gt.json", Fraction(30))
    assert [(one.name, one.truth.stream.n_frames, sum(map(len, one.truth.boxes))) for one in sap] == [
        ("seqA", 60, 360),
        ("seqB", 60, 356),
    ]
