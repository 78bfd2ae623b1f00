"""PyTorch as it is: the network runs layer by layer on CPU or GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import Precision
from detector.backends.cuda_graphs import RecordedWork, Work
from detector.checkpoint import load_checkpoint
from detector.head_spec import HeadSpec
from detector.models import DetectionModel
from detector.open_network import OpenedNetwork, Wanted
from detector.pixels import PixelNetwork
from pipeline.core.errors import BackendError
from pipeline.core.protocols import IoSpec

_log = logging.getLogger(__name__)

_Network = Callable[[torch.Tensor], list[torch.Tensor]]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EagerConfig:
    """How the network runs in PyTorch."""

    device: str = Field(default="auto", description="auto (a GPU if there is one), cpu, cuda, cuda:1, 0")
    precision: Precision = Field(default="fp32", description="fp32, bf16, or fp16 (on a GPU only)")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of the process; None = PyTorch's choice")
    cuda_graphs: bool = Field(
        default=True, description="on a GPU: record the work of each input shape that comes often, and replay it"
    )
    compile: bool = Field(
        default=False, description="torch.compile: faster after a minute per input shape; needs a C++ compiler"
    )


class EagerBackend:
    """Runs a network of `detector.models`: fused, channels-last.

    Args:
        model: the network with its weights; not changed, fusing works on a copy.
        config: device and precision.

    Raises:
        BackendError: the device is not there or cannot do what is asked; nothing falls back to the CPU in silence.
    """

    def __init__(self, model: DetectionModel, config: EagerConfig | None = None) -> None:
        config = config or EagerConfig()
        self.device = choose_device(config.device)
        if config.precision == "int8":
            raise BackendError("int8: wanted a runtime that has it (openvino, onnxruntime, tensorrt), found eager")
        if config.precision == "fp16" and self.device.type == "cpu":
            raise BackendError("fp16: wanted a CUDA device, found the CPU; take bf16, or name a device")
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.precision: Precision = config.precision
        network = PixelNetwork(model).to(self.device, _DTYPES[config.precision])
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head = HeadSpec.of(network.network)
        self._spec = IoSpec(
            stride=model.max_stride, fixed_hw=None, max_batch=None, num_classes=model.num_classes, output="maps"
        )
        self._network: _Network = _compiled(network) if config.compile else network
        self._on_gpu: RecordedWork | None = None
        if self.device.type == "cuda":
            self._on_gpu = RecordedWork(self.device, torch.uint8, self._work_on, record=config.cuda_graphs)

    @property
    def io_spec(self) -> IoSpec:
        """Any multiple of the stride, any batch."""
        return self._spec

    @torch.inference_mode()
    def infer(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to logits (b, na * (5 + nc), ny, nx) per level, on the device.

        On a GPU they are valid until the next call.

        Raises:
            ShapeError: height or width is no multiple of the stride.
            BackendError: the device ran out of memory, or the network cannot be compiled here.
        """
        try:
            return self._network(images) if self._on_gpu is None else self._on_gpu(images)
        except torch.cuda.OutOfMemoryError as error:
            raise BackendError(
                f"{self.device}: no memory left for input {tuple(images.shape)}; take a smaller batch, image or model"
            ) from error

    def close(self) -> None:
        """Let go of what the GPU holds for each input shape. Idempotent."""
        if self._on_gpu is not None:
            self._on_gpu.clear()

    def _work_on(self, buffer: torch.Tensor) -> Work:
        # In 16 bits nobody counts on the last digit, so the fastest of all convolution kernels may be looked for.
        search = self.precision != "fp32"

        def work() -> list[torch.Tensor]:
            with torch.backends.cudnn.flags(enabled=True, benchmark=search):
                return self._network(buffer)

        return work


def _compiled(network: torch.nn.Module) -> _Network:
    """The network behind torch.compile, whose own words on a missing compiler are three pages."""
    compiled = torch.compile(network, dynamic=False)

    def run(images: torch.Tensor) -> list[torch.Tensor]:
        try:
            return compiled(images)
        except torch._dynamo.exc.BackendCompilerFailed as error:
            reason = str(error.inner_exception).strip().splitlines()[0]
            raise BackendError(
                f"compile: wanted to compile the network, but: {reason}; install a C++ compiler, or leave it out"
            ) from error

    return run


def open_eager(path: Path, wanted: Wanted) -> OpenedNetwork:
    """PyTorch weights of any known kind, as they run in PyTorch.

    Raises:
        CheckpointError: the weights cannot be read.
        BackendError: the device cannot do what is asked.
    """
    loaded = load_checkpoint(path)
    precision = "fp32" if wanted.precision == "auto" else wanted.precision
    config = EagerConfig(device=wanted.device, precision=precision, threads=wanted.threads)
    backend = EagerBackend(loaded.model, config)
    return OpenedNetwork(backend, loaded.class_names, loaded.input_hw, loaded.header.preprocess)


def choose_device(text: str) -> torch.device:
    """The device for `auto`, `cpu`, `cuda`, `cuda:N` or `N`.

    Raises:
        BackendError: no such device here.
    """
    if text == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        _log.info(
            "device auto: running on %s", torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
        )
        return device
    try:
        device = torch.device(f"cuda:{text}" if text.isdecimal() else text)
    except RuntimeError as error:
        raise BackendError(f"device: wanted auto, cpu, cuda or cuda:N, found {text!r}") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise BackendError(
                f"device: wanted {text!r}, found {count} CUDA devices; use --device cpu to run on the CPU"
            )
    elif device.type != "cpu":
        raise BackendError(f"device: wanted auto, cpu, cuda or cuda:N, found {text!r}")
    return device
