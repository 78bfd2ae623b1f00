"""Inference runtimes, one file each: config and class together."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch

from detector.head_spec import HeadSpec
from pipeline.core.protocols import Backend

BackendName = Literal["eager", "onnxruntime", "openvino", "tensorrt"]
Precision = Literal["fp32", "bf16", "fp16", "int8"]


class DetectorBackend(Backend, Protocol):
    """A Backend that says where its pictures are wanted, and how its logits are read."""

    @property
    def device(self) -> torch.device:
        """Where `infer` wants its pictures."""

    @property
    def precision(self) -> Precision:
        """What it computes in."""

    @property
    def head(self) -> HeadSpec | None:
        """How its maps are read; None where `io_spec.output` is not `maps`."""

    def infer(self, images: torch.Tensor) -> Any:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to what `io_spec.output` says.

        Raises:
            BackendError: the runtime failed.
        """
