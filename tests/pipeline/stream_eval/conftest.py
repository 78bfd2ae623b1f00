"""A moving square: its pictures, its labels, and what a run said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stream_eval.labelled import Labelled
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth

WIDTH, HEIGHT, SIDE = 400, 96, 32


def left_of(frame: int, step_px: int = 2) -> int:
    return 8 + step_px * frame


@pytest.fixture
def square() -> Callable[..., Labelled]:
    """Labels of a square of 32 px that moves to the right by `step_px` a frame."""

    def make(
        n_frames: int = 40, fps: int = 20, step_px: int = 2, name: str = "square", with_ids: bool = True
    ) -> Labelled:
        stream = Stream(name, Fraction(fps), n_frames, WIDTH, HEIGHT)
        ids = np.array([1 if with_ids else -1])
        boxes = tuple(
            Boxes(np.array([[left_of(i, step_px), 20.0, SIDE, SIDE]]), np.ones(1), np.zeros(1, np.int64), ids)
            for i in range(n_frames)
        )
        crowd = (np.zeros(1, np.bool_),) * n_frames
        area = (np.array([float(SIDE * SIDE)]),) * n_frames
        return Labelled(Truth(stream, boxes, crowd, area, ("person",)), Path("labels.json"), Path("nowhere"))

    return make


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """A folder of pictures of the square: white on black, so that a detector of bright pixels finds it exactly."""

    def make(n_frames: int = 24, folder: str = "square") -> Path:
        place = tmp_path / folder
        place.mkdir()
        for i in range(n_frames):
            image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
            image[20 : 20 + SIDE, left_of(i) : left_of(i) + SIDE] = 255
            cv2.imwrite(str(place / f"{i:06d}.png"), image)
        return place

    return make


@pytest.fixture
def argoverse() -> Callable[..., dict[str, Any]]:
    """The square's labels as Argoverse-HD has them."""

    def make(n_frames: int = 24, name: str = "square") -> dict[str, Any]:
        size = {"width": WIDTH, "height": HEIGHT}
        return {
            "categories": [{"id": 0, "name": "person"}, {"id": 4, "name": "bus"}],
            "sequences": [name],
            "seq_dirs": [name],
            "images": [{"id": 100 + i, "sid": 0, "fid": i, "name": f"{i:06d}.png", **size} for i in range(n_frames)],
            "annotations": [
                {"id": i, "image_id": 100 + i, "category_id": 0, "bbox": [left_of(i), 20, SIDE, SIDE], "track": 0}
                for i in range(n_frames)
            ],
        }

    return make


@pytest.fixture
def line() -> Callable[..., dict[str, Any]]:
    """One line of a run's JSON lines, 20 frames/s, each result `latency_ms` after its frame."""

    def make(frame: int, dropped_before: int = 0, latency_ms: int = 60, **values: Any) -> dict[str, Any]:
        captured_ns = 5_000_000_000 + frame * 50_000_000
        left = left_of(frame)
        found = {"track_id": 1, "class": "Person", "confidence": 0.9, "xyxy": [left, 20, left + SIDE, 20 + SIDE]}
        return {
            "source": "square",
            "frame": frame,
            "captured_ns": captured_ns,
            "emitted_ns": captured_ns + latency_ms * 1_000_000,
            "dropped_before": dropped_before,
            "objects": [found],
        } | values

    return make


@pytest.fixture
def write_lines(tmp_path: Path) -> Callable[..., Path]:
    """A file of such lines."""

    def write(lines: list[Any], name: str = "out.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
        return path

    return write
