"""What a training run is told. configs/train holds the published settings and two short ones."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.data.augment import AugmentConfig
from detector.train.loss_yolov7 import YoloV7LossConfig
from detector.train.optimiser import OptimiserName
from detector.train.schedule import Schedule

Precision = Literal["auto", "fp32", "bf16", "fp16"]
FROM_SCRATCH = "none"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", protected_namespaces=()))
class TrainConfig:
    """One training run."""

    data: Path = Field(description="data.yaml, or Pascal VOC folder")
    weights: str = Field(
        "street", description="what to start from: a file, a name of the zoo, or none for fresh weights"
    )
    model: str | None = Field(default=None, description="network, from `tracklight models`; None = that of the weights")
    train_split: str = Field(default="train", description="split to train on")
    val_split: str = Field(default="val", description="split to validate on")
    epochs: int = Field(default=100, ge=1, description="passes over the training split")
    batch_size: int = Field(default=16, ge=1, description="images per step, all processes together")
    img_size: int | None = Field(
        default=None, ge=32, le=8192, description="side of the input (px); None = as the weights"
    )
    rect: bool = Field(default=False, description="rectangular batches of like aspect; no mosaics then")
    multi_scale: tuple[float, float] = Field(default=(1.0, 1.0), description="range of the input size by batch")
    repeat_rare: float = Field(
        default=0.0, ge=0, le=1, description="classes in a smaller share of the pictures are shown more often"
    )
    workers: int = Field(default=2, ge=0, description="processes that decode and augment")
    cache: bool = Field(default=True, description="keep decoded pictures")
    bad_items: Literal["drop", "stop"] = Field(
        "drop", description="what to do about pictures and labels that are wrong"
    )
    device: str = Field(default="auto", description="auto (a GPU if there is one), cpu, cuda, cuda:1")
    precision: Precision = Field(default="auto", description="auto = bf16 where the processor has it, otherwise fp32")
    channels_last: bool = Field(default=True, description="NHWC memory layout")
    sync_bn: bool = Field(default=False, description="batch statistics over all GPUs")
    seed: int = Field(default=0, ge=0, description="of everything random")
    freeze: int | tuple[str, ...] = Field(default=0, description="first layers, or modules, that stay as they are")
    optimiser: OptimiserName = Field(default="sgd", description="sgd or adamw")
    weight_decay: float = Field(default=5e-4, ge=0, description="of convolution weights, at the nominal batch")
    nesterov: bool = Field(default=True, description="whether SGD looks ahead")
    clip_grad_norm: float = Field(default=0.0, ge=0, description="longest gradient, 0 = any")
    schedule: Schedule = Field(default=Schedule(), description="learning rate and momentum over the run")
    yolox_schedule: bool = Field(default=False, description="YOLOX's warm-up and cosine in place of YOLOv7's")
    loss: YoloV7LossConfig = Field(default=YoloV7LossConfig(), description="weights of the YOLOv7 loss")
    augment: AugmentConfig = Field(default=AugmentConfig(), description="how pictures are changed")
    plain_epochs: int = Field(
        0, ge=0, description="last epochs without mosaic and mixing; YOLOX adds its L1 loss there"
    )
    ema_decay: float = Field(default=0.9999, ge=0, lt=1, description="of the averaged weights")
    ema_ramp: float = Field(default=2000.0, gt=0, description="steps until the average has its full length")
    teacher: str | None = Field(default=None, description="a trained network whose features are imitated: file or name")
    teacher_weight: float = Field(default=0.5, ge=0, description="of the imitation beside the loss of the labels")
    anchor_recall: float = Field(default=0.98, ge=0, le=1, description="anchors that reach fewer boxes are fitted anew")
    patience: int = Field(default=0, ge=0, description="stop after so many epochs without a better one, 0 = never")
    val_every: int = Field(default=1, ge=1, description="epochs from one validation to the next, and the last")
