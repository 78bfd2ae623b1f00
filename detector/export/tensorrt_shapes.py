"""Which input shapes an engine takes, and which it is made fastest for."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.export.header import ExportHeader, InputForm
from detector.letterbox import round_up_to_stride
from pipeline.core.errors import ConfigError

Bhw = tuple[int, int, int]
"""Batch, height and width (px)."""


class Profile(NamedTuple):
    """An optimisation profile: shapes from `least` to `most` run, `best` is what kernels are chosen for."""

    least: Bhw
    best: Bhw
    most: Bhw

    def takes(self, bhw: Bhw) -> bool:
        """Whether an input of that batch, height and width runs."""
        return all(low <= side <= high for low, side, high in zip(self.least, bhw, self.most, strict=True))


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EngineShapes:
    """What the header leaves open, settled: an engine has bounds for everything."""

    max_batch: int = Field(default=16, ge=1, description="largest batch, where the header leaves it open")
    best_batches: tuple[int, ...] = Field(
        default=(1,), min_length=1, description="batches that it is made fastest for; each adds its time to the build"
    )
    max_hw: tuple[int, int] | None = Field(
        default=None, description="largest height and width (px), where open; None = a square of the larger input side"
    )
    best_hw: tuple[int, int] | None = Field(
        default=None, description="height and width that it is made fastest for (px); None = what the weights are for"
    )


def profiles_of(header: ExportHeader, shapes: EngineShapes) -> tuple[Profile, ...]:
    """One profile per batch of `best_batches`, each for all shapes.

    Raises:
        ConfigError: the best shape lies outside of the bounds.
    """
    most_b = header.batch or shapes.max_batch
    largest = header.fixed_hw or shapes.max_hw or (max(header.input_hw),) * 2
    height, width = header.fixed_hw or shapes.best_hw or header.input_hw
    best_h, best_w, most_h, most_w = (round_up_to_stride(n, header.stride) for n in (height, width, *largest))
    least = (header.batch or 1, *(header.fixed_hw or (header.stride, header.stride)))
    profiles = []
    for batch in (header.batch,) if header.batch else shapes.best_batches:
        profile = Profile(least, (batch, best_h, best_w), (most_b, most_h, most_w))
        if not profile.takes(profile.best):
            raise ConfigError(
                f"engine shapes: wanted a best one (batch, h, w) from {least} to {profile.most}, found {profile.best}"
            )
        profiles.append(profile)
    return tuple(profiles)


def input_shape(bhw: Bhw, form: InputForm) -> tuple[int, int, int, int]:
    """Shape of the network's input."""
    batch, height, width = bhw
    return (batch, height, width, 3) if form == "pixels" else (batch, 3, height, width)
