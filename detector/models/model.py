"""The network itself, and building one by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import torch
from torch import nn

from detector.models.architecture import Architecture, architecture_of
from detector.models.graph import GraphBuilder, Layer, hang, plan, run_plan
from detector.models.heads import AnchorHead, DecoupledHead, Head
from detector.models.layers import LAYER_TYPES
from pipeline.core.errors import ShapeError, UsageError

Form = Literal["training", "deploy"]
Family = Literal["yolov7", "yolox"]

_YOLOX_HEAD_CHANNELS = 256


class DetectionModel(nn.Module):
    """A detector: image in, boxes or raw maps out. Make one with `build_model`.

    In eval mode `model(images)` gives float32 (b, k, 5 + nc): cx, cy, w, h in px of the input, objectness and class
    probabilities in [0, 1]. In train mode it gives the raw maps, lead levels first, then auxiliary ones; a raw map holds
    logits x, y, w, h, objectness, classes and is (b, anchors, h, w, 5 + nc) in YOLOv7, (b, 5 + nc, h, w) in YOLOX.

    Attributes:
        name: see `available_models`.
        family: `yolov7` or `yolox`.
        form: `training` or `deploy`. In YOLOX they are the same.
        num_classes: nc.
        strides: px per cell of each level, finest first.
        max_stride: height and width of the input must be multiples of it.
        default_hw: height and width that the model is meant for, px.
        preprocess: `yolov7`: RGB in 0..1, picture centred on grey 114; `yolox`: BGR in 0..255, picture at the top left
            on grey 114.
        fused: whether it comes from `fuse`; it then only serves inference.
    """

    def __init__(  # noqa: PLR0913 facts of a model, given by build_model
        self,
        *,
        name: str,
        architecture: Architecture,
        form: Form,
        num_classes: int,
        layers: Sequence[Layer],
        head: Head,
        head_path: str,
        lead: Sequence[int],
        aux: Sequence[int],
    ) -> None:
        super().__init__()
        self.name = name
        self.family: Family = architecture.family
        self.form: Form = form
        self.num_classes = num_classes
        self.strides = architecture.strides
        self.max_stride = max(architecture.strides)
        self.default_hw = architecture.models[name].input_hw
        self.preprocess: Family = architecture.family
        self.fused = False
        for layer in layers:
            hang(self, layer.path, layer.module)
        hang(self, head_path, head)
        self._head_path = head_path
        self._lead, self._aux = tuple(lead), tuple(aux)
        self._lead_plan = plan(layers, self._lead)
        self._full_plan = plan(layers, self._lead + self._aux)

    @property
    def head(self) -> Head:
        """The last layer."""
        return cast("Head", self.get_submodule(self._head_path))
