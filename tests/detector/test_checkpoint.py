"""Weights of every published kind load; what does not fit is told in one line."""

from __future__ import annotations

import json
import os
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from detector.checkpoint import default_class_names, load_checkpoint, read_header, save_checkpoint
from detector.class_names import COCO_CLASS_NAMES
from detector.identify import expected_shapes, identify
from detector.models import DetectionModel, available_models, build_model, fuse
from pipeline.core.errors import CheckpointError

NAMES = ("cat", "dog", "eel")


@pytest.fixture(scope="module")
def tiny() -> DetectionModel:
    return build_model("yolov7-tiny", num_classes=3, form="deploy").eval()


@pytest.fixture(scope="module")
def nano() -> DetectionModel:
    return build_model("yolox-nano", num_classes=80).eval()


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[..., nn.Module]:
    """Makes what the YOLOv7 program pickles, from our tensors: modules of classes that exist in the test only."""
    modules = {name: types.ModuleType(name) for name in ("models", "models.yolo", "models.common")}
    classes = {}
    for module, name in (("models.yolo", "Model"), ("models.common", "Conv")):
        classes[name] = type(name, (nn.Module,), {"__module__": module})
        setattr(modules[module], name, classes[name])
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)

    def make(model: DetectionModel, names: list[str], activation: nn.Module) -> nn.Module:
        root = classes["Model"]()
        parameters = dict(model.named_parameters())
        for key, value in model.state_dict().items():
            *path, leaf = key.split(".")
            node = root
            for part in path:
                if part not in node._modules:
                    node.add_module(part, classes["Conv"]())
                node = node._modules[part]
            if key in parameters:
                node.register_parameter(leaf, nn.Parameter(value.clone()))
            else:
                node.register_buffer(leaf, value.clone())
        root.add_module("act", activation)
        root.names, root.nc, root.yaml, root.stride = names, len(names), {"nc": len(names)}, torch.tensor([8.0, 16, 32])
        return root

    return make


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes the program's modules away, as on a machine that has only the file."""

    def take() -> None:
        for name in ("models", "models.yolo", "models.common"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    return take


def assert_same_weights(model: nn.Module, wanted: nn.Module, *, half: bool = False) -> None:
    state = model.state_dict()
    for name, value in wanted.state_dict().items():
        expected = value.half().float() if half and value.is_floating_point() else value
        assert torch.equal(state[name], expected), name
        assert state[name].dtype == value.dtype, name


# -- own checkpoints --


def test_own_checkpoint_there_and_back(tmp_path: Path, tiny: DetectionModel) -> None:
    path = tmp_path / "runs" / "best.safetensors"
    save_checkpoint(
        path, tiny, NAMES, input_hw=(320, 512), metrics={"ap": 0.25}, provenance={"data": "made", "licence": "CC0"}
    )
    assert [file.name for file in path.parent.iterdir()] == ["best.safetensors"]
    loaded = load_checkpoint(path)
    assert_same_weights(loaded.model, tiny)
    assert not loaded.model.training
    assert loaded.class_names == NAMES
    assert loaded.input_hw == (320, 512)
    assert loaded.header.metrics == {"ap": 0.25}
    assert loaded.header.provenance == {"data": "made", "licence": "CC0"}
    assert (loaded.header.model, loaded.header.form, loaded.header.preprocess) == ("yolov7-tiny", "deploy", "yolov7")
    assert read_header(path) == loaded.header
    images = torch.rand(1, 3, 64, 96)
    assert torch.equal(loaded.model(images), tiny(images))


def test_training_form_keeps_its_form(tmp_path: Path) -> None:
    model = build_model("yolov7-tiny", num_classes=3, form="training")
    save_checkpoint(tmp_path / "x.safetensors", model, NAMES)
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.model.form == "training"
    assert model.training, "saving leaves the model as it was"


def test_a_failed_write_leaves_nothing_and_keeps_the_old(
    tmp_path: Path, tiny: DetectionModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, tiny, NAMES)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, tiny, NAMES)
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]
    assert path.read_bytes() == before


def test_a_fused_model_is_not_written(tmp_path: Path, tiny: DetectionModel) -> None:
    with pytest.raises(CheckpointError, match=r"not written: .* save the model before fuse\(\)"):
        save_checkpoint(tmp_path / "x.safetensors", fuse(tiny), NAMES)


