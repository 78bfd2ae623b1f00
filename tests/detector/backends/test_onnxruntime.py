"""ONNX Runtime as a backend, on the published YOLOX file and on small files made here."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.backends import Precision
from detector.backends.eager import EagerBackend, EagerConfig
from detector.backends.onnxruntime import (
    OnnxRuntimeBackend,
    OnnxRuntimeConfig,
    _providers,
    import_onnxruntime,
    open_onnxruntime,
    open_session,
)
from detector.checkpoint import Header, LoadedCheckpoint, load_checkpoint, save_checkpoint
from detector.export.header import ExportHeader
from detector.export.onnx_file import write_onnx
from detector.models import build_model
from detector.open_network import Wanted
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import Backend

pytestmark = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the package onnxruntime")


def make_onnx(
    path: Path,
    shape_in: list[int | str],
    shape_out: list[int],
    values: object = None,
    **metadata: str,
) -> Path:
    """A file with one input that is ignored and one output of constants (default: zeros)."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    constant = np.zeros(shape_out, np.float32) if values is None else np.array(values, np.float32)
    node = helper.make_node("Identity", ["constant"], ["output"])
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("images", kinds.FLOAT, shape_in)],
        [helper.make_tensor_value_info("output", kinds.FLOAT, shape_out)],
        [onnx.numpy_helper.from_array(constant, "constant")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return path


def pictures(count: int, side: int) -> torch.Tensor:
    return torch.zeros(count, side, side, 3, dtype=torch.uint8)


@pytest.fixture
def published(data_dir: Path) -> Path:
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
    path = make_onnx(tmp_path / "x.onnx", [4, 3, 64, 64], [4, 84, 8])
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    assert backend.io_spec.max_batch == 4
    assert backend.infer(pictures(3, 64)).shape == (3, 84, 8)


@pytest.mark.parametrize(
    ("shape_in", "shape_out"),
    [
        ([1, 3, 64, 64], [1, 253, 8]),
        ([1, 3, 64, 64], [1, 84, 5]),
        ([1, 1, 64, 64], [1, 84, 8]),
        ([1, 8, 84], [1, 84, 8]),
    ],
)
def test_files_of_other_networks_are_refused(tmp_path: Path, shape_in: list[int | str], shape_out: list[int]) -> None:
    with pytest.raises(CheckpointError, match="wanted a file that `tracklight export` wrote, one of YOLOX") as caught:
        OnnxRuntimeBackend(make_onnx(tmp_path / "x.onnx", shape_in, shape_out), OnnxRuntimeConfig(device="cpu"))
    assert str(shape_out) in str(caught.value)


@pytest.mark.parametrize(("rows", "side"), [(252, 64), (1020, 128)])
def test_a_foreign_yolov7_file(tmp_path: Path, rows: int, side: int) -> None:
    """Three anchors per cell of three or four levels, decoded; names as other exporters write them."""
    path = make_onnx(
        tmp_path / "x.onnx", [1, 3, side, side], [1, rows, 8], names="{0: 'a', 1: 'b', 2: 'c'}", stride="32"
    )
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    spec = backend.io_spec
    assert (spec.output, spec.fixed_hw, spec.max_batch, spec.stride) == ("candidates", (side, side), 1, 32)
    assert (backend.class_names, backend.preprocess) == (("a", "b", "c"), "yolov7")
    assert backend.infer(pictures(1, side)).tolist() == [[[0.0] * 8] * rows]


def test_a_foreign_file_of_any_size(tmp_path: Path) -> None:
    path = make_onnx(tmp_path / "x.onnx", ["batch", 3, "h", "w"], [1, 10, 85], imgsz="[416, 320]", names="['x', ")
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    assert (backend.io_spec.fixed_hw, backend.io_spec.stride, backend.input_hw) == (None, 64, (416, 320))
    assert backend.class_names[0] == "person"


def test_names_that_do_not_fit(tmp_path: Path) -> None:
    path = make_onnx(tmp_path / "x.onnx", [1, 3, 64, 64], [1, 252, 8], names="['a', 'b']")
    with pytest.raises(CheckpointError, match="its output has 3 classes, but its metadata name 2"):
        OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))


def test_a_foreign_file_with_suppression(tmp_path: Path) -> None:
    """Rows of all pictures together: picture, xyxy, class, confidence."""
    rows = [[1, 1, 2, 3, 4, 5, 0.5], [1, 2, 3, 4, 5, 6, 0.75], [0, 9, 9, 10, 10, 1, 0.25]]
    path = make_onnx(tmp_path / "x.onnx", [3, 3, 64, 64], [3, 7], values=rows)
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu"))
    assert backend.io_spec.output == "boxes"
    assert backend.infer(pictures(2, 64)).tolist() == [
        [[9, 9, 10, 10, 0.25, 1], [0] * 6],
        [[2, 3, 4, 5, 0.75, 6], [1, 2, 3, 4, 0.5, 5]],
    ]


