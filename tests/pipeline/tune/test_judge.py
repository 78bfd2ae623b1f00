"""What configurations are judged by."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.detections import Detections
from pipeline.core.errors import DatasetError, UsageError
from pipeline.streaming.truth import Truth
from pipeline.tune.clip import Clip
from pipeline.tune.judge import common_classes, labelled_judge, pseudo_judge, read_labels
from pipeline.tune.space import Network

HEAVY, LIGHT = Network("heavy.pt", 100, "fp32"), Network("light.pt", 100, "fp32")


def test_pseudo_truth_is_what_is_there(clip: Clip, truth: Truth, seen: Callable[[int], Any]) -> None:
    judge = pseudo_judge({HEAVY: seen(3)}, clip.stream, ("person",))
    assert judge.words.startswith("no labels: what heavy.pt at 100 px finds")
    # The tracker's filter smooths by less than a px.
    assert np.abs(judge.truth.boxes[20].ltwh - truth.boxes[20].ltwh).max() < 1
    assert {len(boxes) for boxes in judge.truth.boxes} == {3}


def test_gaps_are_filled_and_glimpses_left_out(clip: Clip, truth: Truth, seen: Callable[[int], Any]) -> None:
    frames = list(seen(3))
    for k in range(20, 30):
        frames[k] = frames[k].select(np.array([True, True, False]))
    ghost = Detections(np.array([[5, 200, 35, 230]], np.float32), np.array([0.9], np.float32), np.zeros(1, np.int64))
    for k in (40, 41, 42):
        parts = (frames[k], ghost)
        frames[k] = Detections(
            *(np.concatenate([getattr(one, name) for one in parts]) for name in ("xyxy", "confidence", "class_id"))
        )
    judge = pseudo_judge({HEAVY: frames}, clip.stream, ("person",))
    assert {len(boxes) for boxes in judge.truth.boxes} == {3}
    assert np.abs(judge.truth.boxes[25].ltwh - truth.boxes[25].ltwh).max() < 2


def test_the_network_that_others_confirm_is_trusted(clip: Clip, seen: Callable[[int], Any]) -> None:
    rng = np.random.default_rng(0)

    def shaken(one: Detections) -> Detections:
        return Detections(one.xyxy + rng.normal(0, 4, one.xyxy.shape).astype(np.float32), one.confidence, one.class_id)

    noisy = Network("noisy.pt", 100, "fp32")
    every = {noisy: [shaken(one) for one in seen(3)], LIGHT: seen(2), HEAVY: seen(3)}
    assert "heavy.pt" in pseudo_judge(every, clip.stream, ("person",)).words
    # Of one network in two precisions only the first one that is no int8 is asked.
    coarse = Network("heavy.pt", 100, "int8")
    assert len(pseudo_judge({coarse: seen(1), **every}, clip.stream, ("person",)).truth.boxes[9]) == 3


def test_the_weights_that_are_named_are_trusted(clip: Clip, seen: Callable[[int], Any]) -> None:
    every = {LIGHT: seen(2), HEAVY: seen(3)}
    assert "light.pt" in pseudo_judge(every, clip.stream, ("person",), "light.pt").words
    with pytest.raises(UsageError, match=r"--trust: wanted one of .* \(light\.pt, heavy\.pt\), found 'other'"):
        pseudo_judge(every, clip.stream, ("person",), "other")


def test_nothing_to_be_seen(clip: Clip, seen: Callable[[int], Any]) -> None:
    with pytest.raises(UsageError, match=r"street\.mp4: wanted objects to tune on \(person\), found none"):
        pseudo_judge({LIGHT: seen(0)}, clip.stream, ("person",))


def test_classes_are_common_by_name() -> None:
    lists = {"a": ("person", "Car", "dog"), "b": ("car", "pedestrian"), "c": ("bus", "person", "car")}
    assert common_classes(lists) == ("person", "Car")
    with pytest.raises(
        UsageError, match=r"wanted models and labels with a class in common, found none \(a: cat; b: dog\)"
    ):
        common_classes({"a": ("cat",), "b": ("dog",)})


@pytest.fixture
def labels(tmp_path: Path, truth: Truth) -> Callable[..., Path]:
    """A CocoVID file of the street, with a dog in every frame."""

    def write(fps: float = 25, width: int = 320, n_frames: int = 50, names: tuple[str, ...] = ("street",)) -> Path:
        images, annotations = [], []
        for video in range(1, len(names) + 1):
            for frame in range(n_frames):
                number = len(images) + 1
                images.append(
                    {
                        "id": number,
                        "width": width,
                        "height": 240,
                        "video_id": video,
                        "frame_id": frame,
                        "file_name": f"{frame}.jpg",
                    }
                )
                rows = [(1, ltwh) for ltwh in truth.boxes[frame % 50].ltwh.tolist()] + [(2, [1, 1, 9, 9])]
                for track, (category, ltwh) in enumerate(rows, 1):
                    annotations.append(
                        {
                            "id": len(annotations) + 1,
                            "image_id": number,
                            "category_id": category,
                            "bbox": ltwh,
                            "track_id": track,
                        }
                    )
        videos = [{"id": k, "name": name, "fps": fps} for k, name in enumerate(names, 1)]
        categories = [{"id": 1, "name": "pedestrian"}, {"id": 2, "name": "dog"}]
        path = tmp_path / "labels.json"
        path.write_text(
            json.dumps({"images": images, "annotations": annotations, "videos": videos, "categories": categories})
        )
        return path

    return write


def test_labels_of_common_classes_count(labels: Callable[..., Path], clip: Clip, truth: Truth) -> None:
    path = labels()
    judge = labelled_judge(read_labels(path, clip), ("person",), path)
    assert judge.words == f"labels of {path}"
    assert judge.truth.class_names == ("person",)
    assert np.array_equal(judge.truth.boxes[7].ltwh, truth.boxes[7].ltwh)
    assert [len(area) for area in judge.truth.area] == [3] * 50


def test_labels_of_a_longer_recording_are_cut(labels: Callable[..., Path], clip: Clip) -> None:
    stretch = Clip(**{**clip.to_json(), "n_frames": 20, "is_whole": False})
    assert len(read_labels(labels(), stretch).boxes) == 20


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fps": 30}, "25"),
        ({"width": 640}, "wanted labels of 320x240 px as street.mp4 has, found 640x240"),
        ({"n_frames": 49}, "wanted labels of 50 frames as street.mp4 has, found 49"),
        ({"n_frames": 51}, "wanted labels of 50 frames as street.mp4 has, found 51"),
        ({"names": ("a", "b")}, r"several sequences \(a, b\)"),
    ],
)
def test_labels_of_another_recording(
    changed: dict[str, Any], message: str, labels: Callable[..., Path], clip: Clip
) -> None:
    with pytest.raises(DatasetError, match=message):
        read_labels(labels(**changed), clip)


def test_of_several_sequences_the_one_of_the_clips_name(labels: Callable[..., Path], clip: Clip) -> None:
    assert len(read_labels(labels(names=("other", "street")), clip).boxes) == 50
