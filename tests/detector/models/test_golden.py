"""Outputs equal to the reference programs', with what is part of the repository: runs in any clone."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from detector.decode import decode_yolov7
from detector.models import DetectionModel, build_model, fuse, training_to_deploy_state

Fill = Callable[[DetectionModel, float], DetectionModel]
AssertRows = Callable[[torch.Tensor, np.ndarray], None]


@pytest.mark.parametrize(
    ("short", "name", "form"), [("tiny", "yolov7-tiny", "training"), ("nano", "yolox-nano", "deploy")]
)
@torch.no_grad()
def test_decoded_boxes_before_and_after_fusing(
    short: str,
    name: str,
    form: str,
    fill: Fill,
    image: torch.Tensor,
    assert_rows: AssertRows,
    golden_models: dict[str, Any],
    golden_rows: dict[str, np.ndarray],
) -> None:
    model = fill(build_model(name, form=form), golden_models["gain"][name])
    boxes, fused = model(image)[0], fuse(model)(image)[0]
    assert_rows(boxes[:30], golden_rows[f"{short}_first"])
    assert_rows(boxes[-30:], golden_rows[f"{short}_last"])
    assert_rows(fused[:10], golden_rows[f"{short}_fused_first"])
    assert_rows(fused, boxes.numpy())


@torch.no_grad()
def test_training_weights_in_the_deploy_form(
    fill: Fill,
    image: torch.Tensor,
    assert_rows: AssertRows,
    golden_models: dict[str, Any],
    golden_rows: dict[str, np.ndarray],
) -> None:
    training = fill(build_model("yolov7-tiny", form="training"), golden_models["gain"]["yolov7-tiny"])
    before = {key: value.clone() for key, value in training.state_dict().items()}
    deploy = build_model("yolov7-tiny").eval()
    deploy.load_state_dict(training_to_deploy_state(training.state_dict(), deploy.state_dict()))
    assert_rows(fuse(deploy)(image)[0, :10], golden_rows["tiny_deploy_fused_first"])
    assert all(torch.equal(before[key], value) for key, value in training.state_dict().items())


@pytest.mark.parametrize(("level", "anchor", "cell", "row"), [(0, 0, "first", 0), (3, 2, "last", -1)])
def test_decoding_of_four_strides(
    level: int, anchor: int, cell: str, row: int, assert_rows: AssertRows, golden_rows: dict[str, np.ndarray]
) -> None:
    """yolov7-w6 without its 82 million weights: its logits at the outermost cells, and what they decode to."""
    with torch.device("meta"):
        model = build_model("yolov7-w6")
    assert model.strides == (8, 16, 32, 64)
    assert model.max_stride == 64
    rows = yaml.safe_load(files("configs").joinpath("models", "yolov7-w6.yaml").read_text("utf-8"))["rows"]
    anchors_px = torch.tensor(rows[-1]["anchors_px"], dtype=torch.float32).view(4, 3, 2)
    stride = model.strides[level]
    side = 256 // stride
    position = 0 if cell == "first" else -1
    raw = torch.zeros(1, 3, side, side, 85)
    raw[0, :, position, position] = torch.from_numpy(golden_rows[f"w6_raw_{cell}_cell"][level])
    boxes = decode_yolov7(raw, anchors_px[level], stride)[0].view(3, side, side, 85)
    assert_rows(boxes[anchor, position, position][None], golden_rows[f"w6_{cell}"][[row]])
