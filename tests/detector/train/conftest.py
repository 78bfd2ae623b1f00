"""A data set that is made in a moment: coloured boxes on noise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


def write_data_set(folder: Path, count: int = 8, side: int = 64) -> Path:
    """`count` pictures with red and blue boxes in YOLO's layout, for both splits; gives the data.yaml."""
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for number in range(count):
        image = rng.integers(60, 120, (side, side, 3)).astype(np.uint8)
        lines = []
        for class_id in rng.permutation(2)[: 1 + number % 2]:
            w, h = rng.integers(side // 5, side // 2, 2)
            x, y = rng.integers(0, side - w), rng.integers(0, side - h)
            image[y : y + h, x : x + w] = (0, 0, 255) if class_id == 0 else (255, 0, 0)
            lines.append(f"{class_id} {(x + w / 2) / side} {(y + h / 2) / side} {w / side} {h / side}")
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        (folder / "labels" / f"{number}.txt").write_text("\n".join(lines), encoding="utf-8")
    data = folder / "data.yaml"
    data.write_text("names: [red, blue]\ntrain: images\nval: images\n", encoding="utf-8")
    return data


@pytest.fixture(scope="session")
def make_data_set() -> Callable[..., Path]:
    """Writes such a set: folder, then how many pictures of how many px."""
    return write_data_set


@pytest.fixture
def tiny_data(tmp_path: Path) -> Path:
    """data.yaml of eight pictures."""
    return write_data_set(tmp_path / "set")