def test_names_must_fit_when_saving_and_loading(tmp_path: Path, tiny: DetectionModel) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(CheckpointError, match="its weights tell 3 classes apart, but 2 class names are given"):
        save_checkpoint(path, tiny, NAMES[:2])
    save_checkpoint(path, tiny, NAMES)
    assert load_checkpoint(path, ("a", "b", "c")).class_names == ("a", "b", "c")
    with pytest.raises(CheckpointError, match="tell 3 classes apart, but 4 class names are given"):
        load_checkpoint(path, ("a", "b", "c", "d"))


def rewrite_header(path: Path, tiny: DetectionModel, change: Callable[[dict[str, Any]], Any]) -> None:
    save_checkpoint(path, tiny, NAMES)
    header = read_header(path)
    document = header.model_dump()
    change(document)
    save_file(load_file(path), path, {"tracklight": json.dumps(document)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format_version=2), "format 2 is of a newer Tracklight; this one reads up to 1"),
        (lambda h: h.pop("class_names"), "its header is damaged"),
        (lambda h: h.update(model="yolov7"), "wanted the weights of yolov7 .*missing"),
        (lambda h: h.update(class_names=["a"]), "wanted the weights of yolov7-tiny .*of another shape"),
        (lambda h: h.update(model="yolov9"), "its network 'yolov9' is not known here; there are: yolov7"),
    ],
)
def test_a_header_that_lies(tmp_path: Path, tiny: DetectionModel, change: Any, message: str) -> None:
    rewrite_header(tmp_path / "x.safetensors", tiny, change)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_safetensors_of_others_are_identified(tmp_path: Path, nano: DetectionModel) -> None:
    save_file({name: value.contiguous() for name, value in nano.state_dict().items()}, tmp_path / "x.safetensors")
    assert read_header(tmp_path / "x.safetensors").model == "yolox-nano"
    loaded = load_checkpoint(tmp_path / "x.safetensors")
    assert loaded.header.model == "yolox-nano"
    assert_same_weights(loaded.model, nano)


