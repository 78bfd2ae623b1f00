"""The averaged copy of a network in training: what is validated and saved."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detector.models import DetectionModel

Trained = DetectionModel | DistributedDataParallel
"""A network in training, alone or wrapped for several GPUs."""


class ModelEma:
    """An exponential moving average of a network's weights.

    Parameters and float buffers (the statistics of batch normalisation) are averaged. Integer buffers are copied, so
    that `num_batches_tracked` says how long the network was trained; the YOLOv7 program leaves them at their first
    values. No output depends on them.

    Args:
        model: the network, already on the device that it is trained on.
        decay: share of the old average that an update keeps in the long run, in [0, 1).
        ramp: updates after which the share has risen from 0 to 63 % of `decay`, so that first weights fade soon.

    Attributes:
        model: the average, in evaluation mode and without gradients.
        updates: how many there were.
    """

    def __init__(self, model: Trained, decay: float = 0.9999, ramp: float = 2000.0) -> None:
        self._decay = decay
        self._ramp = ramp
        self._live = _unwrapped(model)
        self.model: DetectionModel = copy.deepcopy(self._live).eval().requires_grad_(False)
        self.updates = 0
        self._gather()

    def decay_at(self, updates: int) -> float:
        """Share of the old average that the update of this number keeps; the first one has number 1."""
        return self._decay * (1 - math.exp(-updates / self._ramp))

    @torch.no_grad()
    def update(self, model: Trained) -> None:
        """Take the network's present weights into the average; call it after every optimiser step."""
        if _unwrapped(model) is not self._live:
            self._live = _unwrapped(model)
            self._gather()
        self.updates += 1
        torch._foreach_lerp_(self._mean, self._mean_of, 1 - self.decay_at(self.updates))
        if self._copy:
            torch._foreach_copy_(self._copy, self._copy_of)

    def state_dict(self) -> dict[str, Any]:
        """Average and number of updates, for a resumed run."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`'s return value. Raises RuntimeError where it is another network's."""
        self.model.load_state_dict(state["model"], strict=True)
        self.updates = int(state["updates"])

    def _gather(self) -> None:
        """Pair the tensors once: walking through the modules takes longer than the update itself."""
        live = _tensors(self._live)
        pairs = [(mean, live[name]) for name, mean in _tensors(self.model).items()]
        averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._mean, self._mean_of = [a for a, _ in averaged], [b for _, b in averaged]
        self._copy, self._copy_of = [a for a, _ in copied], [b for _, b in copied]


def _unwrapped(model: Trained) -> DetectionModel:
    return model.module if isinstance(model, DistributedDataParallel) else model


def _tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
