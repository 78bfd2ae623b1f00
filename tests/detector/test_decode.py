"""Boxes of logits, by hand; tests/detector/models holds the reference programs' numbers."""

from __future__ import annotations

import math

import pytest
import torch

from detector.decode import decode_yolov7, decode_yolox


def test_an_anchor_based_cell_by_hand() -> None:
    raw = torch.zeros(1, 2, 3, 4, 7)
    raw[0, 1, 2, 3] = torch.tensor([math.log(3), 0.0, 0.0, math.log(3), 2.0, -1.0, 1.0])
    rows = decode_yolov7(raw, torch.tensor([[10.0, 20.0], [30.0, 40.0]]), stride=8)
    assert rows.shape == (1, 24, 7)
    # Order anchor, y, x: this is the last one. The sigmoid of log 3 is 3/4.
    torch.testing.assert_close(rows[0, -1, :4], torch.tensor([(1.0 + 3) * 8, (0.5 + 2) * 8, 30.0, 2.25 * 40]))
    torch.testing.assert_close(rows[0, -1, 4:], torch.tensor([2.0, -1.0, 1.0]).sigmoid())
    torch.testing.assert_close(rows[0, 0, :4], torch.tensor([4.0, 4.0, 10.0, 20.0]))
    torch.testing.assert_close(rows[0, 13, :4], torch.tensor([12.0, 4.0, 30.0, 40.0]))


def test_an_anchor_free_cell_by_hand() -> None:
    outputs = torch.zeros(1, 5, 7)
    outputs[0, 3] = torch.tensor([0.5, -0.5, math.log(2), math.log(3), 0.7, 0.1, 0.2])
    rows = decode_yolox(outputs, (32, 32), (16, 32))
    # Order level, y, x: the fourth cell is the last of the first level, at column 1 and row 1.
    torch.testing.assert_close(rows[0, 3], torch.tensor([24.0, 8.0, 32.0, 48.0, 0.7, 0.1, 0.2]))
    torch.testing.assert_close(rows[0, 4, :4], torch.tensor([0.0, 0.0, 32.0, 32.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_arithmetic_is_in_float32(dtype: torch.dtype) -> None:
    """bf16 has 8 bits for a coordinate: at 1280 px it is off by up to 4 px."""
    raw = torch.zeros(1, 1, 1, 160, 6, dtype=dtype)
    rows = decode_yolov7(raw, torch.tensor([[10.0, 20.0]]), stride=8)
    assert rows.dtype == torch.float32
    assert rows[0, :, 0].tolist() == [4 + 8 * x for x in range(160)]
    boxes = decode_yolox(torch.zeros(1, 160, 6, dtype=dtype), (8, 1280), (8,))
    assert boxes.dtype == torch.float32
    assert boxes[0, :, 0].tolist() == [8 * x for x in range(160)]
