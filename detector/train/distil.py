"""Learning from a trained network beside the labels: what its head reads at each place is imitated.

Labels say something about a few places of a picture; a teacher says something about all of them. That is what a small
data set lacks most.

Source: PKD (arXiv 2207.02039): features are compared by correlation, so that two networks of different families, whose
features differ in scale and offset, can be teacher and student.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from detector.models import DetectionModel, fuse
from detector.preprocess import Preprocess
from pipeline.core.errors import ConfigError


class ImitatingNetwork(nn.Module):
    """A student, and for each level a 1x1 convolution from its features to those of the teacher.

    Args:
        student: the network that is trained; it stays as it is.
        channels: of the teacher's features, per level.
    """

    def __init__(self, student: DetectionModel, channels: Sequence[int]) -> None:
        super().__init__()
        self.student = student
        pairs = zip(student.map_channels, channels, strict=True)
        self.adapters = nn.ModuleList(nn.Conv2d(c, c_teacher, 1) for c, c_teacher in pairs)

    def forward(self, images: torch.Tensor) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Raw maps of the student as without a teacher, and its features as the teacher would have them."""
        maps = self.student.maps(images)
        features = [adapter(map_) for adapter, map_ in zip(self.adapters, maps, strict=False)]
        return self.student.detection_head.raw(maps), features


class Teacher:
    """A trained network whose features are imitated.

    Args:
        model: the network with its weights; not changed.
        student: what learns from it.
        device: where it runs.
        dtype: of its arithmetic.
        weight: of the loss.

    Raises:
        ConfigError: its levels are not those of the student.
    """

    def __init__(
        self, model: DetectionModel, student: DetectionModel, device: torch.device, dtype: torch.dtype, weight: float
    ) -> None:
        if model.strides != student.strides:
            raise ConfigError(
                f"teacher: wanted a network with the student's strides {student.strides}, found {model.strides} "
                f"in {model.name}; choose another one"
            )
        self.channels = model.map_channels
        self.weight = weight
        self._model = fuse(model).eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._dtype = dtype
        self._student_preprocess = student.preprocess

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the teacher's head would read of the student's input."""
        images = reordered(images, self._student_preprocess, self._model.preprocess)
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32):
            return self._model.maps(images)

    def loss(self, features: Sequence[torch.Tensor], images: torch.Tensor) -> torch.Tensor:
        """Weighted mean over the levels of 1 - correlation, which lies between 0 and 2."""
        of_levels = [1 - correlation(a, b) for a, b in zip(features, self.features(images), strict=True)]
        return self.weight * torch.stack(of_levels).mean()


def correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pearson's correlation of two maps (b, c, ny, nx) over all places of the batch, mean over the channels."""
    a, b = (x.float().transpose(0, 1).flatten(1) for x in (a, b))
    a, b = (functional.normalize(x - x.mean(1, keepdim=True)) for x in (a, b))
    return (a * b).sum(1).mean()


def reordered(images: torch.Tensor, from_: Preprocess, to: Preprocess) -> torch.Tensor:
    """One network's input as that of another family: order of the colours, and range."""
    if from_ == to:
        return images
    turned = images.flip(1)
    return turned * 255 if to == "yolox" else turned / 255
