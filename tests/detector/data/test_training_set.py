"""What a training set is for measuring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.detections import Detections
from pipeline.evaluation.coco_map import coco_map, coco_results


def _set(unlabelled: frozenset[int]) -> TrainingSet:
    image = TrainingImage(
        path=Path("a.jpg"),
        shape_hw=(100, 200),
        xyxy=np.array([[10, 10, 50, 50]], np.float32),
        class_id=np.array([0]),
        ignore_xyxy=np.array([[100, 0, 150, 40]], np.float32),
        ignore_class_id=np.array([0]),
        unlabelled=unlabelled,
        area=np.array([900], np.float32),
    )
    other = TrainingImage(Path("b.jpg"), (50, 50), np.array([[5, 5, 45, 45]], np.float32), np.array([1]))
    return TrainingSet(Path("data.yaml"), ("person", "car"), (image, other), (1, 3))


def test_what_is_ignored_and_what_nobody_looked_for_are_crowds() -> None:
    first, _ = _set(frozenset({1})).as_labelled().images
    assert first.ltwh.tolist() == [[10, 10, 40, 40], [100, 0, 50, 40], [0, 0, 200, 100]]
    assert first.class_id.tolist() == [0, 0, 1]
    assert first.crowd.tolist() == [False, True, True]
    assert first.area.tolist() == [900, 2000, 20000]


def test_a_detection_of_a_class_that_nobody_looked_for_is_no_mistake() -> None:
    """The car in the first picture is surer than the one that is labelled in the second."""

    def ap(unlabelled: frozenset[int]) -> float:
        dataset = _set(unlabelled).as_labelled()
        found = [
            Detections(np.array([[60, 60, 90, 90]], np.float32), np.array([0.9], np.float32), np.array([1])),
            Detections(np.array([[5, 5, 45, 45]], np.float32), np.array([0.5], np.float32), np.array([1])),
        ]
        records = [r for i, d in enumerate(found) for r in coco_results(i, d, {0: 1, 1: 3})]
        value = coco_map(dataset, records).per_class["car"].ap50
        assert value is not None
        return value

    assert ap(frozenset()) < 0.51
    assert ap(frozenset({1})) > 0.99
