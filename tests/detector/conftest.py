"""Images and golden numbers that the detector's tests share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.arrays import ImageArray


@pytest.fixture(scope="session")
def golden(golden_dir: Path) -> dict[str, Any]:
    """The small set of reference numbers that is part of the repository."""
    return dict(json.loads((golden_dir / "detector" / "prepost.json").read_text()))


@pytest.fixture(scope="session")
def rule_image() -> Callable[[int, int, int], ImageArray]:
    """An image by the rule of tests/golden/detector/README.md, from seed, height and width."""

    def make(seed: int, height: int, width: int) -> ImageArray:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 256, (-(-height // 16), -(-width // 16), 3))
        fine = rng.integers(0, 64, (height, width, 3))
        coarse = coarse.repeat(16, axis=0).repeat(16, axis=1)[:height, :width]
        return ((coarse * 3 + fine * 4) // 4).clip(0, 255).astype(np.uint8)

    return make
