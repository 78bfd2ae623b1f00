"""The stages of YOLOv7's networks. Each adds numbered layers in the order of the published weight files.

Source: YOLOv7 (arXiv 2207.02696): E-ELAN and compound scaling in section 3, figures 2 and 3; planned
re-parameterisation and coarse-to-fine auxiliary heads in section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from detector.models.blocks import Add, Concat, ConvBnAct, RepConv, SpaceToDepth, max_pool
from detector.models.graph import Builder, Value
from detector.models.heads import YoloV7Head


def conv(net: Builder, x: Value, out: int, *, kernel: int = 1, stride: int = 1) -> Value:
    """Convolution, normalisation, activation."""
    module = ConvBnAct(x.channels, out, kernel, stride, activation=net.activation)
    return net.add(module, x, channels=out, stride=stride)


def rep_conv(net: Builder, x: Value, out: int) -> Value:
    """Re-parameterised convolution before the head."""
    return net.add(RepConv(x.channels, out, activation=net.activation), x, channels=out)


def space_to_depth(net: Builder, x: Value) -> Value:
    """Halve the resolution without losing a pixel: the first layer of the P6 models."""
    return net.add(SpaceToDepth(), x, channels=4 * x.channels, stride=2)


def elan(
    net: Builder, x: Value, out: int, *, hidden: int, depth: int, stack: int = 0, taps: Literal["all", "pairs"] = "all"
) -> Value:
    """Efficient layer aggregation: two 1x1 branches, one of them goes on through a stack of 3x3 convolutions.

    Args:
        net: where the layers go.
        x: what it reads.
        out: channels after the closing 1x1 convolution.
        hidden: channels of the two branches.
        depth: 3x3 convolutions in the stack.
        stack: their channels; 0 = hidden.
        taps: which of them are concatenated: all, or every second one (one per computational block of two).
    """
    branch = conv(net, x, hidden)
    ends = [branch, conv(net, x, hidden)]
    for _ in range(depth):
        ends.append(conv(net, ends[-1], stack or hidden, kernel=3))
    kept = [*reversed(ends[2:]), ends[1], ends[0]]
    if taps == "pairs":
        kept = [*kept[:-2:2], ends[1], ends[0]]
    return conv(net, concat(net, kept), out)


def e_elan(
    net: Builder,
    x: Value,
    out: int,
    *,
    hidden: int,
    depth: int,
    stack: int = 0,
    taps: Literal["all", "pairs"] = "all",
    second: str | None = None,
) -> Value:
    """Extended ELAN: two groups over the same input, whose outputs are merged by addition.

    Grouped convolution with cardinality 2, shuffle and merge (figure 2d) come to the same as two ELANs side by side.
    `second` names the second group's own output: E6E's auxiliary levels read that, not the sum.
    """
    groups = [elan(net, x, out, hidden=hidden, depth=depth, stack=stack, taps=taps) for _ in range(2)]
    if second is not None:
        net.named[second] = groups[1]
    return net.add(Add(), *reversed(groups), channels=out)


def pool(net: Builder, x: Value) -> Value:
    """Max pooling that halves the resolution."""
    return net.add(max_pool(2, 2), x, channels=x.channels, stride=2)


def transition(net: Builder, x: Value, out: int, *, join: str | None = None) -> Value:
    """Halve the resolution twice over, by pooling and by a strided convolution, and concatenate.

    Args:
        net: where the layers go.
        x: what it reads.
        out: channels of each of the two.
        join: name of an earlier row that is concatenated too.
    """
    pooled = conv(net, pool(net, x), out)
    strided = conv(net, conv(net, x, out), out, kernel=3, stride=2)
    return concat(net, [strided, pooled, *([net.find(join)] if join else [])])


class DownC(nn.Module):
    """The same as one layer with an opening convolution (E6, D6, E6E).

    Args:
        c_in: channels in.
        c_out: channels out, half of them from each of the two ways.
        activation: of its convolutions.
    """

    def __init__(self, c_in: int, c_out: int, *, activation: str) -> None:
        super().__init__()
        self.cv1 = ConvBnAct(c_in, c_in, activation=activation)
        self.cv2 = ConvBnAct(c_in, c_out // 2, 3, 2, activation=activation)
        self.cv3 = ConvBnAct(c_in, c_out // 2, activation=activation)
        self.mp = max_pool(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h / 2, w / 2)."""
        return torch.cat((self.cv2(self.cv1(x)), self.cv3(self.mp(x))), 1)


