"""What to take from footage and how to write it."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FootageSettings:
    """Which frames become pictures, which boxes become labels, and how pictures are divided."""

    every_s: float = Field(default=1.0, ge=0, description="media time between pictures (s); 0 = scenes only")
    scenes: bool = Field(default=False, description="also take a frame near the beginning of every scene")
    max_per_source: int | None = Field(default=None, ge=1, description="most pictures of one source")
    duration_s: float | None = Field(default=None, gt=0, description="media time read of each source (s)")
    min_difference: float = Field(
        default=0.02, ge=0, le=1, description="a picture must differ from all others in this share of its area"
    )
    conf: float = Field(default=0.35, gt=0, le=1, description="boxes from this confidence on are labels")
    unsure: float = Field(
        default=0.15, gt=0, le=1, description="boxes from this confidence on are marked as places to ignore"
    )
    picture: Literal["jpg", "png"] = Field(default="jpg", description="how pictures are stored; jpg at quality 95")
    format: Literal["yolo", "coco", "both"] = Field(default="both", description="of the labels")
    split: tuple[float, ...] = Field(
        default=(0.8, 0.2), min_length=1, max_length=3, description="shares of train, val and test"
    )

    @model_validator(mode="after")
    def _fit_together(self) -> FootageSettings:
        if not self.every_s and not self.scenes:
            raise ValueError(
                "wanted a time between pictures, scenes, or both; found neither: no picture would be taken"
            )
        if self.unsure > self.conf:
            raise ValueError(f"wanted unsure <= conf, found {self.unsure} and {self.conf}; change one of them")
        if min(self.split) <= 0 or abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"wanted shares above 0 that make 1 in split, found {self.split}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pictures by split."""
        return dict(zip(SPLITS, self.split, strict=False))
