"""OpenVINO as a backend: its numbers beside PyTorch's, its threads, its files, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from detector.backends import Precision
from detector.backends.eager import EagerBackend, EagerConfig
from detector.backends.openvino import OpenVinoBackend, OpenVinoConfig, _device, open_openvino
from detector.checkpoint import Header, LoadedCheckpoint, save_checkpoint
from detector.cpu_features import has_fast_bf16
from detector.detector import DetectorConfig, YoloDetector
from detector.export.header import ExportHeader
from detector.export.openvino_ir import save_ir, write_openvino
from detector.models import build_model
from detector.open_network import Wanted
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import Backend

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("openvino", "onnx")), reason="openvino or onnx is not installed"
)

NAMES = ("a", "b", "c")


def loaded(name: str) -> LoadedCheckpoint:
    torch.manual_seed(0)
    model = build_model(name, num_classes=len(NAMES)).eval()
    header = Header(model=name, form=model.form, class_names=NAMES, input_hw=(64, 96), preprocess=model.preprocess)
    return LoadedCheckpoint(model, header)


def pictures(count: int, height: int = 64, width: int = 96, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), generator=generator).byte()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes each kind of file once."""
    folder = tmp_path_factory.mktemp("openvino")

    def make(name: str, **changes: Any) -> Path:
        path = folder / f"{name}-{'-'.join(map(str, changes.values()))}.xml"
        if not path.exists():
            checkpoint = loaded(name)
            header = ExportHeader.of(
                checkpoint, input=changes.pop("input", "pixels"), output=changes.pop("output", "maps")
            )
            write_openvino(checkpoint.model, header.model_copy(update=changes), path)
        return path

    return make


@pytest.mark.parametrize("name", ["yolov7-nano", "yolox-nano"])
def test_maps_are_pytorchs(made: Callable[..., Path], name: str) -> None:
    backend = OpenVinoBackend(made(name), OpenVinoConfig(threads=1))
    assert isinstance(backend, Backend)
    eager = EagerBackend(loaded(name).model, EagerConfig(device="cpu"))
    assert backend.head == eager.head
    # More sizes than have a network of their own, and the first one again.
    for height, width in [(64, 96), (96, 64), (64, 64), (128, 64), (64, 128), (160, 96), (64, 96)]:
        images = pictures(1, height, width)
        found, wanted = backend.infer(images), eager.infer(images)
        assert [m.shape for m in found] == [m.shape for m in wanted]
        for level, reference in zip(found, wanted, strict=True):
            assert level.dtype == torch.float32
            assert level.is_contiguous()
            torch.testing.assert_close(level, reference, atol=1e-4, rtol=1e-4)
    backend.close()


def test_io_spec(made: Callable[..., Path]) -> None:
    backend = OpenVinoBackend(made("yolox-nano"), OpenVinoConfig(threads=3))
    spec = backend.io_spec
    assert (spec.stride, spec.fixed_hw, spec.max_batch, spec.num_classes, spec.output) == (32, None, 1, 3, "maps")
    assert spec.n_parallel == 3
    assert (backend.precision, backend.class_names, backend.input_hw) == ("fp32", NAMES, (64, 96))
    assert (backend.preprocess, backend.device) == ("yolox", torch.device("cpu"))
    assert OpenVinoBackend(made("yolox-nano"), OpenVinoConfig(threads=3, streams=2)).io_spec.n_parallel == 2


@pytest.mark.parametrize("name", ["yolov7-nano", "yolox-nano"])
def test_a_file_for_other_programs(made: Callable[..., Path], name: str) -> None:
    """Float planes in, decoded boxes out."""
    backend = OpenVinoBackend(made(name, input="planes", output="candidates"))
    assert backend.io_spec.output == "candidates"
    assert backend.head is None
    for height, width in [(64, 96), (128, 64)]:
        images = pictures(1, height, width)
        planes = images.permute(0, 3, 1, 2).float()
        if backend.preprocess == "yolov7":
            planes = planes.flip(1) / 255
        with torch.inference_mode():
            wanted = loaded(name).model(planes)
        torch.testing.assert_close(backend.infer(images), wanted, atol=2e-3, rtol=1e-4)


def test_a_fixed_batch_is_filled_up(made: Callable[..., Path]) -> None:
    path = made("yolox-nano", batch=3, fixed_hw=(64, 96))
    backend = OpenVinoBackend(path)
    assert (backend.io_spec.max_batch, backend.io_spec.fixed_hw) == (3, (64, 96))
    images = pictures(2)
    found = backend.infer(images)
    wanted = EagerBackend(loaded("yolox-nano").model, EagerConfig(device="cpu")).infer(images)
    for level, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(level, reference, atol=1e-4, rtol=1e-4)


