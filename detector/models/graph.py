"""From rows to a module: a network is a list of layers, each with the layers that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from detector.models.heads import YoloV7Head, YoloxHead
from detector.preprocess import Preprocess
from pipeline.core.errors import ConfigError, ShapeError

Head = YoloV7Head | YoloxHead

IMAGE = -1
"""Number of the input image among the values that layers read."""


@dataclass(frozen=True, slots=True)
class Value:
    """What a layer computes: its number, its channels, and how many px of the image one of its cells covers."""

    number: int
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: the path of its module, the values that it reads, and whether only auxiliary levels need it."""

    path: str
    inputs: tuple[int, ...]
    aux: bool


class Builder:
    """Collects layers while rows are read.

    Args:
        activation: default of all convolutions.
        form: `training` or `deploy`.
        num_classes: nc.
        depth: multiplier of repetitions (compound scaling).
        width: multiplier of channels (compound scaling).
        depthwise: depthwise separable 3x3 convolutions.
    """

    def __init__(
        self,
        *,
        activation: str,
        form: str,
        num_classes: int,
        depth: float = 1.0,
        width: float = 1.0,
        depthwise: bool = False,
    ) -> None:
        self.activation = activation
        self.form = form
        self.num_classes = num_classes
        self.depthwise = depthwise
        self.modules = nn.Module()
        self.layers: list[Layer] = []
        self.values: list[Value] = []
        self.named: dict[str, Value] = {}
        self.aux = False
        """Whether the layers that are added now serve auxiliary levels only."""
        self.path: str | None = None
        """Path of the modules that are added now; None = `model.N`, N counting all layers."""
        self.head: tuple[str, Head, list[Value]] | None = None
        self._depth = depth
        self._width = width

    @property
    def last(self) -> Value:
        """What the latest layer computes; the image before the first one."""
        return self.values[-1] if self.values else Value(IMAGE, 3, 1)

    def channels(self, channels: int) -> int:
        """Channels after scaling."""
        return int(channels * self._width)

    def repeats(self, repeats: int) -> int:
        """Repetitions after scaling; at least 1."""
        return max(round(repeats * self._depth), 1)

    def add(self, module: nn.Module, *inputs: Value, channels: int, stride: float = 1) -> Value:
        """Append a layer.

        Args:
            module: computes it; takes the inputs in this order.
            inputs: what it reads.
            channels: how many channels it gives.
            stride: what it divides the resolution by (0.5 doubles it).

        Raises:
            ConfigError: the inputs differ in resolution.
        """
        if len({value.stride for value in inputs}) != 1:
            raise ConfigError(f"wanted inputs of one resolution, found strides {[value.stride for value in inputs]}")
        path = self.path or f"model.{len(self.layers)}"
        _attach(self.modules, path, module)
        self.layers.append(Layer(path, tuple(value.number for value in inputs), self.aux))
        self.values.append(Value(len(self.values), channels, round(inputs[0].stride * stride)))
        return self.values[-1]

    def add_head(self, head: Head, maps: Sequence[Value]) -> None:
        """Set the head and the maps that it reads, lead levels first. Raises ConfigError for a second head."""
        if self.head is not None:
            raise ConfigError("wanted one head, found a second one")
        path = self.path or f"model.{len(self.layers)}"
        _attach(self.modules, path, head)
        self.head = (path, head, list(maps))

    def find(self, name: str) -> Value:
        """The value of an earlier row by its name. Raises ConfigError."""
        if name not in self.named:
            raise ConfigError(f"wanted the name of an earlier row, found {name!r}; there are {', '.join(self.named)}")
        return self.named[name]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a network before it runs; see DetectionModel's attributes of the same names."""

    name: str
    family: str
    form: str
    num_classes: int
    default_hw: tuple[int, int]
    preprocess: Preprocess


