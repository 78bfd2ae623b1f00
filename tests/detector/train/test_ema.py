"""The averaged weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from detector.models import build_model
from detector.train.ema import ModelEma


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    return dict(json.loads((golden_dir / "train" / "prepost_train.json").read_text()))


def _norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(2)
    nn.init.zeros_(norm.weight)
    return norm


def test_averages_equal_the_reference(golden: dict[str, Any]) -> None:
    model: Any = _norm()
    ema = ModelEma(model)
    rows = {row["t"]: row for row in golden["ema"]["steps"]}
    for step in range(1, max(rows) + 1):
        nn.init.constant_(model.weight, float(step))
        ema.update(model)
        if step in rows:
            assert ema.decay_at(step) == pytest.approx(rows[step]["decay"], rel=1e-12)
            assert ema.model.weight[0].item() == pytest.approx(rows[step]["w"], rel=1e-6)
    assert ema.updates == max(rows)


@pytest.mark.parametrize(("key", "decay"), [("ema", 0.9999), ("yolox_ema_decay", 0.9998)])
def test_decay_of_both_programs(golden: dict[str, Any], key: str, decay: float) -> None:
    model: Any = _norm()
    ema = ModelEma(model, decay=decay)
    rows = golden[key]["decay"] if key == "ema" else golden[key]
    for updates, wanted in rows:
        assert ema.decay_at(updates) == pytest.approx(wanted, rel=1e-12)


def test_float_buffers_are_averaged_and_integer_ones_copied() -> None:
    model: Any = _norm().train()
    ema = ModelEma(model, decay=0.5, ramp=1e-9)
    model(torch.full((2, 2, 4, 4), 10.0))
    ema.update(model)
    assert ema.model.running_mean.tolist() == pytest.approx((0.5 * model.running_mean).tolist())
    assert model.num_batches_tracked.item() == ema.model.num_batches_tracked.item() == 1


def test_average_of_a_network_runs_and_keeps_its_anchors() -> None:
    model = build_model("yolov7-tiny", num_classes=2, form="training")
    ema = ModelEma(model)
    anchors = model.anchors
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    ema.update(model)
    assert anchors is not None
    assert ema.model.anchors is not None
    assert torch.equal(ema.model.anchors, anchors)
    assert model.training
    assert not ema.model.training
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert ema.model(torch.zeros(1, 3, 64, 64)).shape == (1, 3 * (64 + 16 + 4), 7)


def test_another_instance_of_the_network_is_followed() -> None:
    first: Any = _norm()
    second: Any = _norm()
    nn.init.constant_(second.weight, 4.0)
    ema = ModelEma(first, decay=0.5, ramp=1e-9)
    ema.update(second)
    assert ema.model.weight.tolist() == [2.0, 2.0]


def test_resumed_average_goes_on_as_the_first() -> None:
    model: Any = _norm()
    first = ModelEma(model, ramp=5)
    nn.init.constant_(model.weight, 1.0)
    first.update(model)
    second = ModelEma(model, ramp=5)
    second.load_state_dict(first.state_dict())
    nn.init.constant_(model.weight, 3.0)
    for ema in (first, second):
        ema.update(model)
    assert second.updates == 2
    assert torch.equal(first.model.weight, second.model.weight)


def test_state_of_another_network_is_refused() -> None:
    model: Any = _norm()
    ema = ModelEma(model)
    with pytest.raises(RuntimeError, match="Missing key"):
        ema.load_state_dict({"model": nn.Linear(1, 1, bias=False).state_dict(), "updates": 1})


def test_network_wrapped_for_several_gpus() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = nn.Linear(1, 1, bias=False)
        wrapped: Any = nn.parallel.DistributedDataParallel(model)
        ema = ModelEma(wrapped, decay=0.5, ramp=1e-9)
        nn.init.constant_(model.weight, ema.model.weight.item() + 2)
        ema.update(wrapped)
        assert ema.model.weight.item() == pytest.approx(model.weight.item() - 1)
        assert list(ema.state_dict()["model"]) == ["weight"]
    finally:
        dist.destroy_process_group()


@given(
    weights=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
    decay=st.floats(0, 0.9999),
    ramp=st.floats(0.1, 5000),
)
def test_average_stays_between_the_extremes(weights: list[float], decay: float, ramp: float) -> None:
    model: Any = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, weights[0])
    ema = ModelEma(model, decay, ramp)
    for weight in weights:
        nn.init.constant_(model.weight, weight)
        ema.update(model)
        assert min(weights) - 1e-3 <= ema.model.weight.item() <= max(weights) + 1e-3
