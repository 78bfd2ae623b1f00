"""The stages of YOLOX's networks. Each row is one module under the path that the published weight files use.

Source: YOLOX (arXiv 2107.08430), section 2.
"""

from __future__ import annotations

import torch
from torch import nn

from detector.models.blocks import Concat, ConvBnAct, DepthwiseConv, SpaceToDepth, max_pool
from detector.models.graph import Builder, Value
from detector.models.heads import YoloxHead


class Focus(nn.Module):
    """Space to depth, then a 3x3 convolution."""

    def __init__(self, c_in: int, c_out: int, *, activation: str) -> None:
        super().__init__()
        self.patches = SpaceToDepth()
        self.conv = ConvBnAct(4 * c_in, c_out, 3, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h / 2, w / 2)."""
        return self.conv(self.patches(x))


class Bottleneck(nn.Module):
    """1x1 and 3x3 convolution, added to the input if `shortcut`."""

    def __init__(self, channels: int, *, shortcut: bool, depthwise: bool, activation: str) -> None:
        super().__init__()
        self.conv1 = ConvBnAct(channels, channels, activation=activation)
        self.conv2 = (DepthwiseConv if depthwise else ConvBnAct)(channels, channels, 3, activation=activation)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w) to the same."""
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CspLayer(nn.Module):
    """Cross-stage-partial layer: one half through bottlenecks, the other one past them."""

    def __init__(
        self, c_in: int, c_out: int, repeats: int, *, shortcut: bool, depthwise: bool, activation: str
    ) -> None:
        super().__init__()
        hidden = c_out // 2
        self.conv1 = ConvBnAct(c_in, hidden, activation=activation)
        self.conv2 = ConvBnAct(c_in, hidden, activation=activation)
        self.conv3 = ConvBnAct(2 * hidden, c_out, activation=activation)
        self.m = nn.Sequential(
            *(Bottleneck(hidden, shortcut=shortcut, depthwise=depthwise, activation=activation) for _ in range(repeats))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h, w)."""
        return self.conv3(torch.cat((self.m(self.conv1(x)), self.conv2(x)), 1))


class Spp(nn.Module):
    """Spatial pyramid pooling between two 1x1 convolutions."""

    def __init__(self, c_in: int, c_out: int, *, activation: str) -> None:
        super().__init__()
        hidden = c_in // 2
        self.conv1 = ConvBnAct(c_in, hidden, activation=activation)
        self.m = nn.ModuleList(max_pool(kernel) for kernel in (5, 9, 13))
        self.conv2 = ConvBnAct(4 * hidden, c_out, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c_in, h, w) to (b, c_out, h, w)."""
        x = self.conv1(x)
        return self.conv2(torch.cat((x, *(m(x) for m in self.m)), 1))


class DarknetResidual(nn.Module):
    """Darknet-53's residual layer: 1x1 to half the channels, 3x3 back, added to the input."""

    def __init__(self, channels: int, *, activation: str) -> None:
        super().__init__()
        self.layer1 = ConvBnAct(channels, channels // 2, activation=activation)
        self.layer2 = ConvBnAct(channels // 2, channels, 3, activation=activation)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w) to the same."""
        return x + self.layer2(self.layer1(x))


def focus(net: Builder, x: Value, out: int) -> Value:
    """The stem."""
    out = net.channels(out)
    return net.add(Focus(x.channels, out, activation=net.activation), x, channels=out, stride=2)


def unit(net: Builder, x: Value, out: int, *, kernel: int = 1, stride: int = 1) -> Value:
    """Convolution, normalisation, activation; scaled, and never depthwise."""
    out = net.channels(out)
    return net.add(
        ConvBnAct(x.channels, out, kernel, stride, activation=net.activation), x, channels=out, stride=stride
    )


def strided(net: Builder, x: Value, out: int) -> Value:
    """A 3x3 convolution that halves the resolution; depthwise where the network is."""
    out = net.channels(out)
    module = (DepthwiseConv if net.depthwise else ConvBnAct)(x.channels, out, 3, 2, activation=net.activation)
    return net.add(module, x, channels=out, stride=2)


def csp(net: Builder, x: Value, out: int, *, repeats: int, shortcut: bool = True) -> Value:
    """A cross-stage-partial layer."""
    out = net.channels(out)
    module = CspLayer(
        x.channels,
        out,
        net.repeats(repeats),
        shortcut=shortcut,
        depthwise=net.depthwise,
        activation=net.activation,
    )
    return net.add(module, x, channels=out)


def spp(net: Builder, x: Value, out: int) -> Value:
    """Spatial pyramid pooling."""
    out = net.channels(out)
    return net.add(Spp(x.channels, out, activation=net.activation), x, channels=out)


def residual(net: Builder, x: Value) -> Value:
    """A Darknet-53 residual layer."""
    return net.add(DarknetResidual(x.channels, activation=net.activation), x, channels=x.channels)


def upsample(net: Builder, x: Value, *, join: str) -> Value:
    """Doubled resolution, concatenated with an earlier row."""
    raised = net.add(nn.Upsample(scale_factor=2), x, channels=x.channels, stride=0.5)
    return beside(net, raised, join=join)


def beside(net: Builder, x: Value, *, join: str) -> Value:
    """Concatenation with an earlier row."""
    other = net.find(join)
    return net.add(Concat(), x, other, channels=x.channels + other.channels)


def yolox_head(net: Builder, x: Value, levels: list[str], *, hidden: int, activation: str = "silu") -> Value:
    """The decoupled head."""
    maps = [net.find(name) for name in levels]
    head = YoloxHead(
        [value.channels for value in maps],
        net.channels(hidden),
        [value.stride for value in maps],
        net.num_classes,
        depthwise=net.depthwise,
        activation=activation,
    )
    net.add_head(head, maps)
    return x
