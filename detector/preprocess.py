"""From frames to the network's input."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import torch

from detector.letterbox import Letterbox, Placement, plan
from pipeline.core.arrays import ImageArray

Preprocess = Literal["yolov7", "yolox"]
"""What a model was trained with. yolov7: RGB in 0..1, image in the middle. yolox: BGR in 0..255, image top left."""

_PLACEMENT = {"yolov7": Placement.CENTRED, "yolox": Placement.TOP_LEFT}


class Batch(NamedTuple):
    """Images that share one input size.

    Attributes:
        rows: which of the images handed in these are.
        letterboxes: how each lies in the input.
        canvases: uint8 (b, h, w, 3), BGR: the letterboxed pictures, on the host.
    """

    rows: tuple[int, ...]
    letterboxes: tuple[Letterbox, ...]
    canvases: ImageArray


class CanvasMemory:
    """Where the pictures of one batch lie, again and again, so that no frame pays for memory. Each thread has its own.

    Args:
        pinned: in memory that a GPU copies from while the CPU goes on.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self._pinned = pinned
        self._of_thread = threading.local()

    def take(self, batch: int, height: int, width: int) -> ImageArray:
        """Room for pictures, uint8 (batch, height, width, 3), of any content; what the thread took before is gone."""
        size = batch * height * width * 3
        held: ImageArray | None = getattr(self._of_thread, "held", None)
        if held is None or len(held) < size:
            held = self._of_thread.held = torch.empty(size, dtype=torch.uint8, pin_memory=self._pinned).numpy()
        return held[:size].reshape(batch, height, width, 3)


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
    return [
        batch._replace(canvases=batch.canvases.copy())
        for batch in each_batch(images, limit_hw, preprocess, CanvasMemory(), stride=stride, max_batch=max_batch)
    ]


def each_batch(
    images: Sequence[ImageArray],
    limit_hw: tuple[int, int],
    preprocess: Preprocess,
    memory: CanvasMemory,
    *,
    stride: int | None,
    max_batch: int | None = None,
) -> Iterator[Batch]:
    """The same, one at a time: the pictures of a batch lie in `memory` until the next one is asked for."""
    letterboxes = [
        plan((image.shape[0], image.shape[1]), limit_hw, placement=_PLACEMENT[preprocess], stride=stride)
        for image in images
    ]
    rows_by_hw: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, letterbox in enumerate(letterboxes):
        rows_by_hw[letterbox.input_hw].append(row)
    for input_hw, rows in rows_by_hw.items():
        step = max_batch or len(rows)
        for begin in range(0, len(rows), step):
            part = rows[begin : begin + step]
            canvases = memory.take(len(part), *input_hw)
            for canvas, row in zip(canvases, part, strict=True):
                letterboxes[row].paste(images[row], canvas)
            yield Batch(tuple(part), tuple(letterboxes[row] for row in part), canvases)


def to_planes(canvases: torch.Tensor, preprocess: Preprocess, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 pictures (b, h, w, 3) BGR as what a model was trained on: (b, 3, h, w) in its own range, on their device.

    For runtimes and files that take planes; what this project builds itself takes the pictures (`pixels.py`).
    """
    planes = canvases.permute(0, 3, 1, 2)
    if preprocess == "yolov7":
        return (planes.flip(1).to(dtype) / 255).contiguous()
    return planes.to(dtype).contiguous()
