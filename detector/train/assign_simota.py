"""SimOTA: which places of an anchor-free head answer for which object.

Source: YOLOX (arXiv 2107.08430), section 2.1, "SimOTA"; OTA (arXiv 2103.14259).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from detector.train.box_iou import pairwise_iou, to_xyxy

CENTRE_RADIUS = 1.5
"""Cells around an object's centre whose places may answer for it."""
_TOP_K = 10
_FAR = 1e6
"""Cost added to a place that is near some object, but not near this one."""


class Assigned(NamedTuple):
    """Places of one image that answer for an object.

    Attributes:
        place: int64 (k,), ascending.
        target: int64 (k,), row of the object.
        iou: float32 (k,), of the predicted box with it.
    """

    place: torch.Tensor
    target: torch.Tensor
    iou: torch.Tensor


@torch.no_grad()
def assign_simota(
    predicted: torch.Tensor,
    logits: torch.Tensor,
    centres: torch.Tensor,
    strides: torch.Tensor,
    boxes: torch.Tensor,
    classes: torch.Tensor,
) -> Assigned:
    """Match the places of one image to its objects.

    An object gets as many of the places around its centre as the IoU of the ten best adds up to, at least one, those of
    least cost; a place that two want goes to the one it costs less for. An object without a place around its centre
    (it lies beyond the picture) gets none. Numbers that are no numbers raise nothing: the loss shows them.

    Args:
        predicted: float32 (k, 4), cx, cy, w, h px.
        logits: float32 (k, 1 + nc), objectness and classes.
        centres: float32 (k, 2), px.
        strides: float32 (k,), px.
        boxes: float32 (n, 4), cx, cy, w, h px.
        classes: int64 (n,).
    """
    reach = CENTRE_RADIUS * strides[:, None]
    near = ((centres[:, None] - boxes[None, :, :2]).abs() < reach[:, None]).all(2)  # (places, objects)
    place, reached = near.any(1).nonzero().squeeze(1), near.any(0).nonzero().squeeze(1)
    if not len(place):
        return Assigned(place, reached, boxes.new_zeros(0))
    near = near[place][:, reached].T  # from here on (objects, places) of those that can match
    iou = pairwise_iou(to_xyxy(boxes[reached]), to_xyxy(predicted[place]))
    score = (logits[place, 1:].sigmoid() * logits[place, :1].sigmoid()).sqrt_()
    # Cross-entropy with a one-hot target: every class as if absent, then the own one corrected. Not torch's function,
    # which stops at a score that is no number, on a GPU the whole process; its bound of the logarithm is kept.
    absent = -torch.log1p(-score).clamp_(min=-100)
    present = -score.log().clamp_(min=-100)
    of_class = absent.sum(1) + (present - absent).T[classes[reached]]
    cost = of_class - 3 * torch.log(iou + 1e-8) + _FAR * ~near
    counts = iou.topk(min(_TOP_K, len(place)), dim=1).values.sum(1).int().clamp_(min=1)
    order = cost.topk(int(counts.max()), dim=1, largest=False).indices
    wanted = torch.arange(order.shape[1], device=order.device) < counts[:, None]
    taken = torch.zeros_like(near).scatter_(1, order, wanted)
    claims = taken.sum(0)
    target = torch.where(claims > 1, cost.argmin(0), taken.int().argmax(0))
    matched = (claims > 0).nonzero().squeeze(1)
    target = target[matched]
    return Assigned(place[matched], reached[target], iou[target, matched])
