"""From a weight file and wishes to a network that runs: which backend, in what precision, on which device."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from detector.backends import BackendName, DetectorBackend, Precision
from detector.backends.eager import EagerBackend, EagerConfig
from detector.checkpoint import load_checkpoint
from detector.preprocess import Preprocess
from detector.zoo import resolve_weights
from pipeline.core.errors import BackendError


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
    if path.suffix == ".onnx":
        return _open_onnx(path, wanted)
    if wanted.backend not in ("auto", "eager"):
        raise BackendError(f"{path}: the backend {wanted.backend!r} does not run this: found PyTorch weights")
    precision = "fp32" if wanted.precision == "auto" else wanted.precision
    loaded = load_checkpoint(path)
    config = EagerConfig(device=wanted.device, precision=precision, threads=wanted.threads)
    return OpenedNetwork(
        EagerBackend(loaded.model, config), loaded.class_names, loaded.input_hw, loaded.header.preprocess
    )


def _open_onnx(path: Path, wanted: Wanted) -> OpenedNetwork:
    # Imported here: onnxruntime is an optional package.
    from detector.backends.onnxruntime import OnnxRuntimeBackend, OnnxRuntimeConfig

    if wanted.backend not in ("auto", "onnxruntime"):
        raise BackendError(f"{path}: the backend {wanted.backend!r} does not run this: found an .onnx file")
    runtime = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device=wanted.device, threads=wanted.threads))
    return OpenedNetwork(runtime, runtime.class_names, runtime.input_hw, runtime.preprocess)
