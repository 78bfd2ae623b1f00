"""What one epoch comes to while it is being trained."""

from __future__ import annotations

import time
from collections import defaultdict

import torch

from detector.train.schedule import StepSettings


class EpochFigures:
    """Sums over one epoch.

    Attributes:
        waited: seconds in which the step waited for data.
        lr: learning rate of the last step.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self.lr = 0.0
        self._began = time.perf_counter()
        self._images = 0
        self._batches = 0
        self._sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(()))

    def add(self, images: int, parts: dict[str, torch.Tensor], settings: StepSettings) -> None:
        """Count one step."""
        self._images += images
        self._batches += 1
        self.lr = settings.lr_other
        for name, value in parts.items():
            self._sums[name] = self._sums[name].to(value.device) + value

    def losses(self) -> dict[str, float]:
        """Means so far, by name."""
        return {name: float(value) / self._batches for name, value in self._sums.items()}

    def rate(self) -> float:
        """Images per second so far."""
        return self._images / max(time.perf_counter() - self._began, 1e-9)

    def wait_share(self) -> float:
        """Share of the time so far that was spent waiting for data."""
        return self.waited / max(time.perf_counter() - self._began, 1e-9)
