"""Learning rate, momentum and gradient accumulation of every step of YOLOv7 training.

All of it follows from the number of the step, so a resumed run needs no state of its own.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Shape = Literal["cosine", "linear"]


class StepSettings(NamedTuple):
    """What a step is made with.

    Attributes:
        lr_bias: learning rate of the biases.
        lr_other: learning rate of everything else.
        momentum: of SGD, or beta 1 of AdamW.
        accumulate: batches whose gradients are summed before an optimiser step, at least 1.
    """

    lr_bias: float
    lr_other: float
    momentum: float
    accumulate: int


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Warmup:
    """How training begins: biases fast, everything else slowly."""

    epochs: float = Field(default=3.0, ge=0, description="length of the warm-up (epochs; 0: none)")
    min_steps: int = Field(
        default=1000, ge=0, description="least length of the warm-up (steps); lower it for small data sets"
    )
    bias_lr: float = Field(default=0.1, ge=0, description="first learning rate of the biases")
    momentum: float = Field(default=0.8, ge=0, lt=1, description="first momentum")

    def steps(self, steps_per_epoch: int) -> int:
        """Length in steps; 0 where `epochs` is 0."""
        return max(round(self.epochs * steps_per_epoch), self.min_steps) if self.epochs > 0 else 0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Schedule:
    """Learning rate over a whole training."""

    lr: float = Field(default=0.01, gt=0, description="learning rate after the warm-up")
    final_ratio: float = Field(default=0.1, gt=0, le=1, description="last learning rate as a share of lr")
    shape: Shape = Field(default="cosine", description="how the rate falls: cosine or linear")
    momentum: float = Field(default=0.937, ge=0, lt=1, description="momentum of SGD, beta 1 of AdamW")
    nominal_batch: int = Field(
        default=64,
        ge=1,
        description="images per optimiser step that the rates are meant for; smaller batches are summed up",
    )
    warmup: Warmup = Field(default=Warmup(), description="how training begins")


def one_cycle(epoch: float, epochs: int, final_ratio: float, shape: Shape = "cosine") -> float:
    """Learning rate of an epoch as a share of the first one.

    Args:
        epoch: number of the epoch, from 0.
        epochs: of the whole training. A cosine would reach `final_ratio` at this number; a straight line has it in
            the last epoch already.
        final_ratio: where the rate goes to.
        shape: `cosine` (SGDR, arXiv 1608.03983, one period) or `linear`.
    """
    if shape == "linear":
        return 1 - (1 - final_ratio) * epoch / max(epochs - 1, 1)
    return 1 - (1 - final_ratio) * (1 - math.cos(math.pi * epoch / epochs)) / 2


def accumulated_batches(batch_size: int, nominal_batch: int) -> int:
    """Batches that are summed up for one optimiser step after the warm-up, at least 1."""
    return max(round(nominal_batch / batch_size), 1)


def settings_at(step: int, schedule: Schedule, *, epochs: int, steps_per_epoch: int, batch_size: int) -> StepSettings:
    """What a step is made with.

    Args:
        step: number of the batch since the training began, from 0.
        schedule: of the training.
        epochs: of the whole training.
        steps_per_epoch: batches per epoch.
        batch_size: images per batch, all GPUs together.
    """
    lr = schedule.lr * one_cycle(step // steps_per_epoch, epochs, schedule.final_ratio, schedule.shape)
    warmup = schedule.warmup
    length = warmup.steps(steps_per_epoch)
    if step >= length:
        return StepSettings(lr, lr, schedule.momentum, accumulated_batches(batch_size, schedule.nominal_batch))

    def ramp(start: float, end: float) -> float:
        return float(np.interp(step, (0, length), (start, end)))

    accumulate = max(1, round(ramp(1, schedule.nominal_batch / batch_size)))
    return StepSettings(ramp(warmup.bias_lr, lr), ramp(0, lr), ramp(warmup.momentum, schedule.momentum), accumulate)
