"""Builders for tracker tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from pipeline.core.detections import Detections
from tracker.bytetrack import ByteTrackConfig


@pytest.fixture(params=["numpy", "cython"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each build of the inner loops in turn."""
    if request.param == "cython" and importlib.util.find_spec("tracker._fast") is None:
        pytest.skip("tracker._fast is not built (pip install -e .)")
    return str(request.param)


@pytest.fixture(scope="session")
def detect() -> Callable[..., Detections]:
    """Detections from rows [x1, y1, x2, y2, score], optionally with classes."""

    def build(rows: Sequence[Sequence[float]] | np.ndarray, classes: Sequence[int] | None = None) -> Detections:
        table = np.asarray(rows, np.float64).reshape(-1, 5)
        class_id = np.zeros(len(table), np.int64) if classes is None else np.asarray(classes, np.int64)
        return Detections(table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), class_id)

    return build


@pytest.fixture(scope="session")
def published_config() -> Callable[[dict[str, Any], int], ByteTrackConfig]:
    """The config that stands for the published code's arguments and frame rate."""

    def build(args: dict[str, Any], frame_rate: int) -> ByteTrackConfig:
        return ByteTrackConfig(
            high_score=args["track_thresh"],
            new_track_score=args["track_thresh"] + 0.1,
            min_iou=1 - args["match_thresh"],
            fuse_score=not args["mot20"],
            per_class=False,
            buffer_s=args["track_buffer"] / 30,
            nominal_fps=frame_rate,
            reference_compat=True,
        )

    return build


@pytest.fixture(scope="session")
def walkers() -> Callable[..., list[tuple[float, np.ndarray]]]:
    """People who walk at constant speed and are seen with noise: (seconds, rows of detections) per frame."""

    def build(
        times_s: Sequence[float], n: int = 6, seed: int = 0, speed: float = 60.0, noise: float = 1.0
    ) -> list[tuple[float, np.ndarray]]:
        rng = np.random.default_rng(seed)
        start = np.column_stack([rng.uniform(0, 1500, n), 150.0 * np.arange(n)])
        velocity = np.column_stack([rng.uniform(-speed, speed, n), np.zeros(n)])
        size = np.array([40.0, 100.0])
        frames = []
        for t in times_s:
            corner = start + velocity * t + rng.normal(0, noise, (n, 2))
            score = rng.uniform(0.7, 0.95, n)
            frames.append((float(t), np.column_stack([corner, corner + size, score])))
        return frames

    return build
