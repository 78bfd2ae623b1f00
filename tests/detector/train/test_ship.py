"""Weights that ship: half the size, the same boxes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.models import build_model, deploy_form
from detector.train.ship import main


@pytest.mark.parametrize("name", ["yolov7-nano", "yolox-nano"])
def test_a_shipped_file_finds_the_same(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, form="training").eval()
    trained, shipped = tmp_path / "best.safetensors", tmp_path / "out" / "small.safetensors"
    save_checkpoint(trained, model, ("a", "b", "c"), input_hw=(64, 64), metrics={"ap50": 0.5}, provenance={"x": "y"})
    assert main([str(trained), str(shipped), "--input-px", "96", "--note", "data=made=up"]) == 0
    loaded = load_checkpoint(shipped)
    assert loaded.header.form == "deploy" or loaded.model.family == "yolox"
    assert loaded.input_hw == (96, 96)
    assert loaded.header.metrics == {"ap50": 0.5}
    assert loaded.header.provenance == {"x": "y", "data": "made=up"}
    assert shipped.stat().st_size < 0.7 * trained.stat().st_size
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = model(images), loaded.model(images)
    assert torch.allclose(before[..., :4], after[..., :4], atol=0.2)
    assert torch.allclose(before[..., 4:], after[..., 4:], atol=2e-3)
    assert loaded.model.anchors is None or torch.equal(loaded.model.anchors, model.anchors)


def test_the_deploy_form_is_a_copy() -> None:
    model = build_model("yolov7-tiny", num_classes=2, form="deploy")
    copied = deploy_form(model)
    assert copied is not model
    assert next(copied.parameters()).data_ptr() != next(model.parameters()).data_ptr()
