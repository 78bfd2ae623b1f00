"""The row types of configs/models/*.yaml: a literal table, the only way from a name in a file to code.

A row type takes the builder, one node per source, and the row's settings by name. Many add several layers: numbering
and order are those of the published weight files.
"""

from __future__ import annotations

from torch import nn

from detector.models.blocks import (
    SPPCSPC,
    CSPLayer,
    DarknetResidual,
    DownC,
    Focus,
    RepConv,
    SpaceToDepth,
    SPPBottleneck,
    Sum,
    same_size_pool,
    spatial_conv,
)
from detector.models.graph import GraphBuilder, LayerType, Node

# --- both families


def conv(graph: GraphBuilder, source: Node, *, channels: int, kernel: int = 1, stride: int = 1) -> Node:
    """Convolution, norm, activation."""
    return graph.conv(source, graph.width(channels), kernel, stride)


def concat(graph: GraphBuilder, *sources: Node) -> Node:
    """Channels of the sources one behind the other."""
    return graph.concat(sources)


def upsample(graph: GraphBuilder, source: Node) -> Node:
    """Doubles height and width by repeating pixels."""
    return graph.add(nn.Upsample(scale_factor=2), [source], source.channels)


# --- YOLOv7


def reorg(graph: GraphBuilder, source: Node) -> Node:
    """Space to depth: the first layer of the P6 models."""
    return graph.add(SpaceToDepth(), [source], 4 * source.channels)


