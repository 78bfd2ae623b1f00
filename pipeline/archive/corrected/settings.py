"""What can be chosen when annotations come back."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ImportSettings:
    """Which pictures and boxes the data set gets."""

    every_s: float = Field(
        default=1.0, ge=0, description="media time between pictures of a video (s); 0: every labelled frame"
    )
    val_share: float = Field(
        default=0.2, ge=0, lt=1, description="share of the pictures to validate with; of several recordings whole ones"
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="label, label=class or label= (leave out), in the order of the classes; empty: all labels",
    )
    drop_occluded: bool = Field(default=False, description="leave out boxes of hidden objects")
    seed: int = Field(default=0, ge=0, description="of the order in which equally long recordings are dealt out")
