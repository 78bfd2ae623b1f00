"""From a weight file and wishes to a network that runs: which backend, in what precision, on which device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

from detector.backends import BackendName, DetectorBackend, Precision
from detector.cpu_features import has_fast_bf16
from detector.preprocess import Preprocess
from detector.zoo import resolve_weights
from pipeline.core.errors import BackendError

_log = logging.getLogger(__name__)

RUNS: dict[str, tuple[BackendName, ...]] = {
    ".onnx": ("onnxruntime", "openvino", "tensorrt"),
    ".xml": ("openvino",),
    ".engine": ("tensorrt",),
    ".plan": ("tensorrt",),
}
"""Backends by suffix of the file, the one that `auto` takes first; every other file is PyTorch weights, for all."""


class OpenedNetwork(NamedTuple):
    """A network that runs, and what its boxes mean."""

    backend: DetectorBackend
    class_names: tuple[str, ...]
    input_hw: tuple[int, int]
    preprocess: Preprocess


class Wanted(NamedTuple):
    """What the user asked for; see DetectorConfig."""

    backend: Literal["auto"] | BackendName = "auto"
    precision: Literal["auto"] | Precision = "auto"
    device: str = "auto"
    threads: int | None = None


def open_network(weights: str, sha256: str | None, wanted: Wanted) -> OpenedNetwork:
    """Find the weights, choose where they run, and load them.

    Raises:
        CheckpointError: the weights cannot be had or read.
        BackendError: the device or runtime cannot do what is asked.
        MissingExtraError: the runtime is not installed.
    """
    path = resolve_weights(weights, sha256)
    backend = _backend(path, wanted)
    if path.suffix not in RUNS:
        wanted = wanted._replace(precision=_precision(wanted, backend))
    return opener(backend)(path, wanted._replace(backend=backend))


def opener(backend: BackendName) -> Callable[[Path, Wanted], OpenedNetwork]:
    """What opens a network in a backend: `open_<backend>` of its file, imported on use."""
    open_it: Callable[[Path, Wanted], OpenedNetwork] = getattr(
        import_module(f"detector.backends.{backend}"), f"open_{backend}"
    )
    return open_it


def _backend(path: Path, wanted: Wanted) -> BackendName:
    able = RUNS.get(path.suffix, get_args(BackendName))
    if wanted.backend != "auto":
        if wanted.backend not in able:
            raise BackendError(
                f"{path}: the backend {wanted.backend!r} does not run this: found an {path.suffix} file, "
                f"which {', '.join(able)} can"
            )
        return wanted.backend
    if path.suffix in RUNS:
        return able[0]
    backend, why = _fastest(wanted)
    _log.info("backend auto: %s, %s", backend, why)
    return backend


def _fastest(wanted: Wanted) -> tuple[BackendName, str]:
    """For PyTorch weights: what needs no minutes of building and is installed."""
    if wanted.device not in ("auto", "cpu") or (wanted.device == "auto" and torch.cuda.is_available()):
        return "eager", "which needs no building on a GPU (tensorrt is faster once built)"
    if find_spec("openvino") and find_spec("onnx"):  # through which weights are converted
        return "openvino", "the fastest that is installed for this CPU"
    if find_spec("onnxruntime") and find_spec("onnx"):
        return "onnxruntime", "the fastest that is installed for this CPU (openvino would be faster)"
    return "eager", "as neither openvino nor onnxruntime is installed"


def _precision(wanted: Wanted, backend: BackendName) -> Precision:
    if wanted.precision != "auto":
        return wanted.precision
    on_gpu = wanted.device not in ("auto", "cpu") or (wanted.device == "auto" and torch.cuda.is_available())
    precision: Precision = "fp32"
    why = "which runs everywhere"
    if on_gpu:
        precision, why = "fp16", "which GPUs are made for"
    elif backend == "openvino" and has_fast_bf16():
        precision, why = "bf16", "which this CPU computes twice as fast as fp32"
    _log.info("precision auto: %s, %s", precision, why)
    return precision
