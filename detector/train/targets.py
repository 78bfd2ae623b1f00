"""What a batch of images should be answered with."""

from __future__ import annotations

from dataclasses import dataclass

import torch

SPARED_SCORE = 0.3
"""Confidence from which on a detection of a class that nobody looked for is no mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels of one batch, in px of the network's input.

    Attributes:
        boxes: float32 (n, 6): index of the image in the batch, class, cx, cy, w, h.
        regions: float32 (m, 5): index of the image, x1, y1, x2, y2 of a place whose labels are incomplete.
        region_classes: bool (m, nc + 1): the classes that may be there without a box; the last column says that it is
            an ignore box, where nothing counts. See `trained_as_background`.
    """

    boxes: torch.Tensor
    regions: torch.Tensor
    region_classes: torch.Tensor

    @classmethod
    def of_boxes(cls, boxes: torch.Tensor, num_classes: int) -> Targets:
        """Complete labels: no regions."""
        return cls(
            boxes, boxes.new_zeros((0, 5)), torch.zeros((0, num_classes + 1), dtype=torch.bool, device=boxes.device)
        )

    def to(self, device: torch.device) -> Targets:
        """The same on a device."""
        return Targets(self.boxes.to(device), self.regions.to(device), self.region_classes.to(device))


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """What to go down, and its parts for people.

    Attributes:
        total: scalar with gradient; the mean loss per image times the images of the batch.
        parts: detached scalars by name, per image, after weighting.
    """

    total: torch.Tensor
    parts: dict[str, torch.Tensor]


def trained_as_background(
    logits: torch.Tensor, centres_px: torch.Tensor, targets: Targets, image: int, spared_score: float
) -> torch.Tensor:
    """Which unmatched places of one image count as background.

    In an ignore box none does. Where nobody looked for some classes, a place is spared that the network takes for one
    of them with some confidence: sparing all places that only look a little more like such a class than like another
    would leave most of the picture without background, and the network would learn to see objects everywhere.

    Args:
        logits: (k, 1 + nc), objectness and classes.
        centres_px: float32 (k, 2), x and y of the cells' centres.
        targets: of the batch.
        image: index of the image in the batch.
        spared_score: confidence from which on a place is spared, in [0, 1]; 0 spares every place whose likeliest class
            nobody looked for.

    Returns:
        bool (k,): False where the labels are silent.
    """
    of_image = targets.regions[:, 0] == image
    regions, classes = targets.regions[of_image, 1:], targets.region_classes[of_image]
    if not len(regions):
        return torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    x, y = centres_px[:, :1], centres_px[:, 1:]
    inside = (x >= regions[:, 0]) & (x < regions[:, 2]) & (y >= regions[:, 1]) & (y < regions[:, 3])
    scores = logits.detach().sigmoid()
    class_score, looks_like = scores[:, 1:].max(1)
    sure = class_score * scores[:, 0] >= spared_score
    return ~(inside & (classes[:, -1] | (classes.T[looks_like] & sure[:, None]))).any(1)
