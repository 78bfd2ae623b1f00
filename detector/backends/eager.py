"""PyTorch as it is: the network runs layer by layer on CPU or GPU."""

from __future__ import annotations

import logging
from typing import Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.models import DetectionModel, fuse
from pipeline.core.errors import BackendError
from pipeline.core.protocols import IoSpec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EagerConfig:
    """How the network runs in PyTorch."""

    device: str = Field(default="auto", description="auto (a GPU if there is one), cpu, cuda, cuda:1, 0")
    half: bool = Field(default=False, description="16-bit floats; on a GPU only")
    fuse: bool = Field(default=True, description="fold batch norms and training-time branches into the convolutions")
    channels_last: bool = Field(default=False, description="NHWC memory layout")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of the process; None = PyTorch's choice")


class EagerBackend:
    """Runs a network of `detector.models`.

    Args:
        model: the network with its weights; not changed, fusing works on a copy.
        config: device, precision and layout.

    Raises:
        BackendError: the device is not there or cannot do what is asked; nothing falls back to the CPU in silence.
    """

    def __init__(self, model: DetectionModel, config: EagerConfig | None = None) -> None:
        config = config or EagerConfig()
        self.device = choose_device(config.device)
        if config.half and self.device.type == "cpu":
            raise BackendError("half precision: wanted a CUDA device, found the CPU; leave half out or name a device")
        self.dtype = torch.float16 if config.half else torch.float32
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        network = fuse(model) if config.fuse else model
        self._layout = layout
        self._network = network.eval().to(self.device, self.dtype).to(memory_format=layout)  # type: ignore[call-overload]
        self._spec = IoSpec(stride=model.max_stride, fixed_hw=None, max_batch=None, num_classes=model.num_classes)

    @property
    def io_spec(self) -> IoSpec:
        """Any multiple of the stride, any batch."""
        return self._spec

    @torch.inference_mode()
    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) float in the model's own range to (b, k, 5 + nc) on the device.

        Raises:
            BackendError: the device ran out of memory.
        """
        try:
            result: Any = self._network(images.to(self.device, self.dtype, memory_format=self._layout))
        except torch.cuda.OutOfMemoryError as error:
            raise BackendError(
                f"{self.device}: no memory left for input {tuple(images.shape)}; take a smaller batch, image or model"
            ) from error
        return torch.as_tensor(result)

    def close(self) -> None:
        """Nothing is held besides memory, which goes with the object."""


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
