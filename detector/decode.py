"""From what a head computes to boxes in px of the network's input: pure tensor functions, the same for all backends.

All arithmetic is in float32, whatever the network ran in: 16-bit floats cannot hold a coordinate of 1280 px to a px.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


def decode_yolov7(raw: torch.Tensor, anchors_px: torch.Tensor, stride: int) -> torch.Tensor:
    """Boxes of one level of an anchor-based head.

    Args:
        raw: (b, na, ny, nx, 5 + nc) logits: x, y, w, h, objectness, classes.
        anchors_px: (na, 2) width and height of the level's anchors, px.
        stride: px per cell.

    Returns:
        float32 (b, na * ny * nx, 5 + nc): cx, cy, w, h px, objectness and class probabilities; order anchor, y, x.

    Source: YOLOv4-scaled's offsets as YOLOv7 uses them: centre (2 s - 0.5 + cell) * stride, size (2 s)^2 * anchor.
    """
    batch, na, ny, nx, no = raw.shape
    p = raw.float().sigmoid()
    grid = _grid(ny, nx, raw.device).view(1, 1, ny, nx, 2)
    centre = (p[..., :2] * 2 - 0.5 + grid) * stride
    size = (p[..., 2:4] * 2) ** 2 * anchors_px.float().view(1, na, 1, 1, 2)
    return torch.cat((centre, size, p[..., 4:]), -1).view(batch, na * ny * nx, no)


def decode_yolox(outputs: torch.Tensor, input_hw: tuple[int, int], strides: Sequence[int]) -> torch.Tensor:
    """Boxes of an anchor-free head, all levels at once.

    Args:
        outputs: (b, k, 5 + nc), order level, y, x: x, y, w, h as the network gives them, then objectness and class
            probabilities (after the sigmoid).
        input_hw: height and width of the network's input, px.
        strides: px per cell of each level; k = the sum of their cells.

    Returns:
        float32 (b, k, 5 + nc): cx, cy, w, h px, objectness and class probabilities.

    Source: YOLOX (arXiv 2107.08430), section 2.1, "Anchor-free": centre (t + cell) * stride, size exp(t) * stride.
    """
    outputs = outputs.float()
    height, width = input_hw
    cells = [(_grid(height // s, width // s, outputs.device).view(-1, 2), s) for s in strides]
    grid = torch.cat([grid for grid, _ in cells])
    stride = torch.cat([torch.full_like(grid[:, :1], s) for grid, s in cells])
    centre = (outputs[..., :2] + grid) * stride
    size = outputs[..., 2:4].exp() * stride
    return torch.cat((centre, size, outputs[..., 4:]), -1)


def _grid(ny: int, nx: int, device: torch.device) -> torch.Tensor:
    """Float32 (ny, nx, 2): x and y of every cell."""
    y = torch.arange(ny, device=device, dtype=torch.float32)
    x = torch.arange(nx, device=device, dtype=torch.float32)
    return torch.stack((x.expand(ny, nx), y.view(ny, 1).expand(ny, nx)), -1)
