"""Each camera's classes, threshold, region and rest, behind a detector that all share."""

from __future__ import annotations

import numpy as np

from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame
from pipeline.runtime.camera_filter import CameraFilter, CameraWishes


class Fixed:
    """The same three boxes for every frame."""

    class_names = ("person", "car")
    n_parallel = 3

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []

    def warmup(self) -> None: ...

    def detect(self, frames: list[Frame]) -> list[Detections]:
        self.seen += [(f.source_id, f.index) for f in frames]
        boxes = np.array([[0, 0, 2, 2], [4, 4, 6, 6], [4, 4, 6, 6]], np.float32)
        found = Detections(boxes, np.array([0.9, 0.3, 0.8], np.float32), np.array([0, 0, 1]))
        return [found for _ in frames]

    def close(self) -> None: ...


class LeftHalf:
    def inside(self, xyxy: np.ndarray, shape_hw: tuple[int, int]) -> np.ndarray:
        return xyxy[:, 0] < shape_hw[1] / 2


class EveryThird:
    def __init__(self) -> None:
        self._n = -1

    def is_open(self, image: np.ndarray, captured_ns: int) -> bool:
        self._n += 1
        return self._n % 3 == 0


def frame(name: str, index: int) -> Frame:
    return Frame(name, index, np.zeros((8, 8, 3), np.uint8), index / 25, index, CaptureClock.RECEIVE)


def test_each_camera_gets_what_it_wants() -> None:
    wishes = {
        "people": CameraWishes(class_ids=frozenset({0})),
        "sure": CameraWishes(min_confidence=0.5),
        "left": CameraWishes(area=LeftHalf()),
        "both": CameraWishes(class_ids=frozenset({0}), min_confidence=0.5, area=LeftHalf()),
    }
    detector = CameraFilter(Fixed(), wishes)
    found = detector.detect([frame(name, 0) for name in ("people", "sure", "left", "both", "other")])
    rounded = [[round(c, 1) for c in f.confidence.tolist()] for f in found]
    assert rounded == [
        [0.9, 0.3],
        [0.9, 0.8],
        [0.9],
        [0.9],
        [0.9, 0.3, 0.8],
    ]
    assert detector.n_parallel == 3


def test_a_still_camera_costs_nothing_and_keeps_its_boxes() -> None:
    inner = Fixed()
    gated = CameraWishes(class_ids=frozenset({1}), gate=EveryThird())
    detector = CameraFilter(inner, {"still": gated})
    found = [detector.detect([frame("still", i), frame("other", i)]) for i in range(7)]
    assert [i for name, i in inner.seen if name == "still"] == [0, 3, 6]
    assert [i for name, i in inner.seen if name == "other"] == list(range(7))
    assert all(f.class_id.tolist() == [1] for f, _ in found)
    assert detector.counters("still") == {"still": 4}
    assert detector.counters("other") == {}
