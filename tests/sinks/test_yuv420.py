from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.yuv420 import Yuv420Converter


def exact(image: np.ndarray) -> np.ndarray:
    """BT.709 in limited range (ITU-R BT.709-6), chroma averaged over 2x2: float planes one below the other."""
    height, width = image.shape[:2]
    blue, green, red = (image[..., channel] / 255 for channel in range(3))
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    planes = [16 + 219 * luma]
    for part, divisor in ((blue, 1.8556), (red, 1.5748)):
        full = 128 + 224 * (part - luma) / divisor
        planes.append(full.reshape(height // 2, 2, width // 2, 2).mean((1, 3)))
    return np.concatenate([plane.ravel() for plane in planes])


@settings(deadline=None)
@given(st.integers(1, 20), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_sample_is_within_one_of_the_exact_value(half_h: int, half_w: int, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (2 * half_h, 2 * half_w, 3), np.uint8)
    frame = Yuv420Converter(image.shape[:2]).convert(image)
    assert (frame.format.name, frame.height, frame.width) == ("yuv420p", *image.shape[:2])
    assert np.abs(frame.to_ndarray().ravel() - exact(image)).max() <= 1


def test_nothing_is_shifted_on_the_whole() -> None:
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    assert abs((Yuv420Converter((240, 320)).convert(image).to_ndarray().ravel() - exact(image)).mean()) < 0.15


@pytest.mark.parametrize(
    ("bgr", "ycbcr"), [((0, 0, 0), (16, 128, 128)), ((255, 255, 255), (235, 128, 128)), ((0, 0, 255), (63, 102, 240))]
)
def test_known_colors(bgr: tuple[int, int, int], ycbcr: tuple[int, int, int]) -> None:
    image = np.empty((4, 4, 3), np.uint8)
    image[:] = bgr
    planes = Yuv420Converter((4, 4)).convert(image).to_ndarray().ravel()
    assert (int(planes[0]), int(planes[16]), int(planes[20])) == ycbcr


def test_a_frame_is_not_changed_by_the_next_one() -> None:
    converter = Yuv420Converter((16, 16))
    first = converter.convert(np.full((16, 16, 3), 200, np.uint8))
    before = first.to_ndarray().copy()
    converter.convert(np.zeros((16, 16, 3), np.uint8))
    assert (first.to_ndarray() == before).all()
