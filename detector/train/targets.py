"""What a batch of images should be answered with."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Labels of one batch, in px of the network's input.

    Attributes:
        boxes: float32 (n, 6): index of the image in the batch, class, cx, cy, w, h.
        regions: float32 (m, 5): index of the image, x1, y1, x2, y2 of a place whose labels are incomplete.
        region_classes: bool (m, nc): the classes that may be there without a box; all of them in an ignore box. A
            place that no box is matched to is not trained as background while it looks like one of these.
    """

    boxes: torch.Tensor
    regions: torch.Tensor
    region_classes: torch.Tensor

    @classmethod
    def of_boxes(cls, boxes: torch.Tensor, num_classes: int) -> Targets:
        """Complete labels: no regions."""
        return cls(boxes, boxes.new_zeros((0, 5)), torch.zeros((0, num_classes), dtype=torch.bool, device=boxes.device))

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
    class_logits: torch.Tensor, centres_px: torch.Tensor, targets: Targets, image: int
) -> torch.Tensor:
    """Which unmatched places of one image count as background.

    Args:
        class_logits: (k, nc).
        centres_px: float32 (k, 2), x and y of the cells' centres.
        targets: of the batch.
        image: index of the image in the batch.

    Returns:
        bool (k,): False inside a region that may hold an object of the class that the place looks most like.
    """
    of_image = targets.regions[:, 0] == image
    regions, classes = targets.regions[of_image, 1:], targets.region_classes[of_image]
    if not len(regions):
        return torch.ones(len(class_logits), dtype=torch.bool, device=class_logits.device)
    x, y = centres_px[:, :1], centres_px[:, 1:]
    inside = (x >= regions[:, 0]) & (x < regions[:, 2]) & (y >= regions[:, 1]) & (y < regions[:, 3])
    looks_like = class_logits.detach().argmax(1)
    return ~(inside & classes.T[looks_like]).any(1)
