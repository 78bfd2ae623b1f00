"""A small network and a small clip, for measurements and for the verb that makes them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detector.checkpoint import save_checkpoint
from detector.models import build_model
from pipeline.benchmark.clip import make_clip


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained YOLOX-nano of two classes for 64 px."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    torch.manual_seed(0)
    save_checkpoint(path, build_model("yolox-nano", num_classes=2), ("cat", "dog"), input_hw=(64, 64))
    return path


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of 128x96."""
    return make_clip(tmp_path_factory.mktemp("clip") / "small.mp4", 40, (96, 128))
