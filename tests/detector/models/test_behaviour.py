"""What a network promises to its callers besides the right numbers: shapes, modes, forms, precision, errors."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detector.models import (
    DetectionModel,
    available_models,
    build_from_rows,
    build_model,
    fuse,
    rename_mit_keys,
    training_to_deploy_state,
)
from pipeline.core.errors import ConfigError, ShapeError

Fill = Callable[[DetectionModel, float], DetectionModel]

SMALL = ("yolov7-tiny", "yolox-nano")
GAIN = {"yolov7-tiny": 1.4, "yolox-nano": 1.4}


@pytest.fixture(scope="module", params=SMALL)
def small(request: pytest.FixtureRequest, fill: Fill) -> DetectionModel:
    """A small network of each family in eval mode. Not to be changed."""
    return fill(build_model(request.param), GAIN[request.param])


def _images(batch: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((batch, 3, height, width), generator=torch.Generator().manual_seed(seed))


def _cells(model: DetectionModel, height: int, width: int) -> int:
    per_cell = 3 if model.family == "yolov7" else 1
    return per_cell * sum((height // stride) * (width // stride) for stride in model.strides)


# --- outputs


@torch.no_grad()
def test_a_batch_gives_what_its_images_give_alone(small: DetectionModel) -> None:
    images = _images(3, 64, 96)
    together = small(images)
    alone = torch.cat([small(images[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160), (160, 96)])
@torch.no_grad()
def test_size_of_the_output(small: DetectionModel, height: int, width: int) -> None:
    boxes = small(_images(2, height, width))
    assert boxes.shape == (2, _cells(small, height, width), 85)
    assert boxes.dtype == torch.float32
    assert bool(((boxes[..., 4:] >= 0) & (boxes[..., 4:] <= 1)).all())
    assert bool((boxes[..., 2:4] > 0).all())


@torch.no_grad()
def test_centres_lie_in_their_cells_of_a_wide_image(small: DetectionModel) -> None:
    """Rows run over y, then x: a mix-up of height and width moves centres out of the picture."""
    height, width = 64, 192
    model = copy.deepcopy(small)
    for name, parameter in model.detection_head.named_parameters():
        if name.startswith(("m.", "reg_preds.")):
            parameter.zero_()
    boxes = model(_images(1, height, width))[0]
    offset = 0.5 if model.family == "yolov7" else 0.0
    begin = 0
    for stride in model.strides:
        rows, columns = height // stride, width // stride
        for _ in range(3 if model.family == "yolov7" else 1):
            centres = boxes[begin : begin + rows * columns, :2].view(rows, columns, 2)
            x = (torch.arange(columns) + offset) * stride
            y = (torch.arange(rows) + offset) * stride
            torch.testing.assert_close(centres[..., 0], x.float().expand(rows, columns))
            torch.testing.assert_close(centres[..., 1], y.float()[:, None].expand(rows, columns))
            begin += rows * columns
    assert begin == len(boxes)


@torch.no_grad()
def test_memory_layout_changes_nothing(small: DetectionModel) -> None:
    images = _images(1, 64, 96)
    model = copy.deepcopy(small).to(memory_format=torch.channels_last)
    other = model(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other, small(images), rtol=1e-4, atol=1e-3)


@torch.no_grad()
def test_bfloat16_networks_decode_in_float32(small: DetectionModel) -> None:
    boxes = copy.deepcopy(small).to(torch.bfloat16)(_images(1, 64, 96).to(torch.bfloat16))
    assert boxes.dtype == torch.float32
    assert bool(boxes.isfinite().all())


def test_bfloat16_networks_keep_their_anchors() -> None:
    model = build_model("yolov7-tiny")
    before = model.anchors
    after = model.to(torch.bfloat16).anchors
    assert before is not None
    assert after is not None
    assert torch.equal(before.float(), after.float())


@pytest.mark.parametrize("num_classes", [1, 2, 3])
@torch.no_grad()
def test_other_numbers_of_classes(num_classes: int) -> None:
    for name in SMALL:
        model = build_model(name, num_classes=num_classes).eval()
        assert model.num_classes == num_classes
        assert model(_images(1, 64, 64)).shape == (1, _cells(model, 64, 64), 5 + num_classes)


# --- modes and forms


def test_raw_maps_in_train_mode(small: DetectionModel) -> None:
    model = copy.deepcopy(small).train()
    raws = model(_images(2, 64, 96))
    for raw, stride in zip(raws, model.strides, strict=True):
        rows, columns = 64 // stride, 96 // stride
        assert raw.shape == ((2, 3, rows, columns, 85) if model.family == "yolov7" else (2, 85, rows, columns))
    sum(raw.square().mean() for raw in raws).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


@torch.no_grad()
def test_raw_maps_in_eval_mode_decode_to_the_boxes(small: DetectionModel) -> None:
    images = _images(1, 64, 96)
    torch.testing.assert_close(small.detection_head.decode(small.raw(images)), small(images), rtol=0, atol=0)


@torch.no_grad()
def test_auxiliary_levels_exist_in_training_only() -> None:
    """In shapes alone: no weights are needed."""
    with torch.device("meta"):
        training, deploy = (build_model("yolov7-w6", form=form) for form in ("training", "deploy"))
    images = torch.empty(2, 3, 64, 64, device="meta")
    assert len(training.train()(images)) == 8
    assert len(training.eval().raw(images)) == 4
    assert len(fuse(training).train()(images)) == 4
    assert len(deploy.train()(images)) == 4
    assert training.eval()(images).shape == deploy.eval()(images).shape == (2, _cells(deploy, 64, 64), 85)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_fusing_works_on_a_copy_and_may_be_repeated(name: str, fill: Fill) -> None:
    model = fill(build_model(name, form="training"), GAIN[name])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = _images(1, 64, 96)
    boxes = model(images)
    once = fuse(model)
    twice = fuse(once)
    torch.testing.assert_close(once(images), boxes, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(twice(images), once(images), rtol=0, atol=0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in once.modules())
    assert not any(parameter.requires_grad for parameter in once.parameters())
    assert not once.training


def test_a_new_network_expects_little() -> None:
    """Prior probabilities: an untrained head must not claim objects everywhere."""
    torch.manual_seed(0)
    for name in SMALL:
        with torch.no_grad():
            boxes = build_model(name).eval()(_images(1, 128, 128))
        assert boxes[..., 4].mean() < 0.02
        assert boxes[..., 5:].mean() < 0.05


@pytest.mark.parametrize("name", available_models())
def test_attributes(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name)
    assert model.name == name
    assert model.family == model.preprocess == ("yolox" if name.startswith("yolox") else "yolov7")
    assert model.strides == ((8, 16, 32, 64) if model.default_hw == (1280, 1280) else (8, 16, 32))
    assert model.max_stride == model.strides[-1]
    if model.family == "yolov7":
        assert model.anchors is not None
        assert model.anchors.shape == (len(model.strides), 3, 2)
    else:
        assert model.anchors is None


# --- weights of other programs


def test_real_weights_load_under_their_own_names(data_dir: Path) -> None:
    state = torch.load(data_dir / "weights" / "yolox_nano.pth", map_location="cpu", weights_only=True)
    build_model("yolox-nano").load_state_dict(state.get("model", state), strict=True)


@pytest.mark.reference
@pytest.mark.parametrize("prefix", ["model.", ""])
def test_names_of_the_mit_release(prefix: str, reference_dir: Path) -> None:
    entries = json.loads((reference_dir / "yolov7_mit_manifest.json").read_text())
    published = {prefix + key.removeprefix("model."): tuple(shape) for key, shape in entries}
    with torch.device("meta"):
        own = build_model("yolov7", form="training").state_dict()
    wanted = {key: tuple(value.shape) for key, value in own.items() if "anchor" not in key}
    assert rename_mit_keys(published) == wanted


def test_other_state_dicts_keep_their_names() -> None:
    for name in SMALL:
        with torch.device("meta"):
            state = build_model(name).state_dict()
        assert list(rename_mit_keys(state)) == list(state)


def test_an_incomplete_state_dict_does_not_become_a_deploy_form() -> None:
    with torch.device("meta"):
        state = dict(build_model("yolov7-tiny", form="training").state_dict())
        deploy = build_model("yolov7-tiny").state_dict()
    del state["model.0.conv.weight"]
    with pytest.raises(KeyError, match=r"model\.0\.conv\.weight"):
        training_to_deploy_state(state, deploy)


# --- errors


@pytest.mark.parametrize(("height", "width"), [(65, 64), (64, 80), (16, 32)])
def test_sizes_that_do_not_fit_the_strides(small: DetectionModel, height: int, width: int) -> None:
    with pytest.raises(ShapeError, match=rf"{small.name}.*multiples of 32.*{height}x{width}"):
        small(_images(1, height, width))


def test_p6_wants_multiples_of_64() -> None:
    with torch.device("meta"):
        model = build_model("yolov7-w6")
    with pytest.raises(ShapeError, match="64"):
        model(torch.empty(1, 3, 96, 96, device="meta"))


@pytest.mark.parametrize(("wrong", "meant"), [("yolov7-tinny", "yolov7-tiny"), ("yolox_nano", "yolox-nano")])
def test_unknown_model(wrong: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"{wrong}.*did you mean '{meant}'"):
        build_model(wrong)


@pytest.mark.parametrize(
    ("settings", "message"), [({"form": "fused"}, "training or deploy.*fused"), ({"num_classes": 0}, "1 or more.*0")]
)
def test_other_arguments_that_cannot_work(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model("yolox-nano", **settings)


def _rows(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"family": "yolov7", "input_px": 64, "rows": list(rows)}


HEAD = {"yolov7_head": ["P3"], "anchors_px": [[8, 8]]}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (_rows({"elann": 64}), "row 0.*elann"),
        (_rows({"__import__": "os"}), "row 0.*__import__"),
        (_rows({"conv": 8}, {"conv": 8, "from": "N9"}), "row 1.*earlier row.*N9"),
        (_rows({"conv": 8, "kernal": 3}), "row 0.*kernal"),
        (_rows({"conv": 8, "pool": None}), "row 0.*exactly one"),
        (_rows({"conv": 8, "name": "A"}, {"pool": None}, {"down": 8, "join": "A"}), "row 2.*one resolution"),
        (_rows({"conv": 8}), "row that is a head"),
        (_rows({"conv": 8, "name": "P3"}, HEAD, HEAD), "one head"),
        ({**_rows({"conv": 8}), "colour": "red"}, "colour"),
    ],
)
def test_rows_that_cannot_be_built(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_from_rows("test", settings, num_classes=1, form="deploy")


@torch.no_grad()
def test_rows_of_ones_own() -> None:
    model = build_from_rows(
        "test", _rows({"conv": 8, "kernel": 3, "stride": 2, "name": "P3"}, HEAD), num_classes=1, form="deploy"
    )
    assert model.strides == (2,)
    assert model.eval()(_images(1, 8, 12)).shape == (1, 24, 6)
