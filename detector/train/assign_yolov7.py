"""Which predictions of an anchor-based head answer for which object.

Candidates are anchors of a similar size in the cells around the object's centre. For training, a dynamic number of them
is chosen per object by what the network predicts there (OTA: optimal transport assignment, as simplified in SimOTA).
Source: YOLOv7 (arXiv 2207.02696), section 4.2; OTA (arXiv 2103.14259); YOLOX (arXiv 2107.08430), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from detector.train.box_iou import pairwise_iou, to_xyxy


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Predictions of one level that answer for an object.

    Attributes:
        image, anchor, y, x: int64 (k,), where the prediction stands.
        target: int64 (k,), row of the object among the batch's boxes.
    """

    image: torch.Tensor
    anchor: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    target: torch.Tensor

    def select(self, rows: torch.Tensor) -> Matches:
        """These rows, by mask or by index."""
        return Matches(self.image[rows], self.anchor[rows], self.y[rows], self.x[rows], self.target[rows])

    def __len__(self) -> int:
        return len(self.target)


def candidates(
    boxes: torch.Tensor,
    anchors: torch.Tensor,
    grid_hw: tuple[int, int],
    stride: int,
    *,
    max_ratio: float,
    reach: float,
) -> Matches:
    """Anchors like the object in the cell of its centre and in the nearest neighbours.

    Args:
        boxes: float32 (n, 6): image, class, cx, cy, w, h px.
        anchors: float32 (na, 2), width and height in cells.
        grid_hw: cells of the level.
        stride: px per cell.
        max_ratio: how many times an object may be wider, higher, narrower or lower than the anchor.
        reach: a neighbour counts if the centre is less than this part of a cell away from it: 0.5 gives the cell and
            two neighbours, 1 all four (for the coarse labels of auxiliary heads).

    Returns:
        The candidates, by neighbour (own cell, left, upper, right, lower), anchor and box. A cell may stand in it
        twice, for two objects.
    """
    in_cells = boxes[:, 2:6] / stride
    ratio = in_cells[None, :, 2:] / anchors[:, None]
    anchor, target = (torch.maximum(ratio, 1 / ratio).amax(2) < max_ratio).nonzero(as_tuple=True)
    centre = in_cells[target, :2]
    from_far_side = centre.new_tensor([grid_hw[1], grid_hw[0]]) - centre
    left_upper = ((centre % 1 < reach) & (centre > 1)).T
    right_lower = ((from_far_side % 1 < reach) & (from_far_side > 1)).T
    near = torch.cat((torch.ones_like(left_upper[:1]), left_upper, right_lower))
    neighbour, row = near.nonzero(as_tuple=True)
    shift = reach * centre.new_tensor([[0, 0], [1, 0], [0, 1], [-1, 0], [0, -1]])
    cell = (centre[row] - shift[neighbour]).long()
    target = target[row]
    return Matches(
        image=boxes[target, 0].long(),
        anchor=anchor[row],
        y=cell[:, 1].clamp_(0, grid_hw[0] - 1),
        x=cell[:, 0].clamp_(0, grid_hw[1] - 1),
        target=target,
    )


@torch.no_grad()
def assign_optimal_transport(
    raws: Sequence[torch.Tensor],
    found: Sequence[Matches],
    boxes: torch.Tensor,
    anchors_px: torch.Tensor,
    strides: Sequence[int],
    *,
    top_k: int,
) -> list[Matches]:
    """Choose among the candidates of all levels those that fit best, each for one object.

    An object gets as many predictions as the IoU of its `top_k` best ones adds up to, at least one; a prediction that
    two objects want goes to the one that it costs less for. Cost: binary cross-entropy of the class score plus 3 times
    -log IoU.

    Args:
        raws: per level float (b, na, ny, nx, 5 + nc), logits.
        found: per level the candidates.
        boxes: float32 (n, 6): image, class, cx, cy, w, h px.
        anchors_px: float32 (levels, na, 2).
        strides: px per cell of each level.
        top_k: how many candidates the number of predictions is estimated from.

    Returns:
        Per level the matches that remain, image by image in the order of the candidates.
    """
    level = torch.cat([torch.full_like(m.target, i) for i, m in enumerate(found)])
    image = torch.cat([m.image for m in found])
    rows = torch.cat(
        [raw[m.image, m.anchor, m.y, m.x].float() for raw, m in zip(raws, found, strict=True)]
    )  # (k, 5 + nc)
    predicted = to_xyxy(
        torch.cat([predicted_px(r, m, anchors_px[i], strides[i]) for i, (r, m) in enumerate(_by_level(rows, found))])
    )
    wanted = to_xyxy(boxes[:, 2:6])
    classes = boxes[:, 1].long()
    chosen: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    for number in boxes[:, 0].unique().long():
        here = (image == number).nonzero().squeeze(1)
        objects = (boxes[:, 0] == number).nonzero().squeeze(1)
        if not len(here):
            continue
        of_object = _choose(rows[here], predicted[here], wanted[objects], classes[objects], top_k)
        matched = of_object >= 0
        chosen.append(here[matched])
        targets.append(objects[of_object[matched]])
    if not chosen:
        return [m.select(m.target[:0]) for m in found]
    row, target = torch.cat(chosen), torch.cat(targets)
    anchor, y, x = (torch.cat([getattr(m, name) for m in found])[row] for name in ("anchor", "y", "x"))
    kept = Matches(image[row], anchor, y, x, target)
    return [kept.select(level[row] == i) for i in range(len(found))]


def predicted_px(rows: torch.Tensor, at: Matches, anchors_px: torch.Tensor, stride: int) -> torch.Tensor:
    """Boxes that logits speak of: (k, 4) cx, cy, w, h px, from float32 rows (k, 4 or more) of one level."""
    cell = torch.stack((at.x, at.y), 1)
    p = rows[:, :4].sigmoid()
    return torch.cat(((p[:, :2] * 2 - 0.5 + cell) * stride, (p[:, 2:] * 2) ** 2 * anchors_px[at.anchor]), 1)


def _choose(
    rows: torch.Tensor, predicted: torch.Tensor, wanted: torch.Tensor, classes: torch.Tensor, top_k: int
) -> torch.Tensor:
    """For each candidate (k,) of one image the row of the object that it goes to, or -1."""
    iou = pairwise_iou(wanted, predicted)  # (objects, candidates)
    counts = iou.topk(min(top_k, iou.shape[1]), dim=1).values.sum(1).int().clamp_(min=1)
    score = (rows[:, 5:].sigmoid() * rows[:, 4:5].sigmoid()).sqrt_()
    # Cross-entropy against a one-hot target: all classes as if absent, then the own class corrected.
    logit = torch.log(score / (1 - score))
    absent = functional.softplus(logit).sum(1)
    cost = absent - logit.T[classes] - 3 * torch.log(iou + 1e-8)
    rank_cost, order = cost.topk(int(counts.max()), dim=1, largest=False)
    wanted_rank = torch.arange(rank_cost.shape[1], device=cost.device) < counts[:, None]
    taken = torch.zeros_like(cost, dtype=torch.bool)
    taken.scatter_(1, order, wanted_rank)
    claims = taken.sum(0)
    taken_or_cheapest = torch.where(claims > 1, cost.argmin(0), taken.int().argmax(0))
    return torch.where(claims > 0, taken_or_cheapest, -1)


def _by_level(rows: torch.Tensor, found: Sequence[Matches]) -> list[tuple[torch.Tensor, Matches]]:
    return list(zip(rows.split([len(m) for m in found]), found, strict=True))