def rep_conv(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """A 3x3 convolution that is a 3x3 and a 1x1 in parallel during training."""
    return graph.add(RepConv(source.channels, channels, activation=graph.activation), [source], channels)


def elan(graph: GraphBuilder, source: Node, *, split: int, inner: int, depth: int, tap_every: int, out: int) -> Node:
    """Efficient layer aggregation network (YOLOv7, figure 2c).

    Two 1x1 convolutions split the input. A chain of `depth` 3x3 convolutions follows the second. Both splits and every
    `tap_every`-th link of the chain are concatenated, deepest first, and a 1x1 convolution (the transition layer)
    mixes them. Compound scaling (section 3.2) makes the chain deeper and the transition wider by the same factor.

    Args:
        graph: the builder.
        source: the input.
        split: channels of each of the two splits.
        inner: channels of the 3x3 convolutions.
        depth: number of 3x3 convolutions.
        tap_every: which of them are concatenated: 2 in backbones, 1 in most necks.
        out: channels of the transition layer.
    """
    passed_by = graph.conv(source, split)
    tip = graph.conv(source, split)
    taps = [passed_by, tip]
    for link in range(1, depth + 1):
        tip = graph.conv(tip, inner, 3)
        if link % tap_every == 0:
            taps.append(tip)
    return graph.conv(graph.concat(taps[::-1]), out)


def e_elan(graph: GraphBuilder, source: Node, *, split: int, inner: int, depth: int, tap_every: int, out: int) -> Node:
    """Extended ELAN (YOLOv7, figure 2d): two groups, each an ELAN of its own, whose transition layers are added.

    The paper describes group convolutions with their outputs shuffled and merged; two parallel ELANs on the same input
    and a sum are the same computation. Settings: see `elan`. `NAME.second` is the second group's transition layer.
    """
    groups = [elan(graph, source, split=split, inner=inner, depth=depth, tap_every=tap_every, out=out) for _ in "ab"]
    graph.name("second", groups[1])
    return graph.add(Sum(), groups[::-1], out)


def mp_conv(graph: GraphBuilder, source: Node, *beside: Node, channels: int) -> Node:
    """Halves height and width on two paths, a maximum pool and a strided 3x3 convolution, and concatenates them.

    Each path gives `channels`. Further sources are concatenated behind them.
    """
    pooled = graph.add(nn.MaxPool2d(2), [source], source.channels)
    pooled = graph.conv(pooled, channels)
    strided = graph.conv(graph.conv(source, channels), channels, 3, 2)
    return graph.concat([strided, pooled, *beside])


def max_pool(graph: GraphBuilder, source: Node) -> Node:
    """Halves height and width."""
    return graph.add(nn.MaxPool2d(2), [source], source.channels)


def down_c(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """Halves height and width on two paths, in one module: the P6 models' form of `MPConv`."""
    return graph.add(DownC(source.channels, channels, activation=graph.activation), [source], channels)


def sppcspc(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """Spatial pyramid pooling in a cross-stage-partial block."""
    return graph.add(SPPCSPC(source.channels, channels, activation=graph.activation), [source], channels)


def sppcspc_tiny(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """SPPCSPC without its 3x3 convolutions, as yolov7-tiny has it."""
    passed_by = graph.conv(source, channels)
    main = graph.conv(source, channels)
    pools = [graph.add(same_size_pool(kernel), [main], channels) for kernel in (5, 9, 13)]
    main = graph.conv(graph.concat([*pools[::-1], main]), channels)
    return graph.conv(graph.concat([main, passed_by]), channels)


def top_down(graph: GraphBuilder, coarse: Node, fine: Node, *, channels: int) -> Node:
    """One step of the top-down path: the finer map and the enlarged coarser one, both reduced to `channels`.

    Source: feature pyramid (arXiv 1612.03144), with concatenation in place of the sum.
    """
    enlarged = upsample(graph, graph.conv(coarse, channels))
    return graph.concat([graph.conv(fine, channels), enlarged])


# --- YOLOX


def focus(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """Space to depth and a 3x3 convolution."""
    channels = graph.width(channels)
    return graph.add(Focus(source.channels, channels, activation=graph.activation), [source], channels)


def down_conv(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """Halves height and width by a strided 3x3 convolution, depthwise in a depthwise model."""
    channels = graph.width(channels)
    module = spatial_conv(source.channels, channels, 3, 2, depthwise=graph.depthwise, activation=graph.activation)
    return graph.add(module, [source], channels)


def csp(graph: GraphBuilder, source: Node, *, channels: int, bottlenecks: int, shortcut: bool) -> Node:
    """Cross-stage-partial stage with a scaled number of bottlenecks."""
    channels = graph.width(channels)
    module = CSPLayer(
        source.channels,
        channels,
        graph.depth(bottlenecks),
        shortcut=shortcut,
        depthwise=graph.depthwise,
        activation=graph.activation,
    )
    return graph.add(module, [source], channels)


def spp(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """Spatial pyramid pooling between two 1x1 convolutions."""
    channels = graph.width(channels)
    return graph.add(SPPBottleneck(source.channels, channels, activation=graph.activation), [source], channels)


def residual(graph: GraphBuilder, source: Node) -> Node:
    """Darknet-53's residual unit."""
    return graph.add(DarknetResidual(source.channels, activation=graph.activation), [source], source.channels)


def darknet_stage(graph: GraphBuilder, source: Node, *, channels: int, units: int) -> Node:
    """A strided 3x3 convolution, then residual units: NAME.0, NAME.1, ..."""
    node = graph.conv(source, channels, 3, 2, child=0)
    for unit in range(1, units + 1):
        node = graph.add(DarknetResidual(channels, activation=graph.activation), [node], channels, child=unit)
    return node


def five_convs(graph: GraphBuilder, source: Node, *, channels: int) -> Node:
    """YOLOv3's neck block: 1x1 convolutions to `channels` and 3x3 ones to twice as many, in turn: NAME.0 to NAME.4."""
    node = source
    for link in range(5):
        wide = link % 2 == 1
        node = graph.conv(node, channels * 2 if wide else channels, 3 if wide else 1, child=link)
    return node


LAYER_TYPES: dict[str, LayerType] = {
    "Conv": conv,
    "Concat": concat,
    "Upsample": upsample,
    "ReOrg": reorg,
    "RepConv": rep_conv,
    "ELAN": elan,
    "E-ELAN": e_elan,
    "MPConv": mp_conv,
    "MaxPool": max_pool,
    "DownC": down_c,
    "SPPCSPC": sppcspc,
    "SPPCSPC-tiny": sppcspc_tiny,
    "TopDown": top_down,
    "Focus": focus,
    "DownConv": down_conv,
    "CSP": csp,
    "SPP": spp,
    "Residual": residual,
    "DarknetStage": darknet_stage,
    "FiveConvs": five_convs,
}