# -- files of the YOLOv7 program --


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("form", ["training", "deploy"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_model_in_half_precision(
    tmp_path: Path, program: Any, forget: Callable[[], None], form: str, zipped: bool
) -> None:
    model = build_model("yolov7-tiny", num_classes=3, form=form)
    saved = {
        "epoch": -1,
        "best_fitness": np.array([0.5]),
        "training_results": None,
        "model": program(model, list(NAMES), nn.LeakyReLU(0.1)).half(),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "wandb_id": None,
    }
    torch.save(saved, tmp_path / "mine.pt", _use_new_zipfile_serialization=zipped)
    forget()
    loaded = load_checkpoint(tmp_path / "mine.pt")
    assert (loaded.header.model, loaded.header.form) == ("yolov7-tiny", form)
    assert loaded.class_names == NAMES
    assert loaded.input_hw == (640, 640)
    assert_same_weights(loaded.model, model, half=True)
    assert not loaded.model.training
    assert loaded.header.provenance == {"file": "mine.pt", "kind": "pickled model"}


@pytest.mark.parametrize("ema", ["module", "tuple", "state dict"])
def test_averaged_weights_go_before_trained_ones(
    tmp_path: Path, program: Any, forget: Callable[[], None], tiny: DetectionModel, ema: str
) -> None:
    other = build_model("yolov7-tiny", num_classes=3, form="deploy")
    averaged = program(tiny, list(NAMES), nn.LeakyReLU())
    forms = {"module": averaged, "tuple": (averaged, 77), "state dict": tiny.state_dict()}
    torch.save({"model": program(other, list(NAMES), nn.LeakyReLU()), "ema": forms[ema]}, tmp_path / "last.pt")
    forget()
    assert_same_weights(load_checkpoint(tmp_path / "last.pt").model, tiny)


@pytest.mark.parametrize(
    ("file", "activation", "name"),
    [
        ("mine.pt", nn.LeakyReLU(), "yolov7-tiny"),
        ("mine.pt", nn.SiLU(), "yolov7-tiny-silu"),
        ("yolov7-tiny.pt", nn.LeakyReLU(), "yolov7-tiny"),
    ],
)
def test_networks_that_differ_in_their_activation_only(
    tmp_path: Path,
    program: Any,
    forget: Callable[[], None],
    tiny: DetectionModel,
    file: str,
    activation: nn.Module,
    name: str,
) -> None:
    torch.save({"model": program(tiny, list(NAMES), activation)}, tmp_path / file)
    forget()
    assert load_checkpoint(tmp_path / file).header.model == name


@pytest.mark.parametrize("kind", ["plain", "model", "state_dict", "parallel", "no names"])
def test_state_dicts(tmp_path: Path, nano: DetectionModel, kind: str) -> None:
    state = nano.state_dict()
    forms: dict[str, Any] = {
        "plain": state,
        "model": {"model": state, "start_epoch": 3, "best_ap": 0.3},
        "state_dict": {"state_dict": state},
        "parallel": OrderedDict((f"module.{name}", value) for name, value in state.items()),
        "no names": {"model": dict(state)},
    }
    torch.save(forms[kind], tmp_path / "x.pth")
    loaded = load_checkpoint(tmp_path / "x.pth")
    assert loaded.header.model == "yolox-nano"
    assert loaded.class_names == COCO_CLASS_NAMES
    assert loaded.header.preprocess == "yolox"
    assert_same_weights(loaded.model, nano)


@pytest.mark.reference
@pytest.mark.parametrize("prefix", [True, False])
def test_the_mit_release(tmp_path: Path, reference_dir: Path, prefix: bool) -> None:
    manifest = json.loads((reference_dir / "yolov7_mit_manifest.json").read_text())
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in manifest:
        value = torch.zeros(shape, dtype=torch.int64) if name.endswith("num_batches_tracked") else None
        if value is None:
            value = torch.from_numpy(
                rng.random(shape, np.float32) if np.prod(shape) < 5000 else np.ones(shape, np.float32)
            )
        state[name if prefix else name.removeprefix("model.")] = value
    torch.save(state, tmp_path / "v7.pt")
    loaded = load_checkpoint(tmp_path / "v7.pt")
    assert (loaded.header.model, loaded.header.form) == ("yolov7", "training")
    key = "105.heads.1.implicit_m.implicit"
    found = loaded.model.state_dict()["model.105.im.1.implicit"]
    assert torch.equal(found, state[f"model.{key}" if prefix else key])
    assert loaded.model.state_dict()["model.105.anchors"].shape == (3, 3, 2)


@pytest.mark.reference
@pytest.mark.parametrize("form", ["training", "deploy"])
def test_every_published_network_is_told_from_its_shapes(reference_dir: Path, form: str) -> None:
    manifests = json.loads((reference_dir / "yolov7_manifests.json").read_text())
    for key, manifest in manifests.items():
        kind, _, name = key.partition("/")
        if kind == form:
            shapes = {entry: tuple(shape) for entry, shape in manifest["state_dict"]}
            found = identify(shapes, (name,))
            assert (found.name, found.form, found.num_classes) == (name, form, 80)
            assert expected_shapes(found) == shapes


# -- what does not fit --


def test_missing_unexpected_and_resized_tensors_are_named(tmp_path: Path, nano: DetectionModel) -> None:
    state = dict(nano.state_dict())
    state["extra.weight"] = torch.zeros(1)
    del state["backbone.backbone.stem.conv.bn.bias"]
    state["backbone.backbone.stem.conv.conv.weight"] = torch.zeros(1, 2, 3, 4)
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError,
        match=r"wanted the weights of yolox-nano .*: 1 missing \(backbone\.backbone\.stem\.conv\.bn\.bias\); "
        r"1 unexpected \(extra\.weight\); 1 of another shape \(backbone\.backbone\.stem\.conv\.conv\.weight: wanted",
    ) as caught:
        load_checkpoint(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"a": torch.zeros(2)},
            "wanted weights of a YOLOv7 or YOLOX network, found 1 tensors without",
        ),
        ({"epoch": 3}, "wanted weights .a state dict or a model., found neither"),
        ([1, 2], "found neither"),
    ],
)
def test_other_contents(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"some text\n", b"\x00" * 64])
def test_other_files(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_own_checkpoint(tmp_path: Path, tiny: DetectionModel) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, tiny, NAMES)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="cut short or no safetensors file"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_checkpoint(tmp_path / name)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found a folder"):
        load_checkpoint(tmp_path)


def test_default_class_names() -> None:
    assert default_class_names(80)[79] == "toothbrush"
    assert default_class_names(2) == ("class 0", "class 1")
    assert len(set(COCO_CLASS_NAMES)) == 80


@pytest.mark.slow
@pytest.mark.parametrize("name", available_models())
def test_every_network_there_and_back(tmp_path: Path, name: str) -> None:
    """Through our own format, with two classes."""
    model = build_model(name, num_classes=2, form="deploy")
    save_checkpoint(tmp_path / "x.safetensors", model, ("a", "b"))
    assert_same_weights(load_checkpoint(tmp_path / "x.safetensors").model, model)
