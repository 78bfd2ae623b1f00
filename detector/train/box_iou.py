"""Overlap of boxes with gradients, for losses and label assignment. All in float32."""

from __future__ import annotations

import math

import torch

_EPS = 1e-7


def to_xyxy(cxcywh: torch.Tensor) -> torch.Tensor:
    """Corners of boxes (..., 4) given by centre and size."""
    half = cxcywh[..., 2:4] / 2
    return torch.cat((cxcywh[..., :2] - half, cxcywh[..., :2] + half), -1)


def pairwise_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU (n, m) of boxes xyxy (n, 4) with boxes xyxy (m, 4)."""
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    inter = (bottom_right - top_left).clamp_(min=0).prod(2)
    areas_a, areas_b = ((boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b))
    return inter / (areas_a[:, None] + areas_b - inter)


def complete_iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Complete IoU (n,) of each box of a with the box of b in the same row.

    Args:
        a: float32 (n, 4), cx, cy, w, h.
        b: the same; any unit that both share.

    Source: Zheng et al., "Distance-IoU Loss" (arXiv 1911.08287), section 4.2. The weight of the aspect term has no
    gradient, as there.
    """
    a_xyxy, b_xyxy = to_xyxy(a), to_xyxy(b)
    overlap = torch.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - torch.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    inter = overlap.clamp(min=0).prod(1)
    a_w, a_h = a_xyxy[:, 2] - a_xyxy[:, 0], a_xyxy[:, 3] - a_xyxy[:, 1] + _EPS
    b_w, b_h = b_xyxy[:, 2] - b_xyxy[:, 0], b_xyxy[:, 3] - b_xyxy[:, 1] + _EPS
    iou = inter / (a_w * a_h + b_w * b_h - inter + _EPS)
    hull = torch.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - torch.minimum(a_xyxy[:, :2], b_xyxy[:, :2])
    diagonal = hull.square().sum(1) + _EPS
    distance = (b_xyxy[:, :2] + b_xyxy[:, 2:] - a_xyxy[:, :2] - a_xyxy[:, 2:]).square().sum(1) / 4
    aspect = (4 / math.pi**2) * (torch.atan(b_w / b_h) - torch.atan(a_w / a_h)).square()
    with torch.no_grad():
        weight = aspect / (aspect - iou + (1 + _EPS))
    return iou - (distance / diagonal + aspect * weight)
