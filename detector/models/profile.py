"""How large and how costly a network is."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Number of parameters; buffers (normalisation statistics, anchors) do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_gflops(model: nn.Module, hw: tuple[int, int], *, biases: bool = False) -> float:
    """Floating-point operations of one image in thousand millions: 2 for each multiply-add of the convolutions.

    Nothing is computed: the network runs on shapes alone.

    Args:
        model: any network of this package, fused or not.
        hw: height and width of the input, px.
        biases: count one operation more for each output of a convolution with bias, as the published tables of
            YOLOv7 do.
    """
    operations = 0

    def count(module: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal operations
        if isinstance(module, nn.Conv2d):
            kernel_h, kernel_w = module.kernel_size
            per_output = module.in_channels // module.groups * kernel_h * kernel_w
            if biases and module.bias is not None:
                per_output += 1
            operations += output.numel() * per_output

    shapes_only = copy.deepcopy(model).to("meta").eval()
    for module in shapes_only.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        shapes_only(torch.zeros(1, 3, *hw, device="meta"))
    return 2 * operations / 1e9
