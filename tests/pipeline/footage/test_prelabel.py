"""Which boxes become labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.core.result import FrameResult
from pipeline.footage.prelabel import (
    FORGET_FRAMES,
    MIN_SIGHTINGS,
    PreLabel,
    TrackMemory,
    labels_from_detections,
    labels_from_tracks,
)

Result = Callable[..., FrameResult]
LEFT, RIGHT = (10.0, 10.0, 40.0, 60.0), (60.0, 10.0, 90.0, 60.0)


def _told(labels: list[PreLabel]) -> list[tuple[float, float, bool]]:
    return [(float(label.xyxy[0]), round(label.score, 2), label.unsure) for label in labels]


def test_confidence_decides_where_there_is_no_time(result: Result) -> None:
    boxes = [(*LEFT, 0.351), (*RIGHT, 0.34), (0, 70, 10, 90, 0.151), (20, 70, 30, 90, 0.14)]
    labels = labels_from_detections(result(0, boxes=boxes).detections, (96, 128), conf=0.35, unsure=0.15)
    assert _told(labels) == [(10, 0.35, False), (60, 0.34, True), (0, 0.15, True)]


def test_boxes_are_cut_and_slivers_and_doubles_left_out(result: Result) -> None:
    boxes = [
        (-20, 10, 40, 200, 0.9, 0), (0, 12, 40, 96, 0.8, 1),  # one object, two names
        (-20, 10, 1, 60, 0.7), (60, 10, 90, 60, 0.3),
        (0, 10, 40, 90, 0.2),  # a doubt within a label would mask it
    ]  # fmt: skip
    labels = labels_from_detections(result(0, boxes=boxes).detections, (96, 128), conf=0.35, unsure=0.15)
    assert [(label.xyxy.tolist(), label.class_id) for label in labels] == [([0, 10, 40, 96], 0), ([60, 10, 90, 60], 0)]


def _seen(result: Result, *steps: tuple[float, int]) -> tuple[TrackMemory, list[FrameResult]]:
    """A memory that has seen one box of these scores and track ids, frame by frame."""
    memory, results = TrackMemory(), []
    for index, (score, track_id) in enumerate(steps):
        results.append(result(index, boxes=[(*LEFT, score)], track_ids=[track_id], track_boxes=[(12, 10, 42, 60)]
                              if track_id else ()))  # fmt: skip
        memory.see(results[-1])
    return memory, results


def test_a_track_is_confirmed_by_time(result: Result) -> None:
    memory, results = _seen(result, (0.9, 1), (0.9, 1))
    assert _told(labels_from_tracks(results[0], memory, conf=0.35, unsure=0.15)) == [(10, 0.9, True)]
    memory.see(result(2, boxes=[(*LEFT, 0.9)], track_ids=[1]))
    assert memory.mean_confidence(1) == pytest.approx(0.9)
    (label,) = labels_from_tracks(results[0], memory, conf=0.35, unsure=0.15)
    assert (label.unsure, label.track_id) == (False, 1)
    assert MIN_SIGHTINGS == 3


def test_an_object_that_is_hard_to_see_gets_its_tracks_box(result: Result) -> None:
    memory, results = _seen(result, (0.9, 1), (0.9, 1), (0.2, 1))
    (label,) = labels_from_tracks(results[2], memory, conf=0.35, unsure=0.15)
    assert label.xyxy.tolist() == [12, 10, 42, 60]
    assert label.score == pytest.approx(2 / 3)
    (clear,) = labels_from_tracks(results[1], memory, conf=0.35, unsure=0.15)
    assert clear.xyxy.tolist() == list(LEFT)


def test_what_no_track_vouches_for_is_to_be_ignored(result: Result) -> None:
    memory, results = _seen(result, (0.95, 0), (0.95, 0), (0.95, 0))
    assert _told(labels_from_tracks(results[0], memory, conf=0.35, unsure=0.15)) == [(10, 0.95, True)]
    memory, results = _seen(result, (0.2, 1), (0.25, 1), (0.3, 1))
    assert _told(labels_from_tracks(results[2], memory, conf=0.35, unsure=0.15)) == [(10, 0.3, True)]
    assert labels_from_tracks(results[2], memory, conf=0.8, unsure=0.5) == []


def test_tracks_of_long_ago_are_forgotten(result: Result) -> None:
    memory, _ = _seen(result, (0.9, 1), (0.9, 1), (0.9, 1))
    image = np.zeros((4, 4, 3), np.uint8)
    memory.see(result(FORGET_FRAMES, image))
    assert memory.mean_confidence(1) is not None
    memory.see(result(2 * FORGET_FRAMES, image))
    assert memory.mean_confidence(1) is None
