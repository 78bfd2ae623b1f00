"""Fitting an image into the network's input: resize with its aspect ratio kept, pad with grey, and map boxes back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from pipeline.core.arrays import FloatArray, ImageArray
from pipeline.core.errors import UsageError

PAD_VALUE = 114
"""Grey level of the padding, in every channel: what both families were trained with."""


class Placement(StrEnum):
    """Where the resized image lies in the input."""

    CENTRED = "centred"
    """In the middle, resized size rounded (YOLOv7). An odd pixel of padding goes to the right and the bottom."""
    TOP_LEFT = "top-left"
    """In the top left corner, resized size truncated (YOLOX)."""


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How one image lies in the input of the network.

    Attributes:
        image_hw: height and width of the original image, px.
        input_hw: height and width of the input, px.
        resized_hw: height and width of the image within the input, px.
        scale_xy: what x and y of the original are multiplied with.
        offset_xy: what is then added, px: the left and the top padding.
    """

    image_hw: tuple[int, int]
    input_hw: tuple[int, int]
    resized_hw: tuple[int, int]
    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]

    def to_image(self, xyxy: FloatArray) -> FloatArray:
        """Boxes (n, 4) xyxy px of the input as boxes of the original image, cut at its borders; a new float32 array."""
        offset = np.array(self.offset_xy * 2, np.float32)
        scale = np.array(self.scale_xy * 2, np.float32)
        height, width = self.image_hw
        boxes = (xyxy - offset) / scale
        return np.asarray(np.clip(boxes, 0, np.array([width, height, width, height], np.float32)), np.float32)

    def to_input(self, xyxy: FloatArray) -> FloatArray:
        """Boxes (n, 4) xyxy px of the original image as boxes of the input, not cut; a new float32 array."""
        offset = np.array(self.offset_xy * 2, np.float32)
        return np.asarray(xyxy * np.array(self.scale_xy * 2, np.float32) + offset, np.float32)

    def paste(self, image: ImageArray, canvas: ImageArray) -> None:
        """Resize the image straight into its place in one input, with grey around it: every pixel is written, once.

        Args:
            image: uint8 (h, w, 3), of height and width `image_hw`.
            canvas: uint8 (input height, input width, 3), contiguous; written in place.
        """
        height, width = self.resized_hw
        left, top = int(self.offset_xy[0]), int(self.offset_xy[1])
        right, bottom = left + width, top + height
        canvas[:top] = canvas[bottom:] = PAD_VALUE
        canvas[top:bottom, :left] = canvas[top:bottom, right:] = PAD_VALUE
        place = canvas[top:bottom, left:right]
        if self.resized_hw == self.image_hw:
            place[:] = image
        else:
            cv2.resize(image, (width, height), dst=place, interpolation=cv2.INTER_LINEAR)


def round_up_to_stride(size_px: int, stride: int) -> int:
    """The smallest multiple of `stride` that is not below `size_px`."""
    return -(-size_px // stride) * stride


def plan(
    image_hw: tuple[int, int],
    limit_hw: tuple[int, int],
    *,
    placement: Placement,
    stride: int | None = None,
    scale_up: bool = True,
) -> Letterbox:
    """Where an image goes.

    Args:
        image_hw: height and width of the image, px.
        limit_hw: height and width that the resized image must fit in, px.
        placement: CENTRED (YOLOv7) or TOP_LEFT (YOLOX).
        stride: None: the input is `limit_hw`. A number: the input is no larger than the resized image asks for, rounded
            up to a multiple of it ("rectangular inference").
        scale_up: False leaves images that are smaller than the limit at their size.

    Raises:
        UsageError: a size below 1 px.

    The mapping of boxes uses the whole-pixel offset and the size that the image really has in the input. The reference
    programs use the unrounded ones, up to half an input pixel away.
    """
    if min(*image_hw, *limit_hw) < 1:
        raise UsageError(
            f"letterbox: wanted sizes of at least 1x1 px, found image {image_hw} and input {limit_hw} (h, w)"
        )
    ratio = min(limit_hw[0] / image_hw[0], limit_hw[1] / image_hw[1])
    if not scale_up:
        ratio = min(ratio, 1.0)
    to_whole = round if placement is Placement.CENTRED else int
    height, width = (min(max(to_whole(side * ratio), 1), limit) for side, limit in zip(image_hw, limit_hw, strict=True))
    input_hw = limit_hw if stride is None else (round_up_to_stride(height, stride), round_up_to_stride(width, stride))
    offset_xy = (0.0, 0.0)
    if placement is Placement.CENTRED:
        offset_xy = (float((input_hw[1] - width) // 2), float((input_hw[0] - height) // 2))
    return Letterbox(image_hw, input_hw, (height, width), (width / image_hw[1], height / image_hw[0]), offset_xy)
