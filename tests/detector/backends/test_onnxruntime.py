"""ONNX Runtime as a backend, on the published YOLOX file and on small files made here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from detector.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeConfig, _provider
from detector.checkpoint import load_checkpoint
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import Backend


def make_onnx(path: Path, shape_in: list[int | str], shape_out: list[int]) -> Path:
    """A file with one input that is ignored and one output of zeros."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    shape = helper.make_tensor("shape", kinds.INT64, [len(shape_out)], shape_out)
    node = helper.make_node("ConstantOfShape", ["shape"], ["output"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("images", kinds.FLOAT, shape_in)],
        [helper.make_tensor_value_info("output", kinds.FLOAT, shape_out)],
        [shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.save(model, path)
    return path


def pictures(count: int, side: int) -> torch.Tensor:
    return torch.zeros(count, side, side, 3, dtype=torch.uint8)


@pytest.fixture
def published(data_dir: Path) -> Path:
    pytest.importorskip("onnxruntime")
    return data_dir / "weights" / "yolox_nano.onnx"


def test_equals_pytorch_on_the_same_weights(published: Path) -> None:
    backend = OnnxRuntimeBackend(published, OnnxRuntimeConfig(device="cpu", threads=1))
    assert isinstance(backend, Backend)
    spec = backend.io_spec
    assert (spec.fixed_hw, spec.max_batch, spec.num_classes, spec.stride) == ((416, 416), 1, 80, 32)
    assert (backend.input_hw, backend.preprocess, len(backend.class_names)) == ((416, 416), "yolox", 80)
    images = torch.randint(0, 256, (1, 416, 416, 3), generator=torch.Generator().manual_seed(0)).byte()
    found = backend.infer(images)
    with torch.inference_mode():
        wanted = load_checkpoint(published.with_suffix(".pth")).model(to_planes(images, "yolox"))
    assert found.shape == (1, 3549, 85)
    torch.testing.assert_close(found[..., 4:], wanted[..., 4:], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[..., :4], wanted[..., :4], atol=5e-2, rtol=1e-3)


def test_closing(published: Path) -> None:
    backend = OnnxRuntimeBackend(published, OnnxRuntimeConfig(device="cpu"))
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="found it closed"):
        backend.infer(pictures(1, 416))


def test_a_wrong_input_is_told(published: Path) -> None:
    backend = OnnxRuntimeBackend(published, OnnxRuntimeConfig(device="cpu"))
    with pytest.raises(BackendError, match=r"failed on a batch of \(2, 416, 416, 3\)"):
        backend.infer(pictures(2, 416))


def test_a_dynamic_batch(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = make_onnx(tmp_path / "x.onnx", ["batch", 3, 64, 64], [2, 84, 8])
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    assert backend.io_spec.max_batch is None
    assert backend.class_names == ("class 0", "class 1", "class 2")
    found = backend.infer(pictures(2, 64))
    # exp(0) * stride: a raw zero is a box of one cell.
    assert found[0, 0].tolist() == [0, 0, 8, 8, 0, 0, 0, 0]
    assert found[1, -1, :4].tolist() == [32, 32, 32, 32]


def test_fewer_images_than_a_fixed_batch(tmp_path: Path) -> None:
    """A video's last batch, and every frame of a run with batches of one."""
    pytest.importorskip("onnxruntime")
    path = make_onnx(tmp_path / "x.onnx", [4, 3, 64, 64], [4, 84, 8])
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    assert backend.io_spec.max_batch == 4
    assert backend.infer(pictures(3, 64)).shape == (3, 84, 8)


@pytest.mark.parametrize(
    ("shape_in", "shape_out"),
    [
        ([1, 3, 64, 64], [1, 252, 8]),
        ([1, 3, 64, 64], [1, 84, 5]),
        ([1, 1, 64, 64], [1, 84, 8]),
        ([1, 3, 64, "w"], [1, 84, 8]),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path: Path, shape_in: list[int | str], shape_out: list[int]) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(CheckpointError, match="wanted a YOLOX file as its authors publish them"):
        OnnxRuntimeBackend(make_onnx(tmp_path / "x.onnx", shape_in, shape_out), OnnxRuntimeConfig(device="cpu"))


def test_no_onnx_file(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.onnx").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match="ONNX Runtime cannot load it") as caught:
        OnnxRuntimeBackend(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[export\]"):
        OnnxRuntimeBackend(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("device", "available", "wanted"),
    [
        ("auto", ["CPUExecutionProvider"], ("CPUExecutionProvider", {})),
        ("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"], ("CUDAExecutionProvider", {"device_id": 0})),
        ("cpu", ["CUDAExecutionProvider", "CPUExecutionProvider"], ("CPUExecutionProvider", {})),
        ("cuda:2", ["CUDAExecutionProvider"], ("CUDAExecutionProvider", {"device_id": 2})),
        ("1", ["CUDAExecutionProvider"], ("CUDAExecutionProvider", {"device_id": 1})),
    ],
)
def test_providers(device: str, available: list[str], wanted: object) -> None:
    assert _provider(device, available) == wanted


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda", "wanted 'cuda', but this ONNX Runtime has CPUExecutionProvider only"), ("gpu", "wanted auto, cpu, cuda")],
)
def test_no_fall_back_to_the_cpu(device: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        _provider(device, ["CPUExecutionProvider"])
