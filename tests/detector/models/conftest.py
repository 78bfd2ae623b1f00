"""Weights and images by rule, so that networks can be compared with numbers that another program gave."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.models import DetectionModel


def _filled(key: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """One tensor of the fill rule: seeded by its own name, so that neither order nor other tensors matter."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    leaf = key.rpartition(".")[2]
    if leaf == "running_var":
        return 0.5 + rng.random(shape)
    noise = rng.standard_normal(shape)
    if leaf == "implicit":
        return (1 if ".im." in key else 0) + 0.1 * noise
    if leaf in ("running_mean", "bias"):
        return 0.1 * noise
    return 1 + 0.1 * noise if len(shape) == 1 else gain * noise / math.sqrt(math.prod(shape[1:]))


@pytest.fixture(scope="session")
def fill() -> Callable[[DetectionModel, float], DetectionModel]:
    """Give a model the rule's weights and put it in eval mode."""

    def apply(model: DetectionModel, gain: float) -> DetectionModel:
        for key, value in model.state_dict().items():
            if key.rpartition(".")[2] not in ("num_batches_tracked", "anchors", "anchor_grid"):
                value.copy_(torch.from_numpy(_filled(key, tuple(value.shape), gain).astype(np.float32)))
        return model.eval()

    return apply


@pytest.fixture(scope="session")
def image() -> torch.Tensor:
    """(1, 3, 256, 256) in 0..1."""
    return torch.from_numpy(np.random.default_rng(0).random((1, 3, 256, 256)).astype(np.float32))


@pytest.fixture(scope="session")
def assert_rows() -> Callable[[torch.Tensor, np.ndarray], None]:
    """Rows equal the reference's: boxes within 5e-3 px, probabilities within 1e-5."""

    def check(found: torch.Tensor, wanted: np.ndarray) -> None:
        np.testing.assert_allclose(found.numpy()[:, :4], wanted[:, :4], rtol=0, atol=5e-3)
        np.testing.assert_allclose(found.numpy()[:, 4:], wanted[:, 4:], rtol=0, atol=1e-5)

    return check


@pytest.fixture(scope="session")
def golden_models(golden_dir: Path) -> dict[str, Any]:
    """manifests.json of tests/golden/models."""
    return dict(json.loads((golden_dir / "models" / "manifests.json").read_text()))


@pytest.fixture(scope="session")
def golden_rows(golden_dir: Path) -> dict[str, np.ndarray]:
    """decoded.npz of tests/golden/models."""
    with np.load(golden_dir / "models" / "decoded.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}
