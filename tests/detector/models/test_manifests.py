"""Names, shapes, sizes and costs of all networks: runs in any clone, spends no memory on weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from detector.models import available_models, build_model, count_gflops, count_parameters, fuse

P5 = ("yolov7-tiny", "yolov7-tiny-silu", "yolov7", "yolov7x")
P6 = ("yolov7-w6", "yolov7-e6", "yolov7-d6", "yolov7-e6e")
YOLOX = ("yolox-nano", "yolox-tiny", "yolox-s", "yolox-m", "yolox-l", "yolox-x", "yolox-darknet53")
OWN = "yolov7-nano"
PUBLISHED_FORMS = [(name, "training") for name in (*P5, *P6) if name != "yolov7-tiny-silu"] + [
    (name, "deploy") for name in (*P5, *P6, *YOLOX)
]


def _ghost(name: str, form: str = "deploy") -> Any:
    with torch.device("meta"):
        return build_model(name, form=form)


def test_all_published_models_are_there() -> None:
    assert sorted(available_models()) == sorted((*P5, *P6, *YOLOX, OWN))


def test_our_own_model_is_a_small_one() -> None:
    model = _ghost(OWN)
    assert 1.5e6 < count_parameters(model) < 1.7e6
    assert (model.family, model.default_hw, model.strides) == ("yolov7", (416, 416), (8, 16, 32))


@pytest.mark.parametrize(("name", "form"), PUBLISHED_FORMS)
def test_state_dict_and_parameters_are_the_published_ones(name: str, form: str, golden_models: dict[str, Any]) -> None:
    wanted = golden_models["models"][f"{name}/{form}"]
    model = _ghost(name, form)
    lines = sorted(f"{key}\0{'x'.join(map(str, value.shape))}" for key, value in model.state_dict().items())
    text = "\n".join(line.replace("\0", " ") for line in lines)
    assert hashlib.sha256(text.encode()).hexdigest() == wanted["state_sha256"]
    assert count_parameters(model) == wanted["params"]


@pytest.mark.parametrize("name", [*P5, *P6])
def test_gflops_of_the_deploy_form(name: str, golden_models: dict[str, Any]) -> None:
    wanted = golden_models["models"][f"{name}/deploy"]
    model = _ghost(name)
    side = wanted["side_px"]
    assert model.default_hw == (side, side)
    assert count_gflops(model, model.default_hw) == pytest.approx(wanted["conv_gflops"], abs=1e-4)


@pytest.mark.parametrize(
    ("name", "params_m", "gflops", "side_px"),
    [
        ("yolov7-tiny", 6.2, 5.8, 416),
        ("yolov7-tiny-silu", 6.2, 13.8, 640),
        ("yolov7", 36.9, 104.7, 640),
        ("yolov7x", 71.3, 189.9, 640),
        ("yolov7-w6", 70.4, 360.0, 1280),
        ("yolov7-e6", 97.2, 515.2, 1280),
        ("yolov7-e6e", 151.7, 843.2, 1280),
    ],
)
def test_published_table(name: str, params_m: float, gflops: float, side_px: int) -> None:
    """The paper's rows are the fused deploy graphs, biases counted. Its D6 row is the training graph: next test."""
    fused = fuse(_ghost(name))
    assert count_parameters(fused) / 1e6 == pytest.approx(params_m, abs=0.051)
    assert count_gflops(fused, (side_px, side_px), biases=True) == pytest.approx(gflops, abs=0.2)


def test_published_row_of_d6_is_the_unfused_training_graph(golden_models: dict[str, Any]) -> None:
    model = _ghost("yolov7-d6", "training")
    assert count_parameters(model) / 1e6 == pytest.approx(154.7, abs=0.05)
    operations, convs_only = 0, 0

    def count(module: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal operations, convs_only
        if isinstance(module, torch.nn.Conv2d):
            convs_only += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.BatchNorm2d):
            operations += output.numel()

    for module in model.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        model.train().raw(torch.empty(1, 3, 1280, 1280, device="meta"))
    assert 2 * convs_only / 1e9 == pytest.approx(golden_models["models"]["yolov7-d6/training"]["conv_gflops"], abs=1e-4)
    assert 2 * (convs_only + operations) / 1e9 == pytest.approx(806.8, abs=0.2)


@pytest.mark.parametrize("name", YOLOX)
def test_yolox_is_as_large_after_fusing_as_published(name: str, golden_models: dict[str, Any]) -> None:
    wanted = golden_models["models"][f"{name}/deploy"]
    model = _ghost(name)
    assert model.default_hw == (wanted["side_px"], wanted["side_px"])
    assert count_parameters(fuse(model)) == wanted["fused_params"]


@pytest.mark.parametrize("name", [*P5, *P6])
def test_both_forms_fuse_to_the_same_size(name: str) -> None:
    """Nothing is left of implicit knowledge and auxiliary branches."""
    deploy, training = fuse(_ghost(name)), fuse(_ghost(name, "training"))
    assert count_parameters(training) == count_parameters(deploy)
    assert count_gflops(training, deploy.default_hw) == count_gflops(deploy, deploy.default_hw)


@pytest.mark.reference
@pytest.mark.parametrize(("name", "form"), [row for row in PUBLISHED_FORMS if row[0] not in YOLOX])
def test_fused_state_dict_is_the_reference_one_without_its_dead_entries(
    name: str, form: str, reference_dir: Path
) -> None:
    """The reference keeps implicit vectors, auxiliary convolutions and `m2` that nothing reads after fusing."""
    manifest = json.loads((reference_dir / "yolov7_manifests.json").read_text())[f"{form}/{name}"]
    head = manifest["head"]
    dead = [f"model.{head['index']}.{part}." for part in ("ia", "im", "m2")]
    dead += [f"model.{layer}." for layer in head["from_"][head["nl"] :]]
    wanted = {key: tuple(shape) for key, shape in manifest["fused"]["state_dict"] if not key.startswith(tuple(dead))}
    fused = fuse(_ghost(name, form))
    assert {key: tuple(value.shape) for key, value in fused.state_dict().items()} == wanted
    assert count_parameters(fused) == manifest["fused"]["params_live"]
