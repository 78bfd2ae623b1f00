"""The detector: letterbox, network, non-maximum suppression, boxes in the pixels of the frame."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import BackendName, Precision
from detector.letterbox import round_up_to_stride
from detector.nms import Kept, NmsSettings, non_max_suppression
from detector.open_network import OpenedNetwork, Wanted, open_network
from detector.postprocess import boxes_of_maps, boxes_of_rows
from detector.preprocess import Batch, CanvasMemory, each_batch
from detector.zoo import DEFAULT_WEIGHTS
from pipeline.core.arrays import ImageArray, read_only
from pipeline.core.class_names import class_ids
from pipeline.core.detections import Detections
from pipeline.core.errors import ConfigError
from pipeline.core.frame import Frame

_log = logging.getLogger(__name__)

MAX_SIDE_PX = 8192
"""Beyond this an input size is a slip of the finger: one frame would take gigabytes."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DetectorConfig:
    """Which network, where it runs, and which of its boxes count."""

    weights: str = Field(default=DEFAULT_WEIGHTS, description="a weight file, or a name from `tracklight models`")
    weights_sha256: str | None = Field(
        default=None, pattern="^[0-9a-fA-F]{64}$", description="digest that the weight file must have"
    )
    img_size: int | tuple[int, int] | None = Field(
        default=None, description="side of the input, or height and width (px); None = what the weights are meant for"
    )
    conf_thres: float = Field(default=0.25, ge=0, le=1, description="boxes above this confidence count")
    iou_thres: float = Field(
        default=0.45, ge=0, le=1, description="a box that overlaps a better one by more is dropped"
    )
    classes: tuple[str | int, ...] = Field(
        default=(), description="names or numbers of the classes to find; empty = all"
    )
    agnostic_nms: bool = Field(default=False, description="boxes of different classes drop each other too")
    multi_label: bool = Field(default=False, description="one place may give boxes of several classes")
    max_det: int = Field(default=300, ge=1, description="most boxes per frame")
    max_candidates: int = Field(default=30_000, ge=1, description="most candidates per frame that are compared")
    backend: Literal["auto"] | BackendName = Field(
        default="auto",
        description="eager, onnxruntime, openvino, tensorrt; auto = the fastest here (it says so)",
    )
    precision: Literal["auto"] | Precision = Field(
        default="auto", description="fp32, bf16, fp16, int8; auto = by device and file (it says so)"
    )
    device: str = Field(default="auto", description="auto (a GPU if there is one), cpu, cuda, cuda:1, 0")
    threads: int | None = Field(default=None, ge=1, description="CPU threads; None = the runtime's choice")
    rect: bool = Field(default=True, description="pad only as far as the stride asks, not to a square")


