"""A network that takes letterboxed pictures as they are: bytes, BGR, channels last."""

from __future__ import annotations

import torch
from torch import nn

from detector.models import DetectionModel, fuse


class PixelNetwork(nn.Module):
    """Pictures in, logits out: uint8 (b, h, w, 3) BGR to a list of (b, na * (5 + nc), ny, nx), one per level.

    YOLOv7 networks were trained on RGB in 0..1: the order of the channels and the factor 1/255 are folded into the
    first convolution, whose zero padding stays zero. Whole numbers up to 255 are exact in bf16 and fp16, their 255th
    parts are not. The permuted view of the picture has PyTorch's channels-last layout already, so nothing is moved.

    Args:
        model: the network; not changed, a fused copy runs.
    """

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.network = fuse(model)
        if model.preprocess == "yolov7":
            _take_pixels(self.network)

    def forward(self, canvases: torch.Tensor) -> list[torch.Tensor]:
        """Logits of a batch of letterboxed pictures.

        Raises:
            ShapeError: height or width is no multiple of the network's stride.
        """
        dtype = next(self.network.parameters()).dtype
        return self.network.logits(canvases.to(dtype).permute(0, 3, 1, 2))


@torch.no_grad()
def _take_pixels(network: nn.Module) -> None:
    """Let the first convolution take BGR in 0..255; behind a ReOrg layer it has several groups of three channels."""
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    groups = first.weight.unflatten(1, (-1, 3))
    first.weight.copy_((groups.flip(2) / 255).flatten(1, 2))