def down_c(net: Builder, x: Value, out: int, *, join: str | None = None) -> Value:
    """A DownC layer, and a concatenation with an earlier row if `join` names one."""
    down = net.add(DownC(x.channels, out, activation=net.activation), x, channels=out, stride=2)
    return concat(net, [down, net.find(join)]) if join else down


def down(net: Builder, x: Value, out: int, *, join: str) -> Value:
    """A strided convolution, concatenated with an earlier row."""
    return concat(net, [conv(net, x, out, kernel=3, stride=2), net.find(join)])


def up(net: Builder, x: Value, out: int, *, join: str) -> Value:
    """A 1x1 convolution, doubled resolution, and an earlier row through a 1x1 convolution beside it."""
    raised = net.add(nn.Upsample(scale_factor=2), conv(net, x, out), channels=out, stride=0.5)
    lateral = conv(net, net.find(join), out)
    return concat(net, [lateral, raised])


def concat(net: Builder, values: Sequence[Value]) -> Value:
    """Concatenation along the channels."""
    return net.add(Concat(), *values, channels=sum(value.channels for value in values))


class SppCspc(nn.Module):
    """Spatial pyramid pooling within a cross-stage-partial block.

    Args:
        c_in: channels in.
        c_out: channels out.
        activation: of its convolutions.
    """

    def __init__(self, c_in: int, c_out: int, *, activation: str) -> None:
        super().__init__()

        def unit(first: int, second: int, kernel: int = 1) -> ConvBnAct:
            return ConvBnAct(first, second, kernel, activation=activation)

        self.cv1 = unit(c_in, c_out)
        self.cv2 = unit(c_in, c_out)
        self.cv3 = unit(c_out, c_out, 3)
        self.cv4 = unit(c_out, c_out)
        self.m = nn.ModuleList(max_pool(kernel) for kernel in (5, 9, 13))
        self.cv5 = unit(4 * c_out, c_out)
        self.cv6 = unit(c_out, c_out, 3)
        self.cv7 = unit(2 * c_out, c_out)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h, w)."""
        deep = self.cv4(self.cv3(self.cv1(x)))
        pooled = self.cv6(self.cv5(torch.cat((deep, *(m(deep) for m in self.m)), 1)))
        return self.cv7(torch.cat((pooled, self.cv2(x)), 1))


def sppcspc(net: Builder, x: Value, out: int) -> Value:
    """An SPPCSPC layer."""
    return net.add(SppCspc(x.channels, out, activation=net.activation), x, channels=out)


def sppcsp_tiny(net: Builder, x: Value, out: int) -> Value:
    """The same with fewer convolutions and as single layers (tiny)."""
    side = conv(net, x, out)
    deep = conv(net, x, out)
    pools = [net.add(max_pool(kernel), deep, channels=out) for kernel in (5, 9, 13)]
    return conv(net, concat(net, [conv(net, concat(net, [*reversed(pools), deep]), out), side]), out)


def yolov7_head(
    net: Builder,
    x: Value,
    levels: list[str],
    *,
    anchors_px: list[list[float]],
    aux: list[str] | None = None,
) -> Value:
    """The head: with implicit knowledge, and auxiliary levels where the model has them, in training form only."""
    training = net.form == "training"
    maps = [net.find(name) for name in levels]
    aux_maps = [net.find(name) for name in aux or []] if training else []
    head = YoloV7Head(
        [value.channels for value in maps],
        [value.channels for value in aux_maps],
        anchors_px,
        [value.stride for value in maps],
        net.num_classes,
        implicit=training,
    )
    net.add_head(head, [*maps, *aux_maps])
    return x
