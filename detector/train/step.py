"""One batch: forward, loss, backward, and the optimiser step when enough batches are summed up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from detector.data.loader import Batch
from detector.preprocess import Preprocess
from detector.train.distil import ImitatingNetwork, Teacher
from detector.train.ema import ModelEma
from detector.train.loss_yolov7 import YoloV7Loss
from detector.train.loss_yolox import YoloxLoss
from detector.train.optimiser import apply
from detector.train.schedule import StepSettings
from detector.train.targets import Loss, Targets

DetectionLoss = YoloV7Loss | YoloxLoss

AUTOCAST = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a step computes.

    Attributes:
        precision: fp32, bf16 or fp16 (with loss scaling, on a GPU).
        channels_last: NHWC memory layout of the images.
    """

    precision: str
    channels_last: bool


class NonFiniteLoss(ArithmeticError):
    """The loss of a batch is no number."""

    def __init__(self, parts: dict[str, float]) -> None:
        super().__init__(", ".join(f"{name} {value:g}" for name, value in parts.items()))


class Stepper:
    """Trains a network batch by batch.

    Args:
        network: the detector, or an ImitatingNetwork around it; perhaps wrapped for several GPUs.
        loss: of its raw maps.
        optimiser: with groups of `build_optimiser`.
        ema: the average that follows.
        arithmetic: precision and memory layout.
        clip_grad_norm: longest gradient, 0 = any.
        teacher: whose features an ImitatingNetwork imitates.
        world: processes that train together; their gradients are averaged, so the loss is multiplied by this.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: DetectionLoss,
        optimiser: Optimizer,
        ema: ModelEma,
        *,
        arithmetic: Arithmetic,
        clip_grad_norm: float = 0.0,
        teacher: Teacher | None = None,
        world: int = 1,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimiser = optimiser
        self.ema = ema
        self._inner = network.module if isinstance(network, DistributedDataParallel) else network
        self._device = next(network.parameters()).device
        self._dtype = AUTOCAST[arithmetic.precision]
        self._scaler = torch.amp.GradScaler(self._device.type, enabled=arithmetic.precision == "fp16")
        self._layout = torch.channels_last if arithmetic.channels_last else torch.contiguous_format
        self._preprocess = ema.model.preprocess
        self._clip = clip_grad_norm
        self._teacher = teacher
        self._world = world
        self._summed = 0

    def step(
        self, batch: Batch, settings: StepSettings, *, last: bool, side_scale: float = 1.0, stride: int = 32
    ) -> Loss:
        """Learn from one batch.

        Args:
            batch: from the loader.
            settings: learning rates of this step, and how many batches make one optimiser step.
            last: no batch follows in this epoch, so what is summed up is used.
            side_scale: resize the batch by this first (multi-scale training), to multiples of `stride`.
            stride: of the network.

        Raises:
            NonFiniteLoss: before anything was changed by this batch.
        """
        images = network_input(batch.images, self._device, self._preprocess, self._layout)
        targets = batch.targets.to(self._device)
        if side_scale != 1:
            images, targets = resized(images, targets, side_scale, stride)
        apply(self.optimiser, settings)
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs = self.network(images)
        loss = self._loss_of(outputs, images, targets)
        if not bool(torch.isfinite(loss.total.detach())):
            raise NonFiniteLoss({name: float(value) for name, value in loss.parts.items()})
        self._scaler.scale(loss.total * self._world).backward()
        self._summed += 1
        if last or self._summed >= settings.accumulate:
            self._update()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """All that changes from step to step, but for the student's own weights."""
        return {
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self._scaler.state_dict(),
            "balance": list(self.loss.balance) if isinstance(self.loss, YoloV7Loss) else [],
            "adapters": self._adapters().state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self.ema.load_state_dict(state["ema"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._scaler.load_state_dict(state["scaler"])
        self._adapters().load_state_dict(state["adapters"])
        if isinstance(self.loss, YoloV7Loss):
            self.loss.balance = list(state["balance"])

    def _adapters(self) -> nn.Module:
        """From the student's features to the teacher's; empty without a teacher."""
        return self._inner.adapters if isinstance(self._inner, ImitatingNetwork) else nn.ModuleList()

    def _loss_of(self, outputs: Any, images: torch.Tensor, targets: Targets) -> Loss:
        if self._teacher is None:
            return self.loss(outputs, targets)
        raws, features = outputs
        loss = self.loss(raws, targets)
        imitation = self._teacher.loss(features, images)
        # The YOLOv7 loss is per image and then multiplied by the batch; that of YOLOX is not.
        share = imitation * (len(images) if isinstance(self.loss, YoloV7Loss) else 1)
        return Loss(loss.total + share, {**loss.parts, "teacher": imitation.detach()})

    def _update(self) -> None:
        if self._clip:
            self._scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        student = self._inner.student if isinstance(self._inner, ImitatingNetwork) else self._inner
        self.ema.update(student)  # type: ignore[arg-type]
        self._summed = 0


def network_input(
    images: torch.Tensor, device: torch.device, preprocess: Preprocess, layout: torch.memory_format
) -> torch.Tensor:
    """uint8 (b, 3, h, w) BGR as the floats that a network takes; bytes travel to the device, not floats."""
    images = images.to(device, non_blocking=True)
    if preprocess == "yolov7":
        return images.flip(1).to(torch.float32, memory_format=layout).div_(255)
    return images.to(torch.float32, memory_format=layout)


def resized(images: torch.Tensor, targets: Targets, scale: float, stride: int) -> tuple[torch.Tensor, Targets]:
    """A batch at another size, its sides rounded to multiples of `stride`."""
    height, width = images.shape[2:]
    new_hw = [max(stride, round(side * scale / stride) * stride) for side in (height, width)]
    factor = targets.boxes.new_tensor([new_hw[1] / width, new_hw[0] / height])
    images = functional.interpolate(images, new_hw, mode="bilinear", align_corners=False)
    boxes, regions = targets.boxes.clone(), targets.regions.clone()
    boxes[:, 2:] *= factor.repeat(2)
    regions[:, 1:] *= factor.repeat(2)
    return images, Targets(boxes, regions, targets.region_classes)


def choose_precision(precision: str, device: torch.device) -> str:
    """What `auto` means here: bf16 where the processor multiplies it in hardware, otherwise fp32."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    has_bf16: Callable[[], bool] = torch.ops.mkldnn._is_mkldnn_bf16_supported
    return "bf16" if has_bf16() else "fp32"
