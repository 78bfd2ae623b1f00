"""Heads: raw maps for the losses, decoded boxes for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import nn

from detector.decode import decode_yolov7, decode_yolox
from detector.models.blocks import ConvBnAct, DepthwiseConv


class Implicit(nn.Module):
    """Implicit knowledge: one learned number per channel, added (`mean` 0) or multiplied (`mean` 1).

    Source: YOLOv7 (arXiv 2207.02696), section 4.3, after YOLOR.
    """

    def __init__(self, channels: int, mean: float) -> None:
        super().__init__()
        self.implicit = nn.Parameter(torch.empty(1, channels, 1, 1).normal_(mean, 0.02))


class YoloV7Head(nn.Module):
    """Anchor-based head.

    Args:
        c_in: channels of the lead levels.
        c_aux: channels of the auxiliary levels (training form of the P6 models), or none.
        anchors_px: per level, width and height of each anchor in turn.
        strides: px per cell of each level.
        num_classes: nc.
        implicit: with implicit knowledge, as in the training form.

    State: `anchors` in cells and `anchor_grid` in px stand in published weight files, so they are buffers here.
    """

    anchors: torch.Tensor
    anchor_grid: torch.Tensor

    def __init__(
        self,
        c_in: Sequence[int],
        c_aux: Sequence[int],
        anchors_px: Sequence[Sequence[float]],
        strides: Sequence[int],
        num_classes: int,
        *,
        implicit: bool,
    ) -> None:
        super().__init__()
        self.num_outputs = 5 + num_classes
        self.strides = tuple(strides)
        anchors = torch.tensor(anchors_px, dtype=torch.float32).view(len(anchors_px), -1, 2)
        levels, self.num_anchors = anchors.shape[:2]
        self.register_buffer("anchors", anchors / torch.tensor(strides, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("anchor_grid", anchors.view(levels, 1, -1, 1, 1, 2).clone())
        channels = self.num_anchors * self.num_outputs
        self.m = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in c_in)
        self.m2 = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in c_aux) if c_aux else None
        self.ia = nn.ModuleList(Implicit(c, 0.0) for c in c_in) if implicit else None
        self.im = nn.ModuleList(Implicit(channels, 1.0) for _ in c_in) if implicit else None
        for conv, stride in zip([*self.m, *(self.m2 or ())], [*strides, *(strides if c_aux else ())], strict=True):
            _init_bias(conv, self.num_anchors, num_classes, stride)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> YoloV7Head:
        """Anchors stay in float32 when the network goes to 16 bits, which would round 373 px to 372."""
        anchors, grid = self.anchors, self.anchor_grid
        super()._apply(fn, recurse)
        if self.anchors.dtype != anchors.dtype:
            self.anchors, self.anchor_grid = anchors.to(self.anchors.device), grid.to(self.anchor_grid.device)
        return self

    @property
    def anchors_px(self) -> torch.Tensor:
        """Anchors (levels, na, 2), px."""
        return self.anchor_grid.flatten(1, -2)

    @property
    def has_aux(self) -> bool:
        """Whether there are auxiliary levels; they are computed in training mode only."""
        return self.m2 is not None

    def logits(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (b, na * (5 + nc), ny, nx) of the lead levels, as the convolutions give them."""
        return [self._lead(level, maps[level]) for level in range(len(self.m))]

    def raw(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (b, na, ny, nx, 5 + nc) of the lead levels, then of the auxiliary ones where `maps` holds them too."""
        levels = len(self.m)
        raws = [self._split(self._lead(i, maps[i])) for i in range(levels)]
        if self.m2 is not None:
            raws += [self._split(conv(x)) for conv, x in zip(self.m2, maps[levels:], strict=False)]
        return raws

    def decode(self, raws: Sequence[torch.Tensor]) -> torch.Tensor:
        """Boxes (b, k, 5 + nc) of the lead levels, order level, anchor, y, x."""
        levels = zip(raws[: len(self.m)], self.anchors_px, self.strides, strict=True)
        return torch.cat([decode_yolov7(raw, anchors, stride) for raw, anchors, stride in levels], 1)

    def fuse(self) -> None:
        """Fold the implicit knowledge into the convolutions and drop the auxiliary ones. A second call does nothing."""
        self.m2 = None
        if self.ia is None or self.im is None:
            return
        for conv, added, factor in zip(self.m, self.ia, self.im, strict=True):
            fold_implicit(conv.weight, conv.bias, added.implicit, factor.implicit)  # type: ignore[arg-type]
        self.ia = self.im = None

    def _lead(self, level: int, x: torch.Tensor) -> torch.Tensor:
        if self.ia is None or self.im is None:
            return self.m[level](x)
        added, factor = self.ia[level].implicit, self.im[level].implicit
        return self.m[level](x + added) * factor  # type: ignore[operator]

    def _split(self, x: torch.Tensor) -> torch.Tensor:
        batch, _, ny, nx = x.shape
        return x.view(batch, self.num_anchors, self.num_outputs, ny, nx).permute(0, 1, 3, 4, 2).contiguous()


@torch.no_grad()
def fold_implicit(weight: torch.Tensor, bias: torch.Tensor, added: torch.Tensor, factor: torch.Tensor) -> None:
    """Change a 1x1 convolution in place so that it equals factor * (conv(x + added))."""
    scale = factor.double().view(-1)
    shifted = bias.double() + weight.double().flatten(1) @ added.double().view(-1)
    bias.copy_(shifted * scale)
    weight.copy_(weight.double() * scale.view(-1, 1, 1, 1))


class YoloxHead(nn.Module):
    """Decoupled anchor-free head: classes and boxes have convolutions of their own.

    Args:
        c_in: channels of the levels.
        hidden: channels within the head.
        strides: px per cell of each level.
        num_classes: nc.
        depthwise: depthwise convolutions (YOLOX-nano).
        activation: of its convolutions.

    Source: YOLOX (arXiv 2107.08430), section 2.1, "Decoupled head".
    """

    has_aux = False

    def __init__(
        self,
        c_in: Sequence[int],
        hidden: int,
        strides: Sequence[int],
        num_classes: int,
        *,
        depthwise: bool,
        activation: str,
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        conv = DepthwiseConv if depthwise else ConvBnAct

        def tower() -> nn.Sequential:
            return nn.Sequential(*(conv(hidden, hidden, 3, activation=activation) for _ in range(2)))

        self.cls_convs = nn.ModuleList(tower() for _ in c_in)
        self.reg_convs = nn.ModuleList(tower() for _ in c_in)
        self.cls_preds = nn.ModuleList(nn.Conv2d(hidden, num_classes, 1) for _ in c_in)
        self.reg_preds = nn.ModuleList(nn.Conv2d(hidden, 4, 1) for _ in c_in)
        self.obj_preds = nn.ModuleList(nn.Conv2d(hidden, 1, 1) for _ in c_in)
        self.stems = nn.ModuleList(ConvBnAct(c, hidden, activation=activation) for c in c_in)
        prior = -math.log((1 - 0.01) / 0.01)  # so that a new network claims 1 % everywhere
        for pred in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(pred.bias, prior)

    def raw(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Logits (b, 5 + nc, ny, nx) per level: x, y, w, h, objectness, classes."""
        raws = []
        for level, features in enumerate(maps):
            stem = self.stems[level](features)
            boxes = self.reg_convs[level](stem)
            classes = self.cls_preds[level](self.cls_convs[level](stem))
            raws.append(torch.cat((self.reg_preds[level](boxes), self.obj_preds[level](boxes), classes), 1))
        return raws

    def logits(self, maps: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The same as `raw`: there is one box per cell."""
        return self.raw(maps)

    def decode(self, raws: Sequence[torch.Tensor]) -> torch.Tensor:
        """Boxes (b, k, 5 + nc), order level, y, x."""
        height, width = (side * self.strides[0] for side in raws[0].shape[2:])
        flat = torch.cat([raw.float().flatten(2) for raw in raws], 2).transpose(1, 2)
        outputs = torch.cat((flat[..., :4], flat[..., 4:].sigmoid()), -1)
        return decode_yolox(outputs, (height, width), self.strides)


def _init_bias(conv: nn.Module, num_anchors: int, num_classes: int, stride: int) -> None:
    """Start from what is true of most cells: about 8 objects per 640 px image, every class equally rare."""
    if not isinstance(conv, nn.Conv2d) or conv.bias is None:
        raise TypeError("wanted a convolution with bias")
    bias = conv.bias.data.view(num_anchors, -1)
    bias[:, 4] += math.log(8 / (640 / stride) ** 2)
    bias[:, 5:] += math.log(0.6 / (num_classes - 0.99))