def test_weights_are_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    model = build_model("yolov7-nano", num_classes=2).eval()
    weights = tmp_path / "small.safetensors"
    save_checkpoint(weights, model, ("cat", "dog"))
    images = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8)
    wanted = EagerBackend(model, EagerConfig(device="cpu")).infer(images)
    opened = open_onnxruntime(weights, Wanted(backend="onnxruntime", device="cpu"))
    assert (opened.class_names, opened.preprocess) == (("cat", "dog"), "yolov7")
    assert (opened.backend.io_spec.output, opened.backend.precision) == ("maps", "fp32")
    torch.testing.assert_close(opened.backend.infer(images), wanted, atol=1e-4, rtol=1e-4)
    (kept,) = (tmp_path / "cache").rglob("network.onnx")
    before = kept.stat().st_mtime_ns
    open_onnxruntime(weights, Wanted(backend="onnxruntime", device="cpu", precision="fp32"))
    assert kept.stat().st_mtime_ns == before
    with pytest.raises(BackendError, match="wanted fp16, found a file that computes in fp32"):
        open_onnxruntime(kept, Wanted(device="cpu", precision="fp16"))


@pytest.mark.parametrize(
    ("precision", "message"), [("int8", "--precision int8 --data"), ("bf16", "does not compute"), ("fp16", "CPU")]
)
def test_precisions_that_weights_cannot_have(tmp_path: Path, precision: Precision, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        open_onnxruntime(tmp_path / "x.safetensors", Wanted(device="cpu", precision=precision))


def test_nothing_is_sent_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    import_onnxruntime()
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_no_onnx_file(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match="ONNX Runtime cannot load it") as caught:
        OnnxRuntimeBackend(tmp_path / "x.onnx")
    assert "\n" not in str(caught.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"tracklight\[export\]"):
        OnnxRuntimeBackend(tmp_path / "x.onnx")


CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))


@pytest.mark.parametrize(
    ("device", "available", "wanted"),
    [
        ("auto", [CPU], [(CPU, {})]),
        ("auto", [CUDA, CPU], [(CUDA, {"device_id": 0}), (CPU, {})]),
        ("cpu", [CUDA, CPU], [(CPU, {})]),
        ("cuda", [CUDA], [(CUDA, {"device_id": 0}), (CPU, {})]),
        ("cuda:2", [CUDA], [(CUDA, {"device_id": 2}), (CPU, {})]),
        ("1", [CUDA], [(CUDA, {"device_id": 1}), (CPU, {})]),
    ],
)
def test_providers(device: str, available: list[str], wanted: object) -> None:
    assert _providers(device, available) == wanted


def test_tensorrt_as_a_provider_keeps_its_engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path))
    folder = tmp_path / "onnxruntime-tensorrt"
    kept = {
        f"trt_{what}_cache_{key}": value
        for what in ("engine", "timing")
        for key, value in {"enable": True, "path": str(folder)}.items()
    }
    wanted = [(TENSORRT, {"device_id": 1, **kept}), (CUDA, {"device_id": 1}), (CPU, {})]
    assert _providers("tensorrt:1", [TENSORRT, CUDA]) == wanted
    assert folder.is_dir()


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "wanted 'cuda', but this ONNX Runtime has CPUExecutionProvider only"),
        ("tensorrt", "wanted 'tensorrt', but this ONNX Runtime has"),
        ("gpu", "wanted auto, cpu, cuda"),
        ("cuda:x", "wanted auto, cpu, cuda"),
        ("cudax", "wanted auto, cpu, cuda"),
        ("", "wanted auto, cpu, cuda"),
    ],
)
def test_no_fall_back_to_the_cpu(device: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        _providers(device, [CPU])


@pytest.mark.parametrize(
    ("threads", "usable", "machine", "wanted"), [(None, 2, 2, 0), (None, 2, 64, 2), (3, 2, 64, 3), (3, 8, 8, 3)]
)
def test_threads(
    threads: int | None, usable: int, machine: int, wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that may use two cores of a large machine gets two threads; 0 is ONNX Runtime's own choice."""
    monkeypatch.setattr("pipeline.core.cores.usable_cores", lambda: usable)
    monkeypatch.setattr("os.cpu_count", lambda: machine)
    path = make_onnx(tmp_path / "x.onnx", [1, 3, 64, 64], [1, 84, 8])
    session = open_session(path, OnnxRuntimeConfig(device="cpu", threads=threads))
    assert session.get_session_options().intra_op_num_threads == wanted


def test_callers_at_once(tmp_path: Path) -> None:
    """Each gets the boxes of its own picture, and a file keeps its optimised copy where one is wanted."""
    torch.manual_seed(0)
    model = build_model("yolov7-nano", num_classes=2).eval()
    header = Header(
        model="yolov7-nano", form=model.form, class_names=("a", "b"), input_hw=(64, 64), preprocess="yolov7"
    )
    path = tmp_path / "x.onnx"
    write_onnx(model, ExportHeader.of(LoadedCheckpoint(model, header), input="pixels", output="candidates"), path)
    copy = tmp_path / "optimised.onnx"
    backend = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device="cpu", threads=1, optimised_copy=copy))
    assert copy.is_file()
    assert 1 <= backend.io_spec.n_parallel <= 4
    images = [torch.full((1, 64, 64, 3), value, dtype=torch.uint8) for value in range(0, 240, 30)]
    alone = [backend.infer(image) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.infer, images))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one, other)  # type: ignore[arg-type]