class YoloDetector:
    """Finds objects in frames with a YOLOv7 or YOLOX network. Up to `n_parallel` threads may call `detect` at once.

    Args:
        config: see DetectorConfig.
        network: runs in place of the one that `config` names; for one that is in no file, such as one in training.

    Raises:
        CheckpointError: the weights cannot be had or read.
        BackendError: the device or runtime cannot do what is asked.
        ConfigError: a class that the weights do not know, or an image size that cannot be.

    Attributes:
        n_truncated: candidates left out so far because a frame had more than `max_candidates`.
    """

    def __init__(self, config: DetectorConfig | None = None, *, network: OpenedNetwork | None = None) -> None:
        self._config = config = config or DetectorConfig()
        self._backend, self._class_names, input_hw, self._preprocess = network or network_for(config)
        spec = self._backend.io_spec
        self._limit_hw = _limit_hw(config.img_size, input_hw, spec.stride, spec.fixed_hw)
        self._settings = NmsSettings(
            conf_thres=config.conf_thres,
            iou_thres=config.iou_thres,
            class_ids=class_ids(config.classes, self._class_names) if config.classes else None,
            agnostic=config.agnostic_nms,
            multi_label=config.multi_label,
            max_det=config.max_det,
            max_candidates=config.max_candidates,
            objectness_only=self._preprocess == "yolov7" and len(self._class_names) == 1,
        )
        self._memory = CanvasMemory(pinned=self._backend.device.type == "cuda")
        self.n_truncated = 0
        self._counting = threading.Lock()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by class_id: those of the weights, also where `classes` restricts what is found."""
        return self._class_names

    @property
    def n_parallel(self) -> int:
        """How many threads may call `detect` at once."""
        return self._backend.io_spec.n_parallel

    @property
    def input_hw(self) -> tuple[int, int]:
        """Largest height and width that a frame is resized to, px."""
        return self._limit_hw

    def warmup(self) -> None:
        """Run once on a grey frame, so that the first real one does not pay for allocation and compilation.

        Nothing is run where each shape is compiled for itself and the frames' shape is not known yet: a square would be
        compiled that hardly any source has, at the cost of its time and memory.
        """
        spec = self._backend.io_spec
        if spec.compiles_shapes and spec.fixed_hw is None and self._config.rect:
            return
        height, width = self._limit_hw
        self.detect_images([np.full((height, width, 3), 114, np.uint8)])

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Boxes of each frame, in its own pixels and cut at its borders, by falling confidence.

        Raises:
            BackendError: the runtime failed.
        """
        return self.detect_images([frame.image for frame in frames])

    def detect_images(self, images: Sequence[ImageArray]) -> list[Detections]:
        """The same for plain images: uint8 (h, w, 3), BGR, of any sizes.

        Raises:
            ShapeError: an image of another kind.
            BackendError: the runtime failed.
        """
        checked = [read_only("image", image, np.uint8, (None, None, 3)) for image in images]
        found = [Detections.empty()] * len(checked)
        spec = self._backend.io_spec
        stride = spec.stride if self._config.rect and spec.fixed_hw is None else None
        for batch in each_batch(
            checked, self._limit_hw, self._preprocess, self._memory, stride=stride, max_batch=spec.max_batch
        ):
            for row, detections in zip(batch.rows, self._run(batch), strict=True):
                found[row] = detections
        return found

    def close(self) -> None:
        """Release the network. Idempotent."""
        self._backend.close()

    def _run(self, batch: Batch) -> list[Detections]:
        kept = self._kept(self._backend.infer(torch.from_numpy(batch.canvases)))
        self._count_truncated(kept)
        return [
            Detections(letterbox.to_image(boxes.xyxy), boxes.confidence, boxes.class_id)
            for letterbox, boxes in zip(batch.letterboxes, kept, strict=True)
        ]

    def _kept(self, output: Any) -> list[Kept]:
        spec, head = self._backend.io_spec, self._backend.head
        if head is not None:
            return boxes_of_maps(output, head, self._settings)
        if spec.output == "boxes":
            return boxes_of_rows(output, self._settings)
        return non_max_suppression(output, self._settings)

    def _count_truncated(self, kept: list[Kept]) -> None:
        truncated = sum(boxes.n_truncated for boxes in kept)
        if not truncated:
            return
        with self._counting:
            first = self.n_truncated == 0
            self.n_truncated += truncated
        if first:
            _log.warning(
                "a frame has %d candidates above conf_thres %g, of which the %d best are compared; said once",
                truncated + self._settings.max_candidates,
                self._settings.conf_thres,
                self._settings.max_candidates,
            )


def network_for(config: DetectorConfig) -> OpenedNetwork:
    """The network that a configuration names, opened; see YoloDetector for what is raised."""
    wanted = Wanted(config.backend, config.precision, config.device, config.threads)
    return open_network(config.weights, config.weights_sha256, wanted)


def _limit_hw(
    img_size: int | tuple[int, int] | None, input_hw: tuple[int, int], stride: int, fixed_hw: tuple[int, int] | None
) -> tuple[int, int]:
    wanted = input_hw if img_size is None else (img_size, img_size) if isinstance(img_size, int) else img_size
    if min(wanted) < stride:
        raise ConfigError(f"img_size: wanted at least the network's stride of {stride} px, found {wanted}")
    if max(wanted) > MAX_SIDE_PX:
        raise ConfigError(f"img_size: wanted at most {MAX_SIDE_PX} px, found {wanted}")
    height, width = (round_up_to_stride(side, stride) for side in wanted)
    if (height, width) != tuple(wanted):
        _log.info("img_size %s is no multiple of the stride %d; running at %s", wanted, stride, (height, width))
    if fixed_hw is not None and img_size is not None and (height, width) != fixed_hw:
        raise ConfigError(f"img_size: this file runs at {fixed_hw} (h, w) only, found {wanted}; leave it out")
    return fixed_hw or (height, width)
