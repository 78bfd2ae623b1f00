"""The last layers: from feature maps of several strides to raw maps, one per stride.

A raw map holds logits. It says nothing in pixels: `detector.decode` does that, and the losses take it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from detector.decode import decode_yolov7, decode_yolox
from detector.models.blocks import Conv, spatial_conv

Anchors = Sequence[Sequence[tuple[int, int]]]


class Implicit(nn.Module):
    """A learnt vector that does not depend on the image (YOLOR, arXiv 2105.04206), one number per channel."""

    def __init__(self, channels: int, mean: float) -> None:
        super().__init__()
        self.implicit = nn.Parameter(torch.empty(1, channels, 1, 1))
        nn.init.normal_(self.implicit, mean, 0.02)


class AnchorHead(nn.Module):
    """YOLOv7's head: per stride one 1x1 convolution that gives x, y, w, h, objectness and classes of each anchor.

    The training form adds implicit knowledge to the input (`ia`) and multiplies the output by it (`im`); models with
    auxiliary supervision also have a coarse head per stride (`m2`, YOLOv7 section 4.2). `fuse` and the deploy form have
    neither.

    Args:
        in_channels: channels of the lead features, one per stride.
        anchors_px: width and height of the anchors, px, per stride.
        strides: px per cell.
        num_classes: nc.
        implicit: whether it holds implicit knowledge.
        aux_channels: channels of the auxiliary features, or none.
    """

    anchors: torch.Tensor
    anchor_grid: torch.Tensor

    def __init__(
        self,
        in_channels: Sequence[int],
        anchors_px: Anchors,
        strides: Sequence[int],
        num_classes: int,
        *,
        implicit: bool,
        aux_channels: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.columns = 5 + num_classes
        self.n_anchors = len(anchors_px[0])
        outputs = self.n_anchors * self.columns
        # Both forms of the anchors, in cells and in px, because the published weight files hold both.
        px = torch.tensor(anchors_px, dtype=torch.float32)
        self.register_buffer("anchors", px / torch.tensor(strides, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("anchor_grid", px.view(len(anchors_px), 1, self.n_anchors, 1, 1, 2))
        self.m = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in in_channels)
        if aux_channels:
            self.m2: nn.ModuleList | None = nn.ModuleList(nn.Conv2d(channels, outputs, 1) for channels in aux_channels)
        else:
            self.m2 = None
        self.ia = nn.ModuleList(Implicit(channels, 0.0) for channels in in_channels if implicit)
        self.im = nn.ModuleList(Implicit(outputs, 1.0) for _ in in_channels if implicit)
        for convs in (self.m, self.m2 or ()):
            for conv, stride in zip(convs, strides, strict=False):
                self._start_at_prior(conv, stride, num_classes)

    def _start_at_prior(self, conv: nn.Module, stride: int, num_classes: int) -> None:
        """Biases such that the untrained head expects 8 objects in 640 x 640 px per stride, and about 0.6 classes each.

        Otherwise the sum over all empty cells drowns the first steps of training (RetinaNet, arXiv 1708.02002, 4.1).
        """
        with torch.no_grad():
            bias = conv.get_parameter("bias").view(self.n_anchors, self.columns)
            bias[:, :4] = 0
            bias[:, 4] = math.log(8 / (640 / stride) ** 2)
            bias[:, 5:] = math.log(0.6 / (num_classes - 0.99))

    @property
    def anchors_px(self) -> torch.Tensor:
        """float32 (strides, anchors, 2), width and height in px, as the weight file has them."""
        return self.anchor_grid.view(len(self.strides), self.n_anchors, 2)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> AnchorHead:
        """Move to a device, but keep the anchors in float32: bfloat16 would make 924 px of 925."""
        kept = {name: getattr(self, name) for name in ("anchors", "anchor_grid")}
        super()._apply(fn, recurse)
        for name, value in kept.items():
            setattr(self, name, value.to(getattr(self, name).device))
        return self

    def forward(self, *features: torch.Tensor) -> list[torch.Tensor]:
        """Raw maps (b, anchors, h, w, 5 + nc) of the lead features, then of the auxiliary ones if they are given."""
        levels = len(self.m)
        maps = []
        for level, conv in enumerate(self.m):
            x = features[level]
            if self.ia:
                x = conv(x + self.ia[level].implicit) * self.im[level].implicit
            else:
                x = conv(x)
            maps.append(self._split_anchors(x))
        if self.m2 is not None:
            maps += [self._split_anchors(conv(x)) for conv, x in zip(self.m2, features[levels:], strict=False)]
        return maps

    def _split_anchors(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, height, width = x.shape
        return x.view(batch, self.n_anchors, self.columns, height, width).permute(0, 1, 3, 4, 2)

    def decode(self, raw_maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Lead raw maps to float32 (b, k, 5 + nc) in input px."""
        return decode_yolov7(raw_maps, self.anchors_px, self.strides)


class DecoupledHead(nn.Module):
    """YOLOX's head: classes and boxes are found on separate paths (arXiv 2107.08430, section 2.1).

    Args:
        in_channels: channels of the features, one per stride.
        hidden: channels inside the head.
        strides: px per cell.
        num_classes: nc.
        depthwise: 3x3 convolutions as depthwise + pointwise.
        activation: see `make_activation`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        hidden: int,
        strides: Sequence[int],
        num_classes: int,
        *,
        depthwise: bool,
        activation: str,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)

        def tower() -> nn.Sequential:
            return nn.Sequential(
                *(spatial_conv(hidden, hidden, 3, depthwise=depthwise, activation=activation) for _ in range(2))
            )

        self.cls_convs = nn.ModuleList(tower() for _ in in_channels)
        self.reg_convs = nn.ModuleList(tower() for _ in in_channels)
        self.cls_preds = nn.ModuleList(nn.Conv2d(hidden, num_classes, 1) for _ in in_channels)
        self.reg_preds = nn.ModuleList(nn.Conv2d(hidden, 4, 1) for _ in in_channels)
        self.obj_preds = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in in_channels)
        self.stems = nn.ModuleList(Conv(channels, hidden, 1, activation=activation) for channels in in_channels)
        # An untrained head expects an object, and each class, with probability 0.01 (RetinaNet, arXiv 1708.02002, 4.1).
        for conv in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(conv.get_parameter("bias"), -math.log(0.99 / 0.01))

    def forward(self, *features: torch.Tensor) -> list[torch.Tensor]:
        """Raw maps (b, 5 + nc, h, w): x, y, w, h, objectness, classes, all before any sigmoid or exponential."""
        maps = []
        for level, feature in enumerate(features):
            x = self.stems[level](feature)
            classes = self.cls_preds[level](self.cls_convs[level](x))
            box_features = self.reg_convs[level](x)
            maps.append(torch.cat((self.reg_preds[level](box_features), self.obj_preds[level](box_features), classes), 1))
        return maps

    def decode(self, raw_maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Raw maps to float32 (b, k, 5 + nc) in input px."""
        input_hw = (raw_maps[0].shape[2] * self.strides[0], raw_maps[0].shape[3] * self.strides[0])
        rows = torch.cat([raw.flatten(2) for raw in raw_maps], 2).float().transpose(1, 2)
        return decode_yolox(torch.cat((rows[..., :4], rows[..., 4:].sigmoid()), -1), input_hw, self.strides)


Head = AnchorHead | DecoupledHead
