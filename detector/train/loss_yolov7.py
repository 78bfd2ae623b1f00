"""The loss of the anchor-based head: box, objectness and class, over lead and auxiliary levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch.nn import functional

from detector.train.assign_yolov7 import Matches, assign_optimal_transport, candidates, predicted_px
from detector.train.box_iou import complete_iou
from detector.train.targets import SPARED_SCORE, Loss, Targets, trained_as_background

Assignment = Literal["ota", "all"]

_BALANCE: Mapping[int, tuple[float, ...]] = {3: (4.0, 1.0, 0.4), 4: (4.0, 1.0, 0.25, 0.06)}
"""Weight of objectness per level: fine levels have more cells, of which fewer hold something."""
_AUX_WEIGHT = 0.25
_FINE_REACH, _COARSE_REACH = 0.5, 1.0


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class YoloV7LossConfig:
    """Weights of the loss, for 3 levels, 80 classes and 640 px; `scaled` fits them to another network.

    The published values are those of configs/train.
    """

    box: float = Field(default=0.05, ge=0, description="weight of 1 - CIoU")
    obj: float = Field(default=0.7, ge=0, description="weight of objectness")
    cls: float = Field(default=0.3, ge=0, description="weight of the classes")
    obj_pw: float = Field(default=1.0, gt=0, description="weight of cells that hold something, in objectness")
    cls_pw: float = Field(default=1.0, gt=0, description="weight of the right class against the wrong ones")
    anchor_ratio: float = Field(default=4.0, gt=1, description="how many times off its anchor a box may be")
    focal_gamma: float = Field(default=0.0, ge=0, description="focal loss, 0 = off")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="0 = classes are 0 and 1")
    spared_score: float = Field(
        default=SPARED_SCORE, ge=0, le=1, description="confidence from which on an unlabelled class is no mistake"
    )
    autobalance: bool = Field(default=False, description="let the weights of the levels follow their losses")

    def scaled(self, *, levels: int, num_classes: int, input_px: int) -> YoloV7LossConfig:
        """Weights for a network with these levels and classes at this input size."""
        return YoloV7LossConfig(
            box=self.box * 3 / levels,
            cls=self.cls * num_classes / 80 * 3 / levels,
            obj=self.obj * (input_px / 640) ** 2 * 3 / levels,
            obj_pw=self.obj_pw,
            cls_pw=self.cls_pw,
            anchor_ratio=self.anchor_ratio,
            focal_gamma=self.focal_gamma,
            label_smoothing=self.label_smoothing,
            spared_score=self.spared_score,
            autobalance=self.autobalance,
        )


class YoloV7Loss:
    """Loss of raw maps against targets.

    Differs from the authors' program, each on purpose: images need not be square; a batch without objects, and objects
    that no anchor resembles, are trained as background; when one cell is matched twice, the later match states its
    objectness on every device; ignored places are left out.

    Args:
        config: weights that fit the network (`scaled`).
        anchors_px: float32 (levels, na, 2).
        strides: px per cell of the lead levels.
        num_classes: nc.
        assignment: `ota` for training, `all` (every candidate answers) for the loss that is told after validation.
        has_aux: whether auxiliary levels follow the lead levels; the lead's predictions then choose for both.

    Attributes:
        balance: weight of objectness per level; changes with `autobalance`.
    """

    def __init__(
        self,
        config: YoloV7LossConfig,
        anchors_px: torch.Tensor,
        strides: Sequence[int],
        num_classes: int,
        *,
        assignment: Assignment = "ota",
        has_aux: bool = False,
    ) -> None:
        self.config = config
        self.anchors_px = anchors_px.detach().float()
        self.strides = tuple(strides)
        self.num_classes = num_classes
        self.assignment = assignment
        self.has_aux = has_aux
        self.balance = list(_BALANCE.get(len(self.strides), (4.0, 1.0, 0.25, 0.06, 0.02)[: len(self.strides)]))
        self._finest_balance = self.strides.index(16) if 16 in self.strides else 0

    def __call__(self, raws: Sequence[torch.Tensor], targets: Targets) -> Loss:
        """Loss of a batch.

        Args:
            raws: per level (b, na, ny, nx, 5 + nc) logits, lead levels, then the auxiliary ones if there are any.
            targets: boxes in px of the input.
        """
        with torch.autocast(raws[0].device.type, enabled=False):
            return self._loss([raw.float() for raw in raws], targets)

    def match(self, raws: Sequence[torch.Tensor], targets: Targets) -> tuple[list[Matches], list[Matches]]:
        """Per level the matches of the lead head and of the auxiliary one (none without one)."""
        lead = raws[: len(self.strides)]
        top_k = 20 if self.has_aux else 10
        fine = self._assign(lead, targets, _FINE_REACH, top_k)
        coarse = self._assign(lead, targets, _COARSE_REACH, top_k) if self.has_aux else []
        return fine, coarse

    def _assign(self, lead: Sequence[torch.Tensor], targets: Targets, reach: float, top_k: int) -> list[Matches]:
        found = [
            candidates(
                targets.boxes,
                anchors / stride,
                (raw.shape[2], raw.shape[3]),
                stride,
                max_ratio=self.config.anchor_ratio,
                reach=reach,
            )
            for raw, anchors, stride in zip(lead, self.anchors_px, self.strides, strict=True)
        ]
        if self.assignment == "all":
            return found
        return assign_optimal_transport(lead, found, targets.boxes, self.anchors_px, self.strides, top_k=top_k)

    def _loss(self, raws: list[torch.Tensor], targets: Targets) -> Loss:
        levels = len(self.strides)
        self.anchors_px = self.anchors_px.to(raws[0].device)
        fine, coarse = self.match(raws, targets)
        heads = [(raws[:levels], fine, 1.0)]
        if self.has_aux:
            heads.append((raws[levels:], coarse, _AUX_WEIGHT))
        box = obj = cls = raws[0].new_zeros(())
        for i in range(levels):
            of_level = raws[0].new_zeros(())
            for maps, matches, weight in heads:
                l_box, l_obj, l_cls = self._level(maps[i], matches[i], i, targets)
                box, of_level, cls = box + weight * l_box, of_level + weight * l_obj, cls + weight * l_cls
            obj = obj + of_level * self.balance[i]
            if self.config.autobalance:
                self.balance[i] = self.balance[i] * 0.9999 + 0.0001 / float(of_level.detach())
        if self.config.autobalance:
            reference = self.balance[self._finest_balance]
            self.balance = [value / reference for value in self.balance]
        parts = {"box": box * self.config.box, "obj": obj * self.config.obj, "cls": cls * self.config.cls}
        total = (parts["box"] + parts["obj"] + parts["cls"]) * raws[0].shape[0]
        return Loss(total, {name: value.detach() for name, value in parts.items()})

    def _level(
        self, raw: torch.Tensor, at: Matches, level: int, targets: Targets
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Box, objectness and class loss of one level of one head, unweighted."""
        zero = raw.new_zeros(())
        objectness = torch.zeros_like(raw[..., 4])
        box = cls = zero
        if len(at):
            rows = raw[at.image, at.anchor, at.y, at.x]
            wanted = targets.boxes[at.target]
            stride = self.strides[level]
            # In cells, not px: the small constants of CIoU weigh as published.
            predicted = predicted_px(rows, at, self.anchors_px[level], stride) / stride
            iou = complete_iou(predicted, wanted[:, 2:6] / stride)
            box = (1 - iou).mean()
            _put_last(objectness, at, iou.detach().clamp(min=0))
            if self.num_classes > 1:
                off, on = 0.5 * self.config.label_smoothing, 1 - 0.5 * self.config.label_smoothing
                classes = torch.full_like(rows[:, 5:], off)
                classes.scatter_(1, wanted[:, 1:2].long(), on)
                cls = self._cross_entropy(rows[:, 5:], classes, self.config.cls_pw).mean()
        obj = self._cross_entropy(raw[..., 4], objectness, self.config.obj_pw)
        if len(targets.regions):
            obj = obj * self._background_mask(raw, at, level, targets)
        return box, obj.mean(), cls

    def _cross_entropy(self, logits: torch.Tensor, wanted: torch.Tensor, positive_weight: float) -> torch.Tensor:
        weight = None if positive_weight == 1 else logits.new_tensor(positive_weight)
        loss = functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight, reduction="none")
        if self.config.focal_gamma == 0:
            return loss
        p = logits.sigmoid()
        right = wanted * p + (1 - wanted) * (1 - p)
        alpha = wanted * 0.25 + (1 - wanted) * 0.75
        return loss * alpha * (1 - right) ** self.config.focal_gamma

    def _background_mask(self, raw: torch.Tensor, at: Matches, level: int, targets: Targets) -> torch.Tensor:
        """float32 (b, na, ny, nx): 0 where nothing is matched and the labels are silent about what it looks like."""
        batch, na, ny, nx, _ = raw.shape
        mask = torch.ones((batch, na, ny, nx), device=raw.device)
        y, x = torch.meshgrid(torch.arange(ny, device=raw.device), torch.arange(nx, device=raw.device), indexing="ij")
        centres = ((torch.stack((x, y), -1).view(-1, 2) + 0.5) * self.strides[level]).repeat(na, 1)
        for image in targets.regions[:, 0].unique().long().tolist():
            logits = raw[image, ..., 4:].reshape(na * ny * nx, -1)
            counts = trained_as_background(logits, centres, targets, image, self.config.spared_score)
            mask[image] = counts.view(na, ny, nx).float()
        mask[at.image, at.anchor, at.y, at.x] = 1
        return mask


def _put_last(target: torch.Tensor, at: Matches, values: torch.Tensor) -> None:
    """target[cell] = value; where a cell stands in several rows the last one counts, on every device."""
    _, na, ny, nx = target.shape
    cell = ((at.image * na + at.anchor) * ny + at.y) * nx + at.x
    last = torch.full((target.numel(),), -1, dtype=torch.int64, device=target.device)
    last.scatter_reduce_(0, cell, torch.arange(len(cell), device=cell.device), "amax")
    winners = last[cell]
    target[at.image, at.anchor, at.y, at.x] = values[winners]
