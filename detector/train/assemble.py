"""From a network and the settings of a run to what trains it: loss, optimiser, average, teacher."""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from detector.checkpoint import load_checkpoint
from detector.models import DetectionModel
from detector.train.config import TrainConfig
from detector.train.distil import ImitatingNetwork, Teacher
from detector.train.distributed import Team
from detector.train.ema import ModelEma
from detector.train.loss_yolov7 import Assignment, YoloV7Loss
from detector.train.loss_yolox import YoloxLoss
from detector.train.optimiser import build_optimiser, freeze, scaled_weight_decay
from detector.train.step import AUTOCAST, Arithmetic, DetectionLoss, Stepper, choose_precision
from detector.zoo import resolve_weights
from pipeline.core.errors import ConfigError


def detection_loss(model: DetectionModel, config: TrainConfig, side: int, assignment: Assignment) -> DetectionLoss:
    """The loss of the network's family.

    Args:
        model: what is trained.
        config: of the run.
        side: of the network's input, px.
        assignment: of YOLOv7: `ota` to train with, `all` to tell after validation. YOLOX has one.
    """
    if model.anchors is None:
        return YoloxLoss(model.num_classes, model.strides, spared_score=config.loss.spared_score)
    scaled = config.loss.scaled(levels=len(model.strides), num_classes=model.num_classes, input_px=side)
    has_aux = model.detection_head.has_aux and assignment == "ota"
    return YoloV7Loss(scaled, model.anchors, model.strides, model.num_classes, assignment=assignment, has_aux=has_aux)


def build_stepper(model: DetectionModel, config: TrainConfig, side: int, device: torch.device, team: Team) -> Stepper:
    """What trains the network, which is on its device already.

    Raises:
        ConfigError: nothing is left to train, or the teacher does not fit.
        CheckpointError: the teacher cannot be had or read.
    """
    if config.freeze:
        freeze(model, config.freeze)
    precision = choose_precision(config.precision, device)
    trained: nn.Module = model
    teacher = None
    if config.teacher is not None:
        loaded = load_checkpoint(resolve_weights(config.teacher)).model
        teacher = Teacher(loaded, model, device, AUTOCAST[precision], config.teacher_weight)
        trained = ImitatingNetwork(model, teacher.channels).to(device)
    optimiser = build_optimiser(
        trained,
        name=config.optimiser,
        lr=config.schedule.lr,
        momentum=config.schedule.momentum,
        weight_decay=scaled_weight_decay(config.weight_decay, config.batch_size, config.schedule.nominal_batch),
        nesterov=config.nesterov,
    )
    if team.world > 1:
        # Said of 1x1 convolutions in channels-last layout, whose strides have two readings; the result is the same.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        trained = DistributedDataParallel(trained, device_ids=[device.index] if device.type == "cuda" else None)
    return Stepper(
        trained,
        detection_loss(model, config, side, "ota"),
        optimiser,
        ModelEma(model, config.ema_decay, config.ema_ramp),
        arithmetic=Arithmetic(precision, config.channels_last),
        clip_grad_norm=config.clip_grad_norm,
        teacher=teacher,
        world=team.world,
    )


def with_synchronised_norms(model: DetectionModel, device: torch.device) -> DetectionModel:
    """The network with batch statistics over all GPUs.

    Raises:
        ConfigError: on a CPU, where PyTorch has no such layer.
    """
    if device.type != "cuda":
        raise ConfigError("sync_bn: wanted CUDA devices, found the CPU; leave it out")
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)
