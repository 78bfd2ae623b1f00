"""Weights for other classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.checkpoint import LoadedCheckpoint, load_checkpoint, read_header, save_checkpoint
from detector.class_names import COCO_CLASS_NAMES
from detector.models import DetectionModel, build_model
from detector.train.anchors import set_anchors
from detector.train.transfer import TransferReport, transfer_weights
from pipeline.core.errors import CheckpointError

OLD = ("person", "car", "bus", "dog")


def _weights(path: Path, name: str, form: str, names: Sequence[str] = OLD) -> LoadedCheckpoint:
    """A network as a checkpoint, with statistics, biases and implicit knowledge of its own."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=len(names), form=form)
    for key, value in model.state_dict().items():
        if value.is_floating_point() and (value.ndim == 1 or key.endswith(".implicit")):
            value.add_(torch.rand_like(value) * 0.1)
    if model.family == "yolov7":
        assert model.anchors is not None
        set_anchors(model, model.anchors.numpy() * 1.5)
    save_checkpoint(path, model, names)
    return load_checkpoint(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], LoadedCheckpoint]:
    folder = tmp_path_factory.mktemp("weights")
    kinds = [("yolov7-nano", "training"), ("yolov7-nano", "deploy"), ("yolox-nano", "deploy")]
    return {kind: _weights(folder / f"{'-'.join(kind)}.safetensors", *kind) for kind in kinds}


def _check_outputs(
    model: DetectionModel, names: Sequence[str], old: DetectionModel, old_names: Sequence[str], tolerance: float = 1e-4
) -> None:
    """Boxes, objectness and the classes that both know are equal."""
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if model.preprocess == "yolox":
        images = images * 255
    with torch.no_grad():
        found, wanted = model.eval()(images), old(images)
    assert wanted.isfinite().all()
    torch.testing.assert_close(found[..., :5], wanted[..., :5], rtol=tolerance, atol=tolerance)
    lowered = [name.lower() for name in old_names]
    for number, name in enumerate(names):
        if name.lower() in lowered:
            wanted_class = wanted[..., 5 + lowered.index(name.lower())]
            torch.testing.assert_close(found[..., 5 + number], wanted_class, rtol=0, atol=tolerance)


def _check_sums(report: TransferReport, model: DetectionModel) -> None:
    parts = (report.copied, report.in_part, report.fresh)
    assert sum(part.tensors for part in parts) == len(model.state_dict())
    assert sum(part.parameters for part in parts) == sum(value.numel() for value in model.parameters())
    assert all(amount >= 0 for part in (*parts, report.left_out) for amount in part)


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from([("yolov7-nano", "training"), ("yolov7-nano", "deploy"), ("yolox-nano", "deploy")]),
    form=st.sampled_from(["training", "deploy"]),
    names=st.lists(st.sampled_from(["Person", "car", "BUS", "dog", "fork", "gull"]), min_size=1, unique=True),
)
def test_what_both_know_is_kept(
    weights: dict[tuple[str, str], LoadedCheckpoint], kind: tuple[str, str], form: str, names: list[str]
) -> None:
    source = weights[kind]
    model = build_model(kind[0], num_classes=len(names), form=form)
    before = {key: value.clone() for key, value in source.model.state_dict().items()}
    report = transfer_weights(model, names, source)
    _check_outputs(model, names, source.model, OLD)
    _check_sums(report, model)
    assert report.classes_kept == tuple(name for name in names if name.lower() in OLD)
    assert report.classes_fresh == tuple(name for name in names if name.lower() not in OLD)
    assert len(report.classes_left_out) == len(OLD) - len(report.classes_kept)
    assert all(torch.equal(before[key], value) for key, value in source.model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_equal_classes_in_equal_order_copy_everything(weights: dict[tuple[str, str], LoadedCheckpoint]) -> None:
    for (name, form), source in weights.items():
        model = build_model(name, num_classes=4, form=form)
        report = transfer_weights(model, OLD, source)
        assert report.copied.tensors == len(model.state_dict())
        assert report.left_out == (0, 0)
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.state_dict().values(), source.model.state_dict().values(), strict=True)
        )


def test_other_classes_stay_as_they_were(weights: dict[tuple[str, str], LoadedCheckpoint]) -> None:
    model = build_model("yolov7-nano", num_classes=2, form="training")
    before = model.detection_head.m[0].weight.detach().clone().view(3, 7, -1)
    report = transfer_weights(model, ("gull", "car"), weights["yolov7-nano", "training"])
    after = model.detection_head.m[0].weight.detach().view(3, 7, -1)
    old = weights["yolov7-nano", "training"].model.detection_head.m[0].weight.view(3, 9, -1)
    assert torch.equal(after[:, 5], before[:, 5])
    assert torch.equal(after[:, 6], old[:, 6])
    assert torch.equal(after[:, :5], old[:, :5])
    assert report.in_part.tensors == 9


