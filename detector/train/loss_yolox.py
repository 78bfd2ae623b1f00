"""The loss of YOLOX's decoupled, anchor-free head.

Source: YOLOX (arXiv 2107.08430), section 2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from detector.train.assign_simota import Assigned, assign_simota
from detector.train.box_iou import to_xyxy
from detector.train.targets import SPARED_SCORE, Loss, Targets, trained_as_background

_BOX_WEIGHT = 5.0


class YoloxLoss:
    """Loss of raw maps against targets.

    Differs from the authors' program, each on purpose: an object that no place is near is left out (there, the step
    fails); label rows are counted as they are (there, those whose numbers add up to more than 0); ignored places are
    left out of the objectness.

    Args:
        num_classes: nc.
        strides: px per cell of the levels.
        with_l1: add the L1 loss of the box outputs, as in the last epochs of a run.
        spared_score: see `trained_as_background`.

    Attributes:
        with_l1: may be changed between batches.
    """

    def __init__(
        self,
        num_classes: int,
        strides: Sequence[int],
        *,
        with_l1: bool = False,
        spared_score: float = SPARED_SCORE,
    ) -> None:
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.with_l1 = with_l1
        self._spared_score = spared_score

    def __call__(self, raws: Sequence[torch.Tensor], targets: Targets) -> Loss:
        """Loss of a batch.

        Args:
            raws: per level (b, 5 + nc, ny, nx) logits: x, y, w, h, objectness, classes.
            targets: boxes in px of the input.
        """
        with torch.autocast(raws[0].device.type, enabled=False):
            return self._loss([raw.float() for raw in raws], targets)

    def assign(self, raws: Sequence[torch.Tensor], targets: Targets) -> list[Assigned]:
        """Per image the places (order level, y, x) that answer for its objects; a target is a row of the batch."""
        return self._assign(_joined([raw.float() for raw in raws]), *self._cells(raws), targets)

    def _loss(self, raws: list[torch.Tensor], targets: Targets) -> Loss:
        outputs = _joined(raws)
        cells, strides = self._cells(raws)
        assigned = self._assign(outputs, cells, strides, targets)
        image = torch.cat([torch.full_like(a.place, i) for i, a in enumerate(assigned)])
        place = torch.cat([a.place for a in assigned])
        wanted = targets.boxes[torch.cat([a.target for a in assigned])]
        rows = outputs[image, place]
        # The IoU of the assignment weighs the class; without gradient.
        quality = torch.cat([a.iou for a in assigned])
        per_object = max(len(place), 1)

        predicted = _decoded(rows, cells[place], strides[place])
        box = (1 - _iou(predicted, wanted[:, 2:6]).square()).sum() / per_object
        objectness = torch.zeros_like(outputs[..., 4])
        objectness[image, place] = 1
        obj = functional.binary_cross_entropy_with_logits(outputs[..., 4], objectness, reduction="none")
        if len(targets.regions):
            obj = obj * self._background_mask(outputs, cells, strides, image, place, targets)
        classes = functional.one_hot(wanted[:, 1].long(), self.num_classes) * quality[:, None]
        cls = functional.binary_cross_entropy_with_logits(rows[:, 5:], classes, reduction="sum") / per_object
        parts = {"box": _BOX_WEIGHT * box, "obj": obj.sum() / per_object, "cls": cls}
        if self.with_l1:
            stride = strides[place, None]
            goal = torch.cat((wanted[:, 2:4] / stride - cells[place], torch.log(wanted[:, 4:6] / stride + 1e-8)), 1)
            parts["l1"] = (rows[:, :4] - goal).abs().sum() / per_object
        total = torch.stack(list(parts.values())).sum()
        return Loss(total, {name: value.detach() for name, value in parts.items()})

    @torch.no_grad()
    def _assign(
        self, outputs: torch.Tensor, cells: torch.Tensor, strides: torch.Tensor, targets: Targets
    ) -> list[Assigned]:
        predicted = _decoded(outputs, cells, strides)
        centres = (cells + 0.5) * strides[:, None]
        assigned = []
        for image in range(len(outputs)):
            rows = (targets.boxes[:, 0] == image).nonzero().squeeze(1)
            boxes, classes = targets.boxes[rows, 2:6], targets.boxes[rows, 1].long()
            found = assign_simota(predicted[image], outputs[image, :, 4:], centres, strides, boxes, classes)
            assigned.append(Assigned(found.place, rows[found.target], found.iou))
        return assigned

    def _background_mask(
        self,
        outputs: torch.Tensor,
        cells: torch.Tensor,
        strides: torch.Tensor,
        image: torch.Tensor,
        place: torch.Tensor,
        targets: Targets,
    ) -> torch.Tensor:
        """float32 (b, k): 0 where nothing is matched and the labels are silent about what the place looks like."""
        mask = torch.ones_like(outputs[..., 4])
        centres = (cells + 0.5) * strides[:, None]
        for number in targets.regions[:, 0].unique().long().tolist():
            mask[number] = trained_as_background(
                outputs[number, :, 4:], centres, targets, number, self._spared_score
            ).float()
        mask[image, place] = 1
        return mask

    def _cells(self, raws: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Column and row of every place (k, 2), and the stride of its level (k,), float32."""
        cells, strides = [], []
        for raw, stride in zip(raws, self.strides, strict=True):
            y, x = torch.meshgrid(*(torch.arange(n, device=raw.device) for n in raw.shape[2:]), indexing="ij")
            cells.append(torch.stack((x, y), -1).view(-1, 2).float())
            strides.append(cells[-1].new_full((len(cells[-1]),), stride))
        return torch.cat(cells), torch.cat(strides)


def _joined(raws: Sequence[torch.Tensor]) -> torch.Tensor:
    """Places of all levels (b, k, 5 + nc), order level, y, x."""
    return torch.cat([raw.flatten(2) for raw in raws], 2).transpose(1, 2)


def _decoded(outputs: torch.Tensor, cells: torch.Tensor, strides: torch.Tensor) -> torch.Tensor:
    """cx, cy, w, h px (..., 4) of outputs (..., 5 + nc)."""
    stride = strides[:, None]
    return torch.cat(((outputs[..., :2] + cells) * stride, outputs[..., 2:4].exp() * stride), -1)


def _iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """IoU (k,) of boxes (k, 4), cx, cy, w, h, row by row."""
    a_xyxy, b_xyxy = to_xyxy(a), to_xyxy(b)
    overlap = torch.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - torch.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    inter = overlap.clamp(min=0).prod(1)
    return inter / (a[:, 2:].prod(1) + b[:, 2:].prod(1) - inter + 1e-16)