class DetectionModel(nn.Module):
    """A detector network.

    In evaluation it gives decoded boxes, float32 (b, k, 5 + nc): cx, cy, w, h px, objectness and class probabilities.
    In training mode it gives raw maps, lead levels first and auxiliary ones behind them, for the losses.

    Attributes:
        name: of `available_models()`.
        family: `yolov7` or `yolox`.
        form: `training` or `deploy`; the same graph for YOLOX.
        num_classes: nc.
        strides: px per cell of each lead level.
        max_stride: what height and width of the input must be multiples of.
        default_hw: height and width of the input it was designed for, px.
        preprocess: `yolov7` (RGB in 0..1, centred letterbox) or `yolox` (BGR in 0..255, letterbox in the corner).

    Raises:
        ConfigError: the rows had no head.
    """

    def __init__(self, info: ModelInfo, built: Builder) -> None:
        super().__init__()
        if built.head is None:
            raise ConfigError(f"{info.name}: wanted a row that is a head, found none")
        self._head_path, head, maps = built.head
        self.name = info.name
        self.family = info.family
        self.form = info.form
        self.num_classes = info.num_classes
        self.default_hw = info.default_hw
        self.preprocess: Preprocess = info.preprocess
        self.strides: tuple[int, ...] = head.strides
        self.max_stride = max(value.stride for value in built.values)
        for name, module in built.modules.named_children():
            self.add_module(name, module)
        self._layers = built.layers
        self._maps = [value.number for value in maps]
        self._map_channels = tuple(value.channels for value in maps[: len(head.strides)])

    @property
    def detection_head(self) -> Head:
        """The head module."""
        head: Head = self.get_submodule(self._head_path)  # type: ignore[assignment]
        return head

    @property
    def anchors(self) -> torch.Tensor | None:
        """Anchors (levels, na, 2) in px, or None for an anchor-free head."""
        head = self.detection_head
        return head.anchors_px if isinstance(head, YoloV7Head) else None

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Boxes in evaluation, raw maps in training mode.

        Args:
            images: float (b, 3, h, w); see `preprocess` for the range.

        Raises:
            ShapeError: height or width is no multiple of `max_stride`.
        """
        raws = self.raw(images)
        return raws if self.training else self.detection_head.decode(raws)

    def raw(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Raw maps of all lead levels, and of the auxiliary ones if the head is in training mode.

        Raises:
            ShapeError: height or width is no multiple of `max_stride`.
        """
        return self.detection_head.raw(self.maps(images))

    def logits(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits (b, na * (5 + nc), ny, nx) per lead level, not decoded and not moved: `raw` in the head's own layout.

        Raises:
            ShapeError: height or width is no multiple of `max_stride`.
        """
        return self.detection_head.logits(self.maps(images))

    @property
    def map_channels(self) -> tuple[int, ...]:
        """Channels of what the head reads at each lead level."""
        return self._map_channels

    def maps(self, images: torch.Tensor) -> list[torch.Tensor]:
        """What the head reads: (b, c, ny, nx) of all lead levels, and of the auxiliary ones if it is in training mode.

        Raises:
            ShapeError: height or width is no multiple of `max_stride`.
        """
        height, width = images.shape[2:]
        if height % self.max_stride or width % self.max_stride:
            raise ShapeError(
                f"{self.name}: wanted height and width in multiples of {self.max_stride}, found {height}x{width}"
            )
        head = self.detection_head
        with_aux = head.training and head.has_aux
        maps = self._maps if with_aux else self._maps[: len(self.strides)]
        last_reader = self._last_readers(maps, with_aux)
        values = {IMAGE: images}
        for number, layer in enumerate(self._layers):
            if layer.aux and not with_aux:
                continue
            values[number] = self.get_submodule(layer.path)(*(values[i] for i in layer.inputs))
            for i in layer.inputs:
                if last_reader[i] == number:
                    values.pop(i, None)  # let its memory go; a layer may read a value twice
        return [values[i] for i in maps]

    def _last_readers(self, maps: Sequence[int], with_aux: bool) -> dict[int, int]:
        """For each value the number of the last layer that reads it; the head comes behind all layers."""
        last: dict[int, int] = {}
        for number, layer in enumerate(self._layers):
            if not layer.aux or with_aux:
                last.update(dict.fromkeys(layer.inputs, number))
        last.update(dict.fromkeys(maps, len(self._layers)))
        return last

    def drop_aux(self) -> None:
        """Take out the layers that only auxiliary levels read."""
        for layer in self._layers:
            if layer.aux:
                _attach(self, layer.path, nn.Identity())


def _attach(root: nn.Module, path: str, module: nn.Module) -> None:
    """Register a module at a dotted path, with plain modules in between."""
    *parents, name = path.split(".")
    for parent in parents:
        child = root._modules.get(parent)
        if child is None:
            child = nn.Module()
            root.add_module(parent, child)
        root = child
    root.add_module(name, module)