def test_two_threads_at_once_get_what_one_gets(made: Callable[..., Path]) -> None:
    """One thread has all cores; two have a stream each. Numbers are the same to the last bit."""
    backend = OpenVinoBackend(made("yolov7-nano"), OpenVinoConfig(threads=2))
    images = [pictures(1, seed=seed) for seed in range(8)]
    alone = [[level.clone() for level in backend.infer(image)] for image in images]
    both = threading.Barrier(2)

    def run(numbers: range) -> list[list[torch.Tensor]]:
        both.wait(timeout=30)
        return [[level.clone() for level in backend.infer(images[number])] for number in numbers]

    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            halves = list(pool.map(run, (range(4), range(4, 8))))
            for found, wanted in zip(halves[0] + halves[1], alone, strict=True):
                assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    backend.close()


def test_the_next_call_of_another_thread_leaves_maps_alone(made: Callable[..., Path]) -> None:
    backend = OpenVinoBackend(made("yolox-nano"), OpenVinoConfig(threads=1))
    maps = backend.infer(pictures(1, seed=1))
    before = [level.clone() for level in maps]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(backend.infer, pictures(1, seed=2)).result()
    assert all(torch.equal(a, b) for a, b in zip(maps, before, strict=True))


def test_nothing_is_copied(made: Callable[..., Path]) -> None:
    """The picture's own memory goes in, and what comes out is the runtime's."""
    backend = OpenVinoBackend(made("yolox-nano"), OpenVinoConfig(threads=1))
    first = [level.data_ptr() for level in backend.infer(pictures(1, seed=1))]
    assert [level.data_ptr() for level in backend.infer(pictures(1, seed=2))] == first


def test_bf16(made: Callable[..., Path]) -> None:
    path = made("yolov7-nano")
    if not has_fast_bf16():
        with pytest.raises(BackendError, match="bf16: wanted a device that computes in it, found CPU"):
            OpenVinoBackend(path, OpenVinoConfig(precision="bf16"))
        return
    backend = OpenVinoBackend(path, OpenVinoConfig(precision="bf16"))
    assert backend.precision == "bf16"
    full = OpenVinoBackend(path).infer(pictures(1))
    for level, reference in zip(backend.infer(pictures(1)), full, strict=True):
        assert level.dtype == torch.float32
        torch.testing.assert_close(level, reference, atol=0.1, rtol=0.05)
        assert not torch.equal(level, reference)


@pytest.mark.parametrize(
    ("precision", "text"),
    [
        (
            "int8",
            r"int8 needs pictures to calibrate with; .*: tracklight export --weights .* --precision int8 .*--data",
        ),
        ("fp16", r"fp16: wanted a device that computes in it, found CPU with fp32.*; take --precision fp32"),
    ],
)
def test_a_precision_that_cannot_be_had(made: Callable[..., Path], precision: Precision, text: str) -> None:
    path = made("yolox-nano")
    with pytest.raises(BackendError, match=text):
        OpenVinoBackend(path, OpenVinoConfig(precision=precision))


def test_boxes_are_not_decoded_in_16_bits(made: Callable[..., Path]) -> None:
    if not has_fast_bf16():
        pytest.skip("this CPU has no bf16")
    path = made("yolox-nano", input="planes", output="candidates")
    boxes = OpenVinoBackend(path, OpenVinoConfig(precision="bf16")).infer(pictures(1))[..., :4]
    assert (boxes.bfloat16().float() != boxes).float().mean() > 0.9


@pytest.mark.parametrize(
    ("text", "available", "name"),
    [
        ("cpu", ["CPU"], "CPU"),
        ("auto", ["CPU", "GPU"], "CPU"),
        ("gpu", ["CPU", "GPU"], "GPU"),
        ("gpu", ["CPU", "GPU.0", "GPU.1"], "GPU"),
        ("gpu:1", ["CPU", "GPU.0", "GPU.1"], "GPU.1"),
    ],
)
def test_devices(text: str, available: list[str], name: str) -> None:
    assert _device(text, available) == name


@pytest.mark.parametrize("text", ["gpu", "cuda", "cuda:0", "0", "gpu:1", "npu", "", "cpu:1"])
def test_a_device_that_is_not_there(text: str) -> None:
    with pytest.raises(
        BackendError, match=rf"device: wanted one that OpenVINO finds here \(cpu\) or auto, found '{text}'"
    ):
        _device(text, ["CPU"])


def test_closing(made: Callable[..., Path]) -> None:
    backend = OpenVinoBackend(made("yolox-nano"))
    backend.infer(pictures(1))
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="wanted an open one, found it closed"):
        backend.infer(pictures(1))


def test_a_size_that_cannot_be_is_told(made: Callable[..., Path]) -> None:
    backend = OpenVinoBackend(made("yolox-nano", fixed_hw=(64, 96)))
    with pytest.raises(BackendError, match=r"wanted pictures of \(64, 96\) px \(h, w\).* found \(64, 64\)"):
        backend.infer(pictures(1, 64, 64))
    assert len(backend.infer(pictures(1))) == 3


