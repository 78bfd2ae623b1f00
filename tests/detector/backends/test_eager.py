"""PyTorch as a backend: devices, precision, fusing, what a GPU records."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from detector.backends.eager import EagerBackend, EagerConfig, choose_device, open_eager
from detector.checkpoint import save_checkpoint
from detector.models import DetectionModel, build_model
from detector.open_network import Wanted
from detector.postprocess import decode_maps
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, ShapeError
from pipeline.core.protocols import Backend


def small(name: str) -> DetectionModel:
    torch.manual_seed(0)
    model = build_model(name, num_classes=3).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.2, 0.2)
    return model


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    return small("yolox-nano")


@pytest.fixture
def pictures() -> torch.Tensor:
    return torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["yolox-nano", "yolov7-tiny"])
def test_infers_what_the_model_says(name: str, pictures: torch.Tensor) -> None:
    model = small(name)
    backend = EagerBackend(model, EagerConfig(device="cpu"))
    assert isinstance(backend, Backend)
    with torch.inference_mode():
        wanted = model(to_planes(pictures, model.preprocess))
    maps = backend.infer(pictures)
    na = backend.head.num_anchors
    assert [tuple(level.shape) for level in maps] == [(2, na * 8, 64 // s, 96 // s) for s in (8, 16, 32)]
    torch.testing.assert_close(decode_maps(maps, backend.head), wanted, atol=2e-3, rtol=1e-4)
    backend.close()
    backend.close()


def test_bf16_is_near_fp32(model: DetectionModel, pictures: torch.Tensor) -> None:
    full = EagerBackend(model, EagerConfig(device="cpu")).infer(pictures)
    backend = EagerBackend(model, EagerConfig(device="cpu", precision="bf16"))
    half = backend.infer(pictures)
    assert backend.precision == "bf16"
    assert all(level.dtype == torch.bfloat16 for level in half)
    for found, wanted in zip(half, full, strict=True):
        assert (found.float() - wanted).norm() / wanted.norm() < 0.03


def test_the_model_that_is_handed_in_stays_as_it_was(model: DetectionModel) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    EagerBackend(model, EagerConfig(device="cpu", precision="bf16"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_io_spec(model: DetectionModel) -> None:
    spec = EagerBackend(model, EagerConfig(device="cpu")).io_spec
    assert (spec.stride, spec.fixed_hw, spec.max_batch, spec.num_classes) == (32, None, None, 3)
    assert (spec.output, spec.n_parallel) == ("maps", 1)


def test_a_size_that_is_no_multiple_of_the_stride(model: DetectionModel) -> None:
    with pytest.raises(ShapeError, match="multiples of 32, found 60x64"):
        EagerBackend(model, EagerConfig(device="cpu")).infer(torch.zeros(1, 60, 64, 3, dtype=torch.uint8))


def test_opening_a_file(model: DetectionModel, pictures: torch.Tensor, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, model, ("a", "b", "c"), input_hw=(64, 96))
    opened = open_eager(path, Wanted(device="cpu", precision="bf16"))
    assert (opened.class_names, opened.input_hw, opened.preprocess) == (("a", "b", "c"), (64, 96), "yolox")
    assert (opened.backend.precision, opened.backend.device) == ("bf16", torch.device("cpu"))
    assert open_eager(path, Wanted(device="cpu")).backend.precision == "fp32"


def test_auto_says_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        device = choose_device("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert "device auto: running on" in caplog.text


@pytest.mark.parametrize("text", ["cuda", "cuda:0", "0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_an_error(model: DetectionModel, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=f"wanted '{text}', found 0 CUDA devices; use --device cpu"):
        EagerBackend(model, EagerConfig(device=text))


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "mps", "", "tpu:0"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(BackendError, match="device: wanted auto, cpu, cuda or cuda:N"):
        choose_device(text)


@pytest.mark.parametrize(
    ("precision", "message"),
    [("fp16", "fp16: wanted a CUDA device, found the CPU"), ("int8", "int8: wanted a runtime")],
)
def test_precisions_that_it_does_not_have(model: DetectionModel, precision: str, message: str) -> None:
    with pytest.raises(BackendError, match=message):
        EagerBackend(model, EagerConfig(device="cpu", precision=precision))


def test_threads(model: DetectionModel) -> None:
    before = torch.get_num_threads()
    try:
        EagerBackend(model, EagerConfig(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_compiling_without_a_compiler_is_told_in_one_line(
    model: DetectionModel, pictures: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch._inductor.config as inductor

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(inductor.cpp, "cxx", (None, str(tmp_path / "no-compiler")))
    backend = EagerBackend(model, EagerConfig(device="cpu", compile=True))
    with pytest.raises(BackendError, match=r"compile: .*install a C\+\+ compiler, or leave it out") as caught:
        backend.infer(pictures)
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_half_precision_on_a_gpu(model: DetectionModel, pictures: torch.Tensor, cuda_graphs: bool) -> None:
    full = EagerBackend(model, EagerConfig(device="cpu")).infer(pictures)
    backend = EagerBackend(model, EagerConfig(device="cuda", precision="fp16", cuda_graphs=cuda_graphs))
    for _ in range(5):
        half = backend.infer(pictures)
        for found, wanted in zip(half, full, strict=True):
            assert (found.cpu().float() - wanted).norm() / wanted.norm() < 0.02
    backend.close()
