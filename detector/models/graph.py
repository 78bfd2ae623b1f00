"""From rows with named wiring to layers in a fixed order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from detector.models.architecture import Row, Variant, nearest
from detector.models.blocks import Concat, Conv
from pipeline.core.errors import ConfigError

IMAGE = "image"
"""The name under which rows refer to the network's input."""


@dataclass(frozen=True)
class Node:
    """A value in the graph: what layer `index` gives (-1: the image), and its number of channels."""

    index: int
    channels: int


@dataclass(frozen=True)
class Layer:
    """A module, the dotted path under which the model holds it, and the layers whose outputs it takes."""

    path: str
    module: nn.Module
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One layer of a plan: afterwards nobody needs the outputs in `releases` any more."""

    layer: Layer
    index: int
    releases: tuple[int, ...]


LayerType = Callable[..., Node]
"""A row type: takes the builder, one Node per source and the row's settings, adds layers, gives the last one's Node."""


class GraphBuilder:
    """Collects the layers of one model.

    Args:
        variant: activation and scaling, which apply to every layer.
        numbered: True: paths are `model.0`, `model.1`, ... as in YOLOv7's weight files. False: they are the row names,
            as in YOLOX's; a row of several layers counts them below its name.
    """

    def __init__(self, variant: Variant, *, numbered: bool) -> None:
        self.activation = variant.activation
        self.depthwise = variant.depthwise
        self._variant = variant
        self._numbered = numbered
        self._row_name = ""
        self._nodes: dict[str, Node] = {IMAGE: Node(-1, 3)}
        self.layers: list[Layer] = []

    def width(self, channels: int) -> int:
        """Channels after scaling."""
        return int(channels * self._variant.width)

    def depth(self, n_blocks: int) -> int:
        """Number of repeated blocks after scaling, 1 or more."""
        return max(round(n_blocks * self._variant.depth), 1)

    @property
    def next_path(self) -> str:
        """Path of the layer after the last one, where layers are numbered."""
        return f"model.{len(self.layers)}"

    def add(self, module: nn.Module, sources: Iterable[Node], channels: int, *, child: int | None = None) -> Node:
        """Append a layer.

        Args:
            module: called with one tensor per source.
            sources: where the tensors come from.
            channels: of its output.
            child: its number below the row's name, in a row of several layers.
        """
        path = self._row_name if child is None else f"{self._row_name}.{child}"
        if self._numbered:
            path = self.next_path
        self.layers.append(Layer(path, module, tuple(node.index for node in sources)))
        return Node(len(self.layers) - 1, channels)

    def conv(self, source: Node, channels: int, kernel: int = 1, stride: int = 1, *, child: int | None = None) -> Node:
        """Append convolution + norm + activation; `channels` are final, not scaled."""
        module = Conv(source.channels, channels, kernel, stride, activation=self.activation)
        return self.add(module, [source], channels, child=child)

    def concat(self, sources: Sequence[Node]) -> Node:
        """Append a concatenation in the given order."""
        return self.add(Concat(), sources, sum(node.channels for node in sources))

    def name(self, suffix: str, node: Node) -> None:
        """Let later rows refer to an inner layer of the present row as `row.suffix`."""
        self._nodes[f"{self._row_name}.{suffix}"] = node

    def add_rows(self, rows: Iterable[Row], layer_types: Mapping[str, LayerType], origin: str) -> None:
        """Append the layers of the rows.

        Args:
            rows: lines of the layer table.
            layer_types: what each type stands for; nothing else is allowed.
            origin: what error texts call the table.

        Raises:
            ConfigError: an unknown type, wiring to a name that is not above, a name used twice, or wrong settings.
        """
        for row in rows:
            place = f"{origin}: layer {row.name!r}"
            if row.name in self._nodes:
                raise ConfigError(f"{place}: wanted a new name, found one that is taken; rename the row")
            if row.type not in layer_types:
                raise ConfigError(
                    f"{place}: wanted a known layer type, found {row.type!r}; {nearest(row.type, layer_types)}"
                )
            layer_type = layer_types[row.type]
            sources = self.find(row.sources, place)
            try:
                inspect.signature(layer_type).bind(self, *sources, **row.settings)
            except TypeError as error:
                raise ConfigError(f"{place}: wrong number of inputs or settings for {row.type}: {error}") from error
            self._row_name = row.name
            self._nodes[row.name] = layer_type(self, *sources, **row.settings)

    def find(self, names: Iterable[str], place: str) -> list[Node]:
        """The nodes of the names.

        Raises:
            ConfigError: a name that no row so far has; tells the nearest.
        """
        nodes = []
        for name in names:
            if name not in self._nodes:
                raise ConfigError(
                    f"{place}: wanted the name of a row above it, found {name!r}; {nearest(name, self._nodes)}"
                )
            nodes.append(self._nodes[name])
        return nodes


def plan(layers: Sequence[Layer], outputs: Sequence[int]) -> tuple[Step, ...]:
    """The layers that the outputs depend on, in order; each tensor is let go after its last use."""
    needed = set(outputs)
    for index in range(len(layers) - 1, -1, -1):
        if index in needed:
            needed.update(layers[index].sources)
    last_use: dict[int, int] = {}
    for index in sorted(needed - {-1}):
        last_use.update(dict.fromkeys(layers[index].sources, index))
    return tuple(
        Step(
            layers[index],
            index,
            tuple(node for node, last in last_use.items() if last == index and node not in outputs),
        )
        for index in sorted(needed - {-1})
    )


def run_plan(steps: Iterable[Step], images: torch.Tensor, outputs: Iterable[int]) -> list[torch.Tensor]:
    """Run the layers on (b, 3, h, w) images; gives the tensors of the nodes in `outputs`."""
    values = {-1: images}
    for step in steps:
        values[step.index] = step.layer.module(*[values[source] for source in step.layer.sources])
        for node in step.releases:
            del values[node]
    return [values[node] for node in outputs]


def hang(root: nn.Module, path: str, module: nn.Module) -> None:
    """Make `module` the sub-module of `root` at a dotted path, with empty modules in between where none are."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(leaf, module)
