"""Which backend and which precision `auto` stands for, and that it says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from detector import open_network as module
from detector.backends import BackendName, Precision
from detector.open_network import OpenedNetwork, Wanted, open_network, opener

GPU_WHY = "which needs no building on a GPU (tensorrt is faster once built)"
BEST_WHY = "the fastest that is installed for this CPU"
ORT_WHY = f"{BEST_WHY} (openvino would be faster)"
NONE_WHY = "as neither openvino nor onnxruntime is installed"
ALL = frozenset({"openvino", "onnxruntime", "onnx"})


class Machine:
    """What the choice looks at: packages that can be found, a GPU, and whether the CPU computes in bf16."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packages, self.gpu, self.bf16 = ALL, False, False
        monkeypatch.setattr(module, "find_spec", lambda name: object() if name in self.packages else None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: self.gpu)
        monkeypatch.setattr(module, "has_fast_bf16", lambda: self.bf16)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.mark.parametrize(
    ("packages", "gpu", "device", "wanted", "why"),
    [
        (ALL, False, "auto", "openvino", BEST_WHY),
        (ALL, False, "cpu", "openvino", BEST_WHY),
        (ALL, True, "cpu", "openvino", BEST_WHY),
        (ALL, True, "auto", "eager", GPU_WHY),
        (ALL, True, "cuda:1", "eager", GPU_WHY),
        (ALL, False, "0", "eager", GPU_WHY),  # which then says that there is no such device
        (ALL - {"openvino"}, False, "auto", "onnxruntime", ORT_WHY),
        ({"onnxruntime"}, False, "auto", "eager", NONE_WHY),
        ({"onnx"}, False, "cpu", "eager", NONE_WHY),
        ({}, False, "auto", "eager", NONE_WHY),
    ],
)
def test_backend(machine: Machine, packages: Any, gpu: bool, device: str, wanted: BackendName, why: str) -> None:
    machine.packages, machine.gpu = packages, gpu
    assert module._fastest(Wanted(device=device)) == (wanted, why)


@pytest.mark.parametrize(
    ("backend", "gpu", "bf16", "device", "wanted", "why"),
    [
        ("openvino", False, True, "auto", "bf16", "which this CPU computes twice as fast as fp32"),
        ("openvino", False, True, "cpu", "bf16", "which this CPU computes twice as fast as fp32"),
        ("openvino", False, False, "auto", "fp32", "which runs everywhere"),
        ("onnxruntime", False, True, "auto", "fp32", "which runs everywhere"),
        ("eager", False, True, "auto", "fp32", "which runs everywhere"),
        ("eager", True, True, "auto", "fp16", "which GPUs are made for"),
        ("eager", False, False, "cuda:0", "fp16", "which GPUs are made for"),
        ("eager", True, False, "cpu", "fp32", "which runs everywhere"),
    ],
)
def test_precision(
    machine: Machine,
    caplog: pytest.LogCaptureFixture,
    backend: BackendName,
    gpu: bool,
    bf16: bool,
    device: str,
    wanted: Precision,
    why: str,
) -> None:
    machine.gpu, machine.bf16 = gpu, bf16
    caplog.set_level(logging.INFO)
    assert module._precision(Wanted(device=device), backend) == wanted
    assert caplog.messages == [f"precision auto: {wanted}, {why}"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Wanted]]:
    """What would have been opened: suffix of the file, and wishes. Every name of weights is a file."""
    seen: list[tuple[str, Wanted]] = []

    def opens(backend: BackendName) -> Any:
        def open_it(path: Path, wanted: Wanted) -> OpenedNetwork:
            assert wanted.backend == backend
            seen.append((path.suffix, wanted))
            return OpenedNetwork(None, (), (64, 64), "yolox")  # type: ignore[arg-type]

        return open_it

    monkeypatch.setattr(module, "opener", opens)
    monkeypatch.setattr(module, "resolve_weights", lambda weights, sha256: Path(weights))
    return seen


def test_auto_is_told_in_two_lines(
    machine: Machine, asked: list[tuple[str, Wanted]], caplog: pytest.LogCaptureFixture
) -> None:
    machine.bf16 = True
    caplog.set_level(logging.INFO)
    open_network("x.safetensors", None, Wanted(threads=3))
    assert asked == [(".safetensors", Wanted("openvino", "bf16", "auto", 3))]
    assert caplog.messages == [
        "backend auto: openvino, the fastest that is installed for this CPU",
        "precision auto: bf16, which this CPU computes twice as fast as fp32",
    ]


@pytest.mark.parametrize(
    ("weights", "backend", "precision"),
    [("x.pt", "eager", "fp32"), ("x.pt", "openvino", "bf16"), ("x.onnx", "openvino", "fp16")],
)
def test_what_is_named_is_taken_without_a_word(
    machine: Machine,
    asked: list[tuple[str, Wanted]],
    caplog: pytest.LogCaptureFixture,
    weights: str,
    backend: BackendName,
    precision: Precision,
) -> None:
    caplog.set_level(logging.INFO)
    open_network(weights, None, Wanted(backend, precision))
    assert asked == [(Path(weights).suffix, Wanted(backend, precision))]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("weights", "backend"),
    [("x.onnx", "onnxruntime"), ("x.xml", "openvino"), ("x.engine", "tensorrt"), ("x.plan", "tensorrt")],
)
def test_a_file_of_a_runtime_says_its_backend_and_precision_itself(
    machine: Machine, asked: list[tuple[str, Wanted]], weights: str, backend: BackendName
) -> None:
    machine.gpu = machine.bf16 = True
    open_network(weights, None, Wanted())
    assert asked == [(Path(weights).suffix, Wanted(backend, "auto"))]


@pytest.mark.parametrize("backend", ["eager", "onnxruntime", "openvino", "tensorrt"])
def test_every_backend_has_what_opens_it(backend: BackendName) -> None:
    assert opener(backend).__name__ == f"open_{backend}"