def test_weights_are_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path / "cache"))
    checkpoint = loaded("yolov7-nano")
    path = tmp_path / "w.safetensors"
    save_checkpoint(path, checkpoint.model, NAMES, input_hw=(64, 96))
    caplog.set_level("INFO")
    network = open_openvino(path, Wanted(precision="fp32", device="cpu"))
    assert caplog.text.count("converting it for OpenVINO") == 1
    assert (network.class_names, network.input_hw, network.preprocess) == (NAMES, (64, 96), "yolov7")
    assert [level.shape[2:] for level in network.backend.infer(pictures(1))] == [(8, 12), (4, 6), (2, 3)]
    open_openvino(path, Wanted(device="cpu"))
    assert caplog.text.count("converting it for OpenVINO") == 1
    with pytest.raises(BackendError, match="int8 needs pictures"):
        open_openvino(path, Wanted(precision="int8"))


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    from detector.export.openvino_ir import import_openvino

    openvino = import_openvino("a test")
    from openvino import opset13

    image = opset13.parameter([1, 7], np.float32)
    path = tmp_path / "foreign.xml"
    openvino.save_model(openvino.Model([opset13.relu(image)], [image]), path)
    with pytest.raises(CheckpointError, match=r"foreign.xml: wanted a file that `tracklight export` wrote"):
        OpenVinoBackend(path)


def test_an_int8_file_runs_in_int8_only(tmp_path: Path, made: Callable[..., Path]) -> None:
    from detector.export.openvino_ir import read_ir

    ir, metadata = read_ir(made("yolox-nano"))
    header = ExportHeader.from_json(metadata["tracklight"], "x").model_copy(update={"precision": "int8"})
    save_ir(ir, header, tmp_path / "int8.xml")
    assert OpenVinoBackend(tmp_path / "int8.xml").precision == "int8"
    with pytest.raises(BackendError, match=r"wanted fp32, found an int8 file; name the weights that it was made from"):
        OpenVinoBackend(tmp_path / "int8.xml", OpenVinoConfig(precision="fp32"))


def test_a_missing_package_is_named(made: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = made("yolox-nano")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'openvino'; .*tracklight\[openvino\]"):
        OpenVinoBackend(path)


def test_importing() -> None:
    """Runtimes are imported on use only, and OpenVINO then without telling its makers.

    It reports every import where its telemetry package is found; beside cameras nothing may.
    """
    code = (
        "import sys, detector.backends.openvino, detector.export.quantise as q;"
        "assert not {'openvino', 'nncf', 'onnx'} & set(sys.modules);"
        "from detector.export.openvino_ir import import_openvino; import_openvino('a test');"
        "from openvino.tools.ovc.telemetry_utils import tm; assert 'stub' in tm.__name__, tm.__name__;"
        "assert 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=110)


@pytest.mark.reference
@pytest.mark.parametrize("weights", ["street", "yolox_nano.pth"])
def test_boxes_on_real_frames_are_pytorchs(
    data_dir: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within 0.5 px and 1e-3 after suppression, on pictures of many sizes."""
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(tmp_path))
    if weights.endswith(".pth"):
        weights = str(data_dir / "weights" / weights)
    files = sorted((data_dir / "coco" / "val2017").glob("*.jpg"))[::16]
    images = [cv2.imread(str(file)) for file in files]
    found, wanted = (
        YoloDetector(
            DetectorConfig(weights=weights, backend=backend, precision="fp32", device="cpu", conf_thres=0.05, threads=1)
        ).detect_images(images)
        for backend in ("openvino", "eager")
    )
    assert sum(map(len, wanted)) > 50
    for a, b in zip(found, wanted, strict=True):
        assert a.class_id.tolist() == b.class_id.tolist()
        np.testing.assert_allclose(a.xyxy, b.xyxy, atol=0.5)
        np.testing.assert_allclose(a.confidence, b.confidence, atol=1e-3)


_OPENED_AND_CLOSED = """
import faulthandler, os, signal, sys
from pathlib import Path
import torch
from detector.backends.openvino import OpenVinoBackend
faulthandler.enable()  # gives signal handlers a stack of their own, as test runners and services do
told = []
signal.signal(signal.SIGUSR1, lambda *_: told.append(1))
first, second = (OpenVinoBackend(Path(sys.argv[1])) for _ in range(2))
for backend in (first, second):
    backend.infer(torch.zeros((1, 64, 96, 3), dtype=torch.uint8))
for backend in (first, second):
    backend.close()
del first, second, backend
os.kill(os.getpid(), signal.SIGUSR1)
print(told)
"""


def test_a_signal_after_two_networks_were_closed(made: Callable[..., Path]) -> None:
    """OpenVINO's plugin changes the stack for signal handlers; with two of them a Ctrl-C ended in SIGSEGV."""
    code = [sys.executable, "-c", _OPENED_AND_CLOSED, str(made("yolox-nano"))]
    done = subprocess.run(code, capture_output=True, text=True, cwd=Path(__file__).parents[3], timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, "[1]"), done.stderr