def test_report_reads_as_a_table(weights: dict[tuple[str, str], LoadedCheckpoint]) -> None:
    model = build_model("yolov7-nano", num_classes=1, form="training")
    lines = transfer_weights(model, ["Bus"], weights["yolov7-nano", "deploy"]).table()
    assert lines[0] == "yolov7-nano (deploy, 4 classes) -> yolov7-nano (training, 1 class)"
    assert lines[1].split() == ["tensors", "parameters"]
    assert [line[:10].strip() for line in lines[2:6]] == ["copied", "in part", "fresh", "left out"]
    assert lines[6:9] == ["classes kept: Bus", "classes fresh: none", "classes left out: person, car, dog"]
    assert lines[9:] == ["implicit knowledge: set to what changes nothing, since deploy weights have none"]


def test_long_lists_of_classes_are_cut(tmp_path: Path) -> None:
    source = _weights(tmp_path / "a.safetensors", "yolox-nano", "deploy", COCO_CLASS_NAMES)
    lines = transfer_weights(build_model("yolox-nano", num_classes=1), ["person"], source).table()
    assert lines[-1].endswith(" and 67 more")


@pytest.mark.slow
@pytest.mark.parametrize(("old_form", "form"), [("training", "deploy"), ("deploy", "training"), ("training",) * 2])
def test_networks_with_auxiliary_levels(tmp_path: Path, old_form: str, form: str) -> None:
    source = _weights(tmp_path / "w6.safetensors", "yolov7-w6", old_form)
    names = ("gull", "DOG")
    model = build_model("yolov7-w6", num_classes=2, form=form)
    report = transfer_weights(model, names, source)
    _check_outputs(model, names, source.model, OLD)
    _check_sums(report, model)
    note = {
        "deploy": "auxiliary levels: left out",
        "training": "auxiliary levels: fresh, since deploy weights have none",
    }
    assert (note[form] in report.notes) == (old_form != form)
    if old_form == form:
        assert torch.equal(
            model.detection_head.m2[3].bias.view(3, 7)[:, :5], source.model.detection_head.m2[3].bias.view(3, 9)[:, :5]
        )


def test_networks_that_differ_in_activation_only(tmp_path: Path) -> None:
    source = _weights(tmp_path / "tiny.safetensors", "yolov7-tiny", "deploy")
    report = transfer_weights(build_model("yolov7-tiny-silu", num_classes=4), OLD, source)
    assert report.fresh == (0, 0)


@pytest.mark.parametrize("name", ["yolov7-tiny", "yolox-nano", "yolox-s"])
def test_other_architectures_are_refused(weights: dict[tuple[str, str], LoadedCheckpoint], name: str) -> None:
    model = build_model(name, num_classes=4, form="training")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f"wanted weights of {name}, .* train yolov7-nano, or"):
        transfer_weights(model, OLD, weights["yolov7-nano", "deploy"])
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_names_must_fit_the_network(weights: dict[tuple[str, str], LoadedCheckpoint]) -> None:
    with pytest.raises(CheckpointError, match="wanted 2 class names, found 4"):
        transfer_weights(build_model("yolov7-nano", num_classes=2), OLD, weights["yolov7-nano", "deploy"])


def test_the_first_of_equal_names_counts(tmp_path: Path) -> None:
    source = _weights(tmp_path / "twice.safetensors", "yolox-nano", "deploy", ("car", "Car"))
    model = build_model("yolox-nano", num_classes=1)
    transfer_weights(model, ["CAR"], source)
    assert torch.equal(model.detection_head.cls_preds[0].bias, source.model.detection_head.cls_preds[0].bias[:1])


def test_published_weights_find_the_same_persons(data_dir: Path) -> None:
    path = data_dir / "weights" / "yolox_nano.pth"
    names = ("forklift", "Person")
    model = build_model(read_header(path).model, num_classes=2)
    report = transfer_weights(model, names, path)
    assert report.classes_kept == ("Person",)
    image = cv2.imread(str(min((data_dir / "coco" / "val2017").glob("*.jpg"))))
    assert image is not None
    tensor = torch.from_numpy(cv2.resize(image, (416, 416))).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        found, wanted = model.eval()(tensor), load_checkpoint(path).model(tensor)
    torch.testing.assert_close(found[..., [0, 1, 2, 3, 4, 6]], wanted[..., :6], rtol=1e-4, atol=1e-4)
    assert wanted[..., 5].max() > 0.5
