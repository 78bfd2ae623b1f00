"""Inference runtimes, one file each: config and class together."""

from __future__ import annotations

from typing import Protocol

import torch

from pipeline.core.protocols import Backend


class DetectorBackend(Backend, Protocol):
    """A Backend that says where, and as what, it wants its images, so that they are made there and not moved."""

    @property
    def device(self) -> torch.device:
        """Device of the images."""

    @property
    def dtype(self) -> torch.dtype:
        """Type of the images."""
