"""From frames to the network's input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from detector.letterbox import PAD_VALUE, Letterbox, Placement, plan
from pipeline.core.arrays import ImageArray

Preprocess = Literal["yolov7", "yolox"]
"""What a model was trained with. yolov7: RGB in 0..1, image in the middle. yolox: BGR in 0..255, image top left."""

_PLACEMENT = {"yolov7": Placement.CENTRED, "yolox": Placement.TOP_LEFT}


@dataclass(frozen=True, slots=True)
class Batch:
    """Images that share one input size.

    Attributes:
        rows: which of the images handed in these are.
        letterboxes: how each lies in the input.
        canvases: uint8 (b, h, w, 3), BGR: the letterboxed pictures.
    """

    rows: tuple[int, ...]
    letterboxes: tuple[Letterbox, ...]
    canvases: ImageArray


def make_batches(
    images: Sequence[ImageArray],
    limit_hw: tuple[int, int],
    preprocess: Preprocess,
    *,
    stride: int | None,
    max_batch: int | None = None,
) -> list[Batch]:
    """Letterbox images of any sizes and put those of equal input size together.

    Args:
        images: uint8 (h, w, 3), BGR.
        limit_hw: height and width that each resized image must fit in, px.
        preprocess: what the model was trained with.
        stride: None pads every image to `limit_hw`; a number pads only to the next multiple of it.
        max_batch: most images per batch, or None for any number.
    """
    letterboxes = [
        plan((image.shape[0], image.shape[1]), limit_hw, placement=_PLACEMENT[preprocess], stride=stride)
        for image in images
    ]
    rows_by_hw: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, letterbox in enumerate(letterboxes):
        rows_by_hw[letterbox.input_hw].append(row)
    batches: list[Batch] = []
    for (height, width), rows in rows_by_hw.items():
        step = max_batch or len(rows)
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            canvases = np.full((len(part), height, width, 3), PAD_VALUE, np.uint8)
            for canvas, row in zip(canvases, part, strict=True):
                letterboxes[row].paste(images[row], canvas)
            batches.append(Batch(tuple(part), tuple(letterboxes[row] for row in part), canvases))
    return batches


def to_planes(canvases: torch.Tensor, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 pictures (b, h, w, 3) BGR as what a model was trained on: (b, 3, h, w) in its own range, on their device.

    For runtimes and files that take planes; what this project builds itself takes the pictures (`pixels.py`).
    """
    planes = canvases.permute(0, 3, 1, 2)
    if preprocess == "yolov7":
        return (planes.flip(1).to(dtype) / 255).contiguous()
    return planes.to(dtype).contiguous()
