"""A small network to export."""

from __future__ import annotations

import pytest
import torch

from detector.checkpoint import Header, LoadedCheckpoint
from detector.models import build_model


@pytest.fixture(scope="session")
def nano_checkpoint() -> LoadedCheckpoint:
    """An untrained YOLOX-nano of two classes for 64 px. Not to be changed."""
    torch.manual_seed(0)
    model = build_model("yolox-nano", num_classes=2).eval()
    names = ("ä", "b")
    header = Header(
        model="yolox-nano", form=model.form, class_names=names, input_hw=(64, 64), preprocess=model.preprocess
    )
    return LoadedCheckpoint(model, header)
