"""From frames to batches of letterboxed pictures, and from those to float planes."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable

import numpy as np
import pytest
import torch

from detector.letterbox import PAD_VALUE
from detector.preprocess import CanvasMemory, Preprocess, each_batch, make_batches, to_planes
from pipeline.core.arrays import ImageArray

RuleImage = Callable[[int, int, int], ImageArray]


@pytest.mark.parametrize(("preprocess", "first_row"), [("yolov7", 8), ("yolox", 0)])
def test_the_family_says_where_the_picture_lies(rule_image: RuleImage, preprocess: Preprocess, first_row: int) -> None:
    image = rule_image(1, 48, 64)
    [batch] = make_batches([image], (64, 64), preprocess, stride=None)
    assert batch.rows == (0,)
    [canvas] = batch.canvases
    np.testing.assert_array_equal(canvas[first_row : first_row + 48], image)
    assert (canvas[:first_row] == PAD_VALUE).all()
    assert (canvas[first_row + 48 :] == PAD_VALUE).all()


def test_images_of_one_input_size_share_a_batch(rule_image: RuleImage) -> None:
    images = [rule_image(seed, *hw) for seed, hw in enumerate([(32, 64), (64, 32), (16, 32), (64, 64), (30, 64)])]
    batches = make_batches(images, (64, 64), "yolov7", stride=32, max_batch=2)
    assert [batch.rows for batch in batches] == [(0, 2), (4,), (1,), (3,)]
    assert [batch.canvases.shape for batch in batches] == [
        (2, 32, 64, 3),
        (1, 32, 64, 3),
        (1, 64, 32, 3),
        (1, 64, 64, 3),
    ]
    for batch in batches:
        for row, letterbox, canvas in zip(batch.rows, batch.letterboxes, batch.canvases, strict=True):
            assert letterbox.image_hw == images[row].shape[:2]
            [alone] = make_batches([images[row]], (64, 64), "yolov7", stride=32)
            assert zlib.crc32(canvas.tobytes()) == zlib.crc32(alone.canvases.tobytes())


def test_memory_is_used_again(rule_image: RuleImage) -> None:
    """Pictures of one thread lie where those before them lay, whatever their size, and are whole all the same."""
    memory = CanvasMemory()
    images = [rule_image(seed, *hw) for seed, hw in enumerate([(64, 64), (32, 64), (64, 20), (60, 64), (16, 16)])]
    alone = make_batches(images, (64, 64), "yolov7", stride=32, max_batch=1)
    begins = set()
    for batch, wanted in zip(
        each_batch(images, (64, 64), "yolov7", memory, stride=32, max_batch=1), alone, strict=True
    ):
        assert (batch.rows, batch.letterboxes) == (wanted.rows, wanted.letterboxes)
        np.testing.assert_array_equal(batch.canvases, wanted.canvases)
        assert batch.canvases.flags.c_contiguous
        begins.add(batch.canvases.ctypes.data)
    assert len(begins) == 1


def test_memory_grows_and_belongs_to_one_thread() -> None:
    memory = CanvasMemory()
    small = memory.take(1, 32, 32)
    large = memory.take(2, 64, 32)
    assert (small.shape, large.shape) == ((1, 32, 32, 3), (2, 64, 32, 3))
    assert np.shares_memory(memory.take(1, 64, 64), large)
    taken = []
    thread = threading.Thread(target=lambda: taken.append(memory.take(1, 64, 64)))
    thread.start()
    thread.join()
    assert not np.shares_memory(taken[0], large)


def test_yolov7_planes_are_rgb_in_0_to_1(rule_image: RuleImage) -> None:
    image = rule_image(1, 64, 64)
    planes = to_planes(torch.from_numpy(image)[None], "yolov7")
    assert planes.dtype == torch.float32
    assert planes.is_contiguous()
    np.testing.assert_allclose(planes[0].numpy(), image[:, :, ::-1].transpose(2, 0, 1) / 255, rtol=1e-6)


def test_yolox_planes_are_bgr_in_0_to_255(rule_image: RuleImage) -> None:
    image = rule_image(1, 64, 64)
    planes = to_planes(torch.from_numpy(image)[None], "yolox", torch.float16)
    assert planes.dtype == torch.float16
    np.testing.assert_array_equal(planes[0].numpy(), image.transpose(2, 0, 1))
