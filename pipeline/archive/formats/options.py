"""What can be chosen when annotated videos are written in another format."""

from __future__ import annotations

from pydantic import ConfigDict, Field, PositiveFloat, field_validator
from pydantic.dataclasses import dataclass

from pipeline.archive.every import Every


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FormatOptions:
    """Which boxes and pictures are written, and how."""

    classes: tuple[str | int, ...] = Field(
        default=(), description="write these only, by name or number, and number them anew; empty: all"
    )
    min_confidence: float = Field(default=0.0, ge=0, le=1, description="leave out boxes of less confidence")
    include_predicted: bool | None = Field(
        default=None,
        description="write boxes whose place the tracker only assumed; null: in all formats that can mark them",
    )
    max_error_px: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="cvat: leave out keyframes that interpolation makes up for within this distance (px)",
    )
    images: str | None = Field(
        default=None,
        description="yolo, coco, datumaro: pictures out of the videos, every=1s (media time) or every=25 (frames); "
        "null: none, of yolo every=1s",
    )
    split: tuple[PositiveFloat, ...] = Field(
        default=(0.8, 0.2),
        min_length=2,
        max_length=3,
        description="yolo: shares of train, val and test, by whole videos",
    )
    seed: int = Field(default=0, ge=0, description="yolo: of the order in which videos are dealt out")

    @field_validator("images")
    @classmethod
    def _check_images(cls, text: str | None) -> str | None:
        """Told before anything is read."""
        if text is not None:
            Every.parse(text)
        return text
