"""Int8 written into ONNX graphs, run in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from detector.checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
from detector.export.header import ExportHeader
from detector.export.onnx_file import write_onnx
from detector.export.tensorrt_quantise import add_quantisation, best_scale
from detector.models import build_model
from pipeline.core.errors import BackendError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def checkpoint(folder: Path, name: str) -> LoadedCheckpoint:
    torch.manual_seed(0)
    model = build_model(name, num_classes=2)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(2)
    save_checkpoint(folder / "x.safetensors", model, ("a", "b"), input_hw=(64, 64))
    return load_checkpoint(folder / "x.safetensors")


def graph_of(loaded: LoadedCheckpoint, folder: Path, precision: str) -> bytes:
    header = ExportHeader.of(loaded, input="pixels", output="maps").model_copy(update={"precision": precision})
    write_onnx(loaded.model, header, folder / "x.onnx", opset=19)
    return (folder / "x.onnx").read_bytes()


def run(graph: bytes, canvas: Any) -> list[Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, {"images": canvas}))


@pytest.mark.parametrize("name", ["yolox-nano", "yolov7-tiny"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_gives_nearly_the_same_and_is_symmetric(tmp_path: Path, name: str, precision: str) -> None:
    loaded = checkpoint(tmp_path, name)
    canvases = list(np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64, 3), np.uint8))
    plain = graph_of(loaded, tmp_path, precision)
    quantised = add_quantisation(plain, canvases, np.asarray)
    model = onnx.load_from_string(quantised)
    onnx.checker.check_model(model, full_check=True)
    nodes = list(model.graph.node)
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    eight_bit = [node for node in convolutions if node.input[1].endswith("/back")]
    assert len(convolutions) // 3 < len(eight_bit) < len(convolutions)
    assert all(node.input[0].endswith("/back") for node in eight_bit)
    assert not convolutions[0].input[0].endswith("/back")
    values = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    pairs = [node for node in nodes if node.op_type == "QuantizeLinear"]
    assert len(pairs) == len([node for node in nodes if node.op_type == "DequantizeLinear"])
    for node in pairs:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
        assert scale.dtype == {"fp32": np.float32, "fp16": np.float16}[precision]
        assert (scale > 0).all()
        assert zero.shape == scale.shape
        assert scale.ndim == (1 if node.input[0] in values else 0)
    for found, wanted in zip(run(quantised, canvases[0]), run(plain, canvases[0]), strict=True):
        assert found.shape == wanted.shape
        assert 0 < np.linalg.norm(found - wanted) / np.linalg.norm(wanted) < 0.25


def test_channels_of_zeros_stay_numbers(tmp_path: Path) -> None:
    loaded = checkpoint(tmp_path, "yolov7-tiny")
    with torch.no_grad():
        for module in loaded.model.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight[0] = 0
    canvases = list(np.random.default_rng(0).integers(0, 256, (1, 1, 64, 64, 3), np.uint8))
    quantised = add_quantisation(graph_of(loaded, tmp_path, "fp16"), canvases, np.asarray)
    assert all(np.isfinite(level).all() for level in run(quantised, canvases[0]))


def test_without_pictures() -> None:
    with pytest.raises(BackendError, match="int8: wanted pictures to measure the ranges on, found none"):
        add_quantisation(b"", [], np.asarray)


def test_the_best_scale_cuts_off_what_is_rare() -> None:
    counts = np.zeros(1000, np.int64)
    counts[:100] = 1000
    assert best_scale(counts, 10.0) == pytest.approx(1.0 / 127, rel=0.06)
    counts[999] = 1
    assert best_scale(counts, 10.0) < 10 / 127
    counts[999] = 100_000
    assert best_scale(counts, 10.0) == pytest.approx(10 / 127, rel=0.02)


def test_the_best_scale_of_even_values_takes_them_all_in() -> None:
    assert best_scale(np.full(2048, 7), 3.0) == pytest.approx(3 / 127, rel=0.03)
