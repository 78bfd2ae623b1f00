"""A still scene is told from one in which something moves; boxes inside a region from those outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.errors import SourceError
from sources.motion_gate import MotionGate, MotionGateConfig
from sources.region import Region

SECOND = 10**9


def scene(rng: np.random.Generator, *, at: int | None = None, brightness: float = 100.0) -> np.ndarray:
    """A noisy grey room of 640 x 360, with a person of 20 x 50 px where `at` says."""
    image = np.full((360, 640, 3), brightness) + rng.normal(0, 4, (360, 640, 1))
    if at is not None:
        image[200:250, at : at + 20] = 30
    return np.clip(image, 0, 255).astype(np.uint8)


def opened(gate: MotionGate, images: list[np.ndarray], *, begin_s: float = 0.0, fps: int = 10) -> list[bool]:
    return [gate.is_open(image, round((begin_s + i / fps) * SECOND)) for i, image in enumerate(images)]


def test_a_still_noisy_scene_costs_one_detection_in_ten_seconds() -> None:
    rng = np.random.default_rng(1)
    gate = MotionGate(MotionGateConfig(hold_s=0.5, every_s=10))
    results = opened(gate, [scene(rng) for _ in range(400)])
    assert results[0]
    assert sum(results) == pytest.approx(6 + 3, abs=2)


def test_a_person_who_walks_in_opens_it_at_once_and_holds_it() -> None:
    rng = np.random.default_rng(2)
    gate = MotionGate(MotionGateConfig(hold_s=1.0, every_s=60))
    opened(gate, [scene(rng) for _ in range(50)])
    walking = opened(gate, [scene(rng, at=50 + 8 * i) for i in range(20)], begin_s=5)
    after = opened(gate, [scene(rng) for _ in range(60)], begin_s=7)
    assert all(walking)
    assert after[5]
    assert not after[-1]


def test_slow_light_is_no_motion() -> None:
    rng = np.random.default_rng(3)
    gate = MotionGate(MotionGateConfig(hold_s=0.2, every_s=600))
    results = opened(gate, [scene(rng, brightness=100 + 0.2 * i) for i in range(300)])
    assert sum(results[5:]) == 0


def test_boxes_are_judged_by_their_feet() -> None:
    region = Region.of_polygon(((0.5, 0.5), (1, 0.5), (1, 1), (0.5, 1)))
    boxes = np.array([[500, 100, 600, 300], [500, 10, 600, 100], [0, 200, 100, 350], [600, 300, 700, 400]], np.float32)
    assert region.inside(boxes, (360, 640)).tolist() == [True, False, False, True]
    assert region.inside(np.zeros((0, 4), np.float32), (360, 640)).tolist() == []


def test_a_mask_image_is_stretched_over_the_picture(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), np.uint8)
    mask[:, 10:] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    region = Region.of_image(tmp_path / "mask.png")
    boxes = np.array([[0, 0, 100, 100], [400, 0, 500, 100]], np.float32)
    assert region.inside(boxes, (360, 640)).tolist() == [False, True]
    cv2.imwrite(str(tmp_path / "dark.png"), mask * 0)
    for name in ("dark.png", "missing.png"):
        with pytest.raises(SourceError, match="wanted a mask image"):
            Region.of_image(tmp_path / name)
