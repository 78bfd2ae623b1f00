"""ONNX files: what is in the graph, and that it computes what PyTorch does."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.backends.onnxruntime import OnnxRuntimeConfig, open_session
from detector.checkpoint import Header, LoadedCheckpoint
from detector.export.efficient_nms import PluginFreeBackend
from detector.export.end2end import GraphNms
from detector.export.header import ExportHeader
from detector.export.onnx_file import read_onnx_header, write_onnx
from detector.head_spec import HeadSpec
from detector.models import build_model
from detector.nms import NmsSettings, non_max_suppression
from detector.pixels import PixelNetwork
from detector.postprocess import boxes_of_rows, decode_maps
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the package onnxruntime")

MODELS = ("yolov7-nano", "yolov7-tiny", pytest.param("yolov7-w6", marks=pytest.mark.slow), "yolox-nano")


def loaded(name: str, num_classes: int = 3) -> LoadedCheckpoint:
    """A network whose weights are random, but whose boxes are not all alike."""
    torch.manual_seed(1)
    model = build_model(name, num_classes=num_classes).eval().requires_grad_(False)
    head: Any = model.detection_head
    for conv in head.m if model.family == "yolov7" else [*head.cls_preds, *head.obj_preds]:
        conv.weight.mul_(60)
        conv.bias.zero_()
    names = tuple(f"thing {number}" for number in range(num_classes))
    header = Header(model=name, form=model.form, class_names=names, input_hw=(128, 128), preprocess=model.preprocess)
    return LoadedCheckpoint(model, header)


def pictures(count: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 256, (count, height // 16, width // 16, 3), generator=generator)
    return coarse.repeat_interleave(16, 1).repeat_interleave(16, 2).to(torch.uint8)


def run(path: Path, images: torch.Tensor, header: ExportHeader) -> list[np.ndarray]:
    session = open_session(path, OnnxRuntimeConfig(device="cpu", threads=1))
    fed = images if header.input == "pixels" else to_planes(images, header.preprocess)
    return list(session.run(None, {"images": fed.numpy()}))


@pytest.mark.parametrize("name", MODELS)
def test_any_size_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    """One file, two sizes and batches: nothing of the traced size is left in it."""
    weights = loaded(name)
    header = ExportHeader.of(weights, input="pixels", output="candidates")
    write_onnx(weights.model, header, tmp_path / "x.onnx")
    network, head = PixelNetwork(weights.model), HeadSpec.of(weights.model)
    for count, height, width in ((1, 64, 192), (2, 128, 64)):
        images = pictures(count, height, width)
        (found,) = run(tmp_path / "x.onnx", images, header)
        wanted = decode_maps(network(images), head).numpy()
        np.testing.assert_allclose(found[..., :4], wanted[..., :4], rtol=2e-4, atol=2e-2)
        np.testing.assert_allclose(found[..., 4:], wanted[..., 4:], atol=2e-4)


@pytest.mark.parametrize("form", ["pixels", "planes"])
@pytest.mark.parametrize("is_fixed", [True, False])
def test_maps(form: Any, is_fixed: bool, tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input=form, output="maps")
    header = header.model_copy(update={"fixed_hw": (64, 96), "batch": 2} if is_fixed else {})
    write_onnx(weights.model, header, tmp_path / "x.onnx")
    images = pictures(2, 64, 96)
    wanted = PixelNetwork(weights.model)(images)
    found = run(tmp_path / "x.onnx", images, header)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=2e-3, rtol=1e-4)
    graph = onnx.load(tmp_path / "x.onnx").graph
    assert [value.name for value in graph.output] == ["maps_0", "maps_1", "maps_2"]
    sides = [d.dim_value or d.dim_param for d in graph.input[0].type.tensor_type.shape.dim]
    batch, height, width = (2, 64, 96) if is_fixed else ("batch", "height", "width")
    assert sides == ([batch, height, width, 3] if form == "pixels" else [batch, 3, height, width])


@pytest.mark.parametrize("is_fixed", [True, False])
@pytest.mark.parametrize(("name", "num_classes"), [("yolov7-nano", 3), ("yolox-nano", 3), ("yolov7-nano", 1)])
def test_suppression_in_the_graph_equals_ours(name: str, num_classes: int, is_fixed: bool, tmp_path: Path) -> None:
    """The same rows, in the same order, from the same candidates; and what is handed to TensorRT's plugin too."""
    weights = loaded(name, num_classes)
    nms = GraphNms(conf_thres=0.2, iou_thres=0.4, max_det=40)
    header = ExportHeader.of(weights, input="pixels", output="boxes")
    header = header.model_copy(update={"fixed_hw": (128, 64), "batch": 2} if is_fixed else {})
    write_onnx(weights.model, header, tmp_path / "boxes.onnx", nms=nms)
    plain = header.model_copy(update={"output": "candidates"})
    write_onnx(weights.model, plain, tmp_path / "candidates.onnx")
    images = pictures(2, 128, 64)
    (candidates,) = run(tmp_path / "candidates.onnx", images, plain)
    (rows,) = run(tmp_path / "boxes.onnx", images, header)
    assert rows.shape == (2, 40, 6)
    settings = NmsSettings(conf_thres=0.2, iou_thres=0.4, max_det=40)
    for found, wanted in zip(
        boxes_of_rows(torch.from_numpy(rows), NmsSettings(conf_thres=0)),
        non_max_suppression(candidates, settings),
        strict=True,
    ):
        assert len(wanted.confidence) > 5
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=1e-3)
        np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-6)
        assert found.class_id.tolist() == wanted.class_id.tolist()

    for_plugin = GraphNms(form="tensorrt", conf_thres=0.2, iou_thres=0.4, max_det=40)
    write_onnx(weights.model, header, tmp_path / "plugin.onnx", nms=for_plugin)
    handed = PluginFreeBackend(tmp_path / "plugin.onnx", header).infer(images)
    for found, wanted in zip(
        non_max_suppression(handed, settings), non_max_suppression(candidates, settings), strict=True
    ):
        np.testing.assert_allclose(found.xyxy, wanted.xyxy, atol=1e-3)
        np.testing.assert_allclose(found.confidence, wanted.confidence, atol=1e-6)
        assert found.class_id.tolist() == wanted.class_id.tolist()


