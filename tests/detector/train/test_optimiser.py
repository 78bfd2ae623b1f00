"""Parameter groups, optimisers, frozen layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from detector.models import available_models, build_model
from detector.models.heads import Implicit
from detector.train.optimiser import (
    apply,
    build_optimiser,
    freeze,
    hold_frozen_norms,
    parameter_groups,
    scaled_weight_decay,
)
from detector.train.schedule import StepSettings
from pipeline.core.errors import ConfigError


@pytest.mark.parametrize("name", available_models())
def test_every_parameter_is_in_one_group(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, num_classes=3, form="training")
    groups = parameter_groups(model)
    together = [id(parameter) for group in groups for parameter in group]
    assert sorted(together) == sorted(id(parameter) for parameter in model.parameters())
    kinds: dict[type[nn.Module], set[int]] = {}
    for number, group in enumerate(groups):
        members = {id(parameter) for parameter in group}
        for module in model.modules():
            weight = getattr(module, "weight", getattr(module, "implicit", None))
            if id(weight) in members:
                kinds.setdefault(type(module), set()).add(number)
    assert kinds.pop(Implicit, {1}) == {1}
    assert kinds == {nn.Conv2d: {0}, nn.BatchNorm2d: {1}}
    assert all(parameter.ndim == 1 for parameter in groups.biases)


def test_shared_parameter_counts_once() -> None:
    layer = nn.Linear(2, 2)
    twice = nn.Sequential(layer, nn.Linear(2, 2))
    twice[1].weight = layer.weight
    assert [len(group) for group in parameter_groups(twice)] == [1, 0, 2]


@pytest.mark.parametrize(("name", "kind"), [("sgd", SGD), ("adamw", AdamW)])
def test_settings_of_a_step_reach_the_groups(name: Any, kind: type) -> None:
    model = build_model("yolov7-tiny", num_classes=1, form="training")
    optimiser = build_optimiser(model, name=name, lr=0.01, momentum=0.9, weight_decay=5e-4)
    assert isinstance(optimiser, kind)
    assert [group["role"] for group in optimiser.param_groups] == ["decay", "no_decay", "bias"]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [5e-4, 0, 0]
    apply(optimiser, StepSettings(lr_bias=0.1, lr_other=0.001, momentum=0.8, accumulate=4))
    assert [group["lr"] for group in optimiser.param_groups] == [0.001, 0.001, 0.1]
    for group in optimiser.param_groups:
        assert (group["betas"] if name == "adamw" else group["momentum"]) == ((0.8, 0.999) if name == "adamw" else 0.8)
    sum(raw.sum() for raw in model(torch.zeros(1, 3, 64, 64))).backward()
    before = model.detection_head.m[0].bias.detach().clone()
    optimiser.step()
    assert not torch.equal(before, model.detection_head.m[0].bias)


def test_weight_decay_equals_the_reference(golden_dir: Path) -> None:
    golden = json.loads((golden_dir / "train" / "prepost_train.json").read_text())
    for row in golden["weight_decay_scaled"]:
        assert scaled_weight_decay(0.0005, row["batch"]) == pytest.approx(row["wd"], rel=1e-12)


def test_frozen_layers_stay_as_they_are() -> None:
    model = build_model("yolov7-tiny", num_classes=1, form="training")
    names = freeze(model, 2)
    assert {name.split(".")[1] for name in names} == {"0", "1"}  # and not 10 to 19
    optimiser = build_optimiser(model, lr=0.1, momentum=0.9, weight_decay=0.1)
    model.train()
    hold_frozen_norms(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sum(raw.square().mean() for raw in model(torch.rand(2, 3, 64, 64))).backward()
    optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert not any(name.startswith(("model.0.", "model.1.")) for name in changed)
    assert {"model.2.conv.weight", "model.2.bn.running_mean"} <= changed


def test_modules_are_frozen_by_path() -> None:
    model = build_model("yolox-nano", num_classes=1)
    names = freeze(model, ["backbone.backbone"])
    assert names == tuple(name for name, _ in model.named_parameters() if name.startswith("backbone.backbone."))
    model.train()
    hold_frozen_norms(model)
    norms = {path: m.training for path, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert all(training != path.startswith("backbone.backbone.") for path, training in norms.items())


@pytest.mark.parametrize(
    ("name", "layers", "text"),
    [
        ("yolov7-tiny", ["model.99"], "found 'model.99'"),
        ("yolov7-tiny", 78, "wanted 0 to 77 layers"),
        ("yolov7-tiny", -1, "wanted 0 to 77 layers"),
        ("yolox-nano", 3, "such as backbone.backbone"),
    ],
)
def test_wrong_layers_are_refused(name: str, layers: Any, text: str) -> None:
    with torch.device("meta"):
        model = build_model(name, form="training")
    with pytest.raises(ConfigError, match=text):
        freeze(model, layers)


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(ConfigError, match="freeze fewer layers"):
        parameter_groups(nn.Linear(1, 1).requires_grad_(False))
