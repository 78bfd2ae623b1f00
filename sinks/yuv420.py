"""BGR pictures as the planes that video encoders take: BT.709, limited range, chroma at half size."""

from __future__ import annotations

import av
import cv2
import numpy as np

from pipeline.core.arrays import ImageArray

_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1 - _RED - _BLUE
_LUMA = np.array([_BLUE, _GREEN, _RED])
_FROM_BGR = np.column_stack(
    [
        np.stack(
            [
                _LUMA * 219 / 255,
                (np.array([1, 0, 0]) - _LUMA) / (2 * (1 - _BLUE)) * 224 / 255,
                (np.array([0, 0, 1]) - _LUMA) / (2 * (1 - _RED)) * 224 / 255,
            ]
        ),
        [16, 128, 128],
    ]
)
"""(3, 4): Y, Cb, Cr from B, G, R and 1, all of 0..255 (ITU-R BT.709-6, items 3.2 to 3.5)."""


class Yuv420Converter:
    """Converts pictures of one size. One matrix product over interleaved pixels, which OpenCV does in vector registers.

    Within 1 of the exact values, and unbiased; FFmpeg's swscale takes three times as long and rounds down.

    Args:
        shape_hw: height and width of all pictures, both even.
    """

    def __init__(self, shape_hw: tuple[int, int]) -> None:
        self._height, self._width = shape_hw
        self._interleaved = np.empty((*shape_hw, 3), np.uint8)
        self._chroma = [np.empty(shape_hw, np.uint8) for _ in range(2)]

    def convert(self, image: ImageArray) -> av.VideoFrame:
        """A new frame in the pixel format yuv420p.

        Args:
            image: uint8 (h, w, 3) BGR.
        """
        frame = av.VideoFrame(self._width, self._height, "yuv420p")
        luma, *halves = (_plane(frame, number) for number in range(3))
        cv2.transform(image, _FROM_BGR, dst=self._interleaved)
        cv2.split(self._interleaved, [luma, *self._chroma])
        for full, half in zip(self._chroma, halves, strict=True):
            cv2.resize(full, (half.shape[1], half.shape[0]), dst=half, interpolation=cv2.INTER_AREA)
        return frame


def _plane(frame: av.VideoFrame, number: int) -> np.ndarray:
    """The bytes of one plane, to be written in place; its rows may be padded."""
    plane = frame.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    picture: np.ndarray = rows[: plane.height, : plane.width]
    return picture