def test_fewer_cells_than_boxes_are_wanted(tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input="pixels", output="boxes")
    write_onnx(weights.model, header, tmp_path / "x.onnx", nms=GraphNms(conf_thres=0.9, max_det=100))
    (rows,) = run(tmp_path / "x.onnx", pictures(1, 32, 32), header)
    assert rows.shape == (1, 63, 6)
    left_over = rows[0][rows[0, :, 4] == 0]
    assert not left_over.any()


def test_the_plugin_is_called_as_tensorrt_wants_it(tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input="planes", output="boxes").model_copy(update={"batch": 1})
    write_onnx(weights.model, header, tmp_path / "x.onnx", nms=GraphNms(form="tensorrt", max_det=7))
    model = onnx.load(tmp_path / "x.onnx")
    node = next(node for node in model.graph.node if node.op_type == "EfficientNMS_TRT")
    fields = {field.name: onnx.helper.get_attribute_value(field) for field in node.attribute}
    assert fields["plugin_version"] == b"1"
    assert (fields["max_output_boxes"], fields["background_class"], fields["box_coding"]) == (7, -1, 0)
    assert fields["score_threshold"] == pytest.approx(0.25)
    assert [(o.name, o.type.tensor_type.elem_type) for o in model.graph.output] == [
        ("num_dets", onnx.TensorProto.INT32),
        ("det_boxes", onnx.TensorProto.FLOAT),
        ("det_scores", onnx.TensorProto.FLOAT),
        ("det_classes", onnx.TensorProto.INT32),
    ]


def test_one_class_of_yolov7_is_its_objectness(tmp_path: Path) -> None:
    """Other programs multiply both columns; the class output was never trained."""
    weights = loaded("yolov7-nano", num_classes=1)
    header = ExportHeader.of(weights, input="pixels", output="candidates")
    write_onnx(weights.model, header, tmp_path / "x.onnx")
    (rows,) = run(tmp_path / "x.onnx", pictures(1, 64, 64), header)
    assert (rows[..., 5] == 1).all()
    assert rows[..., 4].max() < 1


def test_half_precision_stays_near(tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input="planes", output="candidates").model_copy(update={"precision": "fp16"})
    write_onnx(weights.model, header, tmp_path / "x.onnx")
    model = onnx.load(tmp_path / "x.onnx")
    kinds = {value.data_type for value in model.graph.initializer if value.name.endswith("weight")}
    assert kinds == {onnx.TensorProto.FLOAT16}
    images = pictures(1, 64, 64)
    (found,) = run(tmp_path / "x.onnx", images, header)
    wanted = decode_maps(PixelNetwork(weights.model)(images), header.head).numpy()
    assert found.dtype == np.float32
    assert np.abs(found[..., 4:] - wanted[..., 4:]).max() < 0.05


def test_metadata(tmp_path: Path) -> None:
    weights = loaded("yolov7-nano", num_classes=2)
    header = ExportHeader.of(weights, input="planes", output="boxes").model_copy(update={"fixed_hw": (64, 96)})
    path = tmp_path / "new folder" / "x.onnx"
    write_onnx(weights.model, header, path, nms=GraphNms(conf_thres=0.1))
    assert read_onnx_header(path) == header
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert ast.literal_eval(metadata["names"]) == {0: "thing 0", 1: "thing 1"}
    assert (metadata["stride"], metadata["imgsz"], metadata["conf_thres"]) == ("32", "[64, 96]", "0.1")
    assert (model.producer_name, model.opset_import[0].version) == ("tracklight", 17)


@pytest.mark.parametrize("opset", [17, 18, 19, 21])
def test_opsets(opset: int, tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input="pixels", output="boxes")
    write_onnx(weights.model, header, tmp_path / "x.onnx", opset=opset)
    onnx.checker.check_model(onnx.load(tmp_path / "x.onnx"), full_check=True)
    assert run(tmp_path / "x.onnx", pictures(1, 64, 64), header)[0].shape == (1, 252, 6)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_precisions_that_it_has_not(precision: str, tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    header = ExportHeader.of(weights, input="pixels", output="maps").model_copy(update={"precision": precision})
    with pytest.raises(BackendError, match="is written in fp32 or fp16"):
        write_onnx(weights.model, header, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_an_operator_that_is_not_known(tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    first = next(m for m in weights.model.modules() if hasattr(m, "act"))
    first.act = torch.nn.Tanh()
    header = ExportHeader.of(weights, input="pixels", output="maps")
    with pytest.raises(BackendError, match=r"wanted one of the operators .* found aten.tanh"):
        write_onnx(weights.model, header, tmp_path / "x.onnx")


def test_headers_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(CheckpointError, match="wanted an ONNX file"):
        read_onnx_header(tmp_path / "x.onnx")
    graph = onnx.helper.make_graph([], "g", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "y.onnx")
    assert read_onnx_header(tmp_path / "y.onnx") is None


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = loaded("yolov7-nano")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[export\]"):
        write_onnx(weights.model, ExportHeader.of(weights, input="pixels", output="maps"), tmp_path / "x.onnx")
