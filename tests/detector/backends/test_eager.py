"""PyTorch as a backend: devices, precision, fusing."""

from __future__ import annotations

import logging

import pytest
import torch

from detector.backends.eager import EagerBackend, EagerConfig, choose_device
from detector.models import DetectionModel, build_model
from pipeline.core.errors import BackendError
from pipeline.core.protocols import Backend


@pytest.fixture(scope="module")
def model() -> DetectionModel:
    torch.manual_seed(0)
    return build_model("yolox-nano", num_classes=3).eval()


def test_infers_what_the_model_says(model: DetectionModel) -> None:
    images = torch.rand(2, 3, 64, 96) * 255
    with torch.inference_mode():
        wanted = model(images)
    for fuse in (False, True):
        for channels_last in (False, True):
            backend = EagerBackend(model, EagerConfig(device="cpu", fuse=fuse, channels_last=channels_last))
            assert isinstance(backend, Backend)
            found = backend.infer(images)
            assert found.shape == (2, (8 * 12 + 4 * 6 + 2 * 3), 8)
            torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-4)
            backend.close()


def test_the_model_that_is_handed_in_stays_as_it_was(model: DetectionModel) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    EagerBackend(model, EagerConfig(device="cpu", channels_last=True, fuse=False))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert next(model.parameters()).dtype == torch.float32


def test_io_spec(model: DetectionModel) -> None:
    spec = EagerBackend(model, EagerConfig(device="cpu")).io_spec
    assert (spec.stride, spec.fixed_hw, spec.max_batch, spec.num_classes) == (32, None, None, 3)


def test_auto_says_what_it_took(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        device = choose_device("auto")
    assert device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert "device auto: running on" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("text", ["cuda", "cuda:0", "0", "cuda:3"])
def test_a_gpu_that_is_not_there_is_an_error(model: DetectionModel, text: str) -> None:
    with pytest.raises(BackendError, match=f"wanted '{text}', found 0 CUDA devices; use --device cpu"):
        EagerBackend(model, EagerConfig(device=text))


@pytest.mark.parametrize("text", ["gpu", "cuda:x", "mps", "", "tpu:0"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(BackendError, match="device: wanted auto, cpu, cuda or cuda:N"):
        choose_device(text)


def test_half_precision_needs_a_gpu(model: DetectionModel) -> None:
    with pytest.raises(BackendError, match="half precision: wanted a CUDA device, found the CPU"):
        EagerBackend(model, EagerConfig(device="cpu", half=True))


@pytest.mark.gpu
def test_half_precision_on_a_gpu(model: DetectionModel) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    images = torch.rand(1, 3, 64, 64) * 255
    full = EagerBackend(model, EagerConfig(device="cpu")).infer(images)
    half = EagerBackend(model, EagerConfig(device="cuda", half=True)).infer(images.cuda().half())
    torch.testing.assert_close(half.cpu().float(), full, atol=1.0, rtol=5e-2)
