"""ONNX Runtime: runs an .onnx file on the CPU, or on a GPU where its CUDA provider is installed."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import Precision
from detector.checkpoint import default_class_names
from detector.decode import decode_yolox
from detector.open_network import OpenedNetwork, Wanted
from detector.preprocess import Preprocess, to_planes
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import IoSpec

_log = logging.getLogger(__name__)

_YOLOX_STRIDES = (8, 16, 32)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OnnxRuntimeConfig:
    """How the file runs in ONNX Runtime."""

    device: str = Field(default="auto", description="auto (a GPU if ONNX Runtime has one), cpu, cuda, cuda:1, 0")
    threads: int | None = Field(default=None, ge=1, description="CPU threads within one operator; None = all cores")


class OnnxRuntimeBackend:
    """Runs YOLOX's published ONNX files: fixed size, output not decoded.

    Args:
        path: the .onnx file.
        config: device and threads.

    Attributes:
        class_names, input_hw, preprocess: what the file is meant for.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: no ONNX file, or not of a known kind.
        BackendError: the device is not there; nothing falls back to the CPU in silence.
    """

    preprocess: Preprocess = "yolox"
    precision: Precision = "fp32"
    head = None

    def __init__(self, path: Path, config: OnnxRuntimeConfig | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "export", "running an .onnx file") from error
        config = config or OnnxRuntimeConfig()
        provider, options = _provider(config.device, onnxruntime.get_available_providers())
        session_options = onnxruntime.SessionOptions()
        session_options.log_severity_level = 3
        if config.threads is not None:
            session_options.intra_op_num_threads = config.threads
        self._session: Any = None
        try:
            session = onnxruntime.InferenceSession(path, session_options, providers=[(provider, options)])
        except Exception as error:
            raise CheckpointError(f"{path}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
        # ONNX Runtime takes the CPU on its own where a provider's libraries are not found.
        if session.get_providers()[0] != provider:
            raise BackendError(f"{path}: wanted {provider}, but its libraries do not load here; use --device cpu")
        self._session = session
        self._input = session.get_inputs()[0]
        self.input_hw, num_classes = _yolox_io(path, self._input.shape, session.get_outputs()[0].shape)
        self.class_names = default_class_names(num_classes)
        # The tensors that go in and come out are the host's; the provider copies them itself.
        self.device = torch.device("cpu")
        batch = self._input.shape[0]
        self._spec = IoSpec(
            stride=_YOLOX_STRIDES[-1],
            fixed_hw=self.input_hw,
            max_batch=batch if isinstance(batch, int) else None,
            num_classes=num_classes,
        )

    @property
    def io_spec(self) -> IoSpec:
        """The one size of the file; its batch, if that is fixed too."""
        return self._spec

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to (b, k, 5 + nc), decoded.

        Raises:
            BackendError: the backend is closed, or the runtime failed.
        """
        if self._session is None:
            raise BackendError("ONNX Runtime backend: wanted an open one, found it closed")
        # A file with a fixed batch takes exactly that many images.
        n_images, n_padded = len(images), (self._spec.max_batch or 0) - len(images)
        if n_padded > 0:
            images = torch.cat([images, images.new_zeros((n_padded, *images.shape[1:]))])
        try:
            planes = to_planes(images, self.preprocess).numpy()
            raw = self._session.run(None, {self._input.name: planes})[0][:n_images]
        except Exception as error:
            raise BackendError(f"ONNX Runtime failed on a batch of {tuple(images.shape)}: {error}") from error
        decoded: torch.Tensor = decode_yolox(torch.from_numpy(raw), self.input_hw, _YOLOX_STRIDES)
        return decoded

    def close(self) -> None:
        """Let go of the session. Idempotent."""
        self._session = None


def open_onnxruntime(path: Path, wanted: Wanted) -> OpenedNetwork:
    """An .onnx file as it runs in ONNX Runtime; see OnnxRuntimeBackend for what is raised."""
    runtime = OnnxRuntimeBackend(path, OnnxRuntimeConfig(device=wanted.device, threads=wanted.threads))
    return OpenedNetwork(runtime, runtime.class_names, runtime.input_hw, runtime.preprocess)


def _provider(device: str, available: list[str]) -> tuple[str, dict[str, Any]]:
    has_cuda = "CUDAExecutionProvider" in available
    if device == "auto":
        _log.info("device auto: ONNX Runtime on %s", "CUDA" if has_cuda else "the CPU")
        device = "cuda" if has_cuda else "cpu"
    if device == "cpu":
        return "CPUExecutionProvider", {}
    index = device.removeprefix("cuda").removeprefix(":")
    if not (index.isdecimal() or device == "cuda"):
        raise BackendError(f"device: wanted auto, cpu, cuda or cuda:N, found {device!r}")
    if not has_cuda:
        raise BackendError(
            f"device: wanted {device!r}, but this ONNX Runtime has {', '.join(available)} only; "
            "install onnxruntime-gpu, or use --device cpu"
        )
    return "CUDAExecutionProvider", {"device_id": int(index or 0)}


def _yolox_io(path: Path, shape_in: list[Any], shape_out: list[Any]) -> tuple[tuple[int, int], int]:
    """Input height and width and number of classes of a published YOLOX file.

    Raises:
        CheckpointError: the shapes are not those of one.
    """
    if len(shape_in) == 4 and shape_in[1] == 3 and len(shape_out) == 3:
        height, width, rows, columns = *shape_in[2:], *shape_out[1:]
        if all(isinstance(n, int) for n in (height, width, rows, columns)):
            cells = sum((height // stride) * (width // stride) for stride in _YOLOX_STRIDES)
            if rows == cells and columns > 5:
                return (height, width), columns - 5
    raise CheckpointError(
        f"{path}: wanted a YOLOX file as its authors publish them (one row per cell of strides 8, 16, 32), "
        f"found input {shape_in} and output {shape_out}"
    )
