"""From the settings of a run to what it works with: labels, network, anchors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from detector.checkpoint import LoadedCheckpoint, load_checkpoint
from detector.data.read import read_training_set
from detector.data.report import Report
from detector.data.training_set import TrainingSet
from detector.models import DetectionModel, build_model
from detector.train.anchors import AnchorCheck, box_sizes, checked_anchors, set_anchors
from detector.train.config import FROM_SCRATCH, TrainConfig
from detector.train.transfer import TransferReport, transfer_weights
from detector.zoo import resolve_weights
from pipeline.core.errors import ConfigError, DatasetError


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """The data of a run, and what was found wrong with it."""

    train: TrainingSet
    val: TrainingSet
    reports: dict[str, Report]


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """The network of a run at its start, in training form.

    Attributes:
        side: of its input, px.
        transfer: what came from other weights, if any did.
        anchors: how well they reach the boxes, where it has any.
    """

    model: DetectionModel
    side: int
    transfer: TransferReport | None
    anchors: AnchorCheck | None


def read_labels(config: TrainConfig) -> Labels:
    """Both splits, checked.

    Raises:
        DatasetError: they cannot be read, or something is wrong with them and `bad_items` is stop.
    """
    if config.data.suffix.lower() == ".json":
        raise DatasetError(
            f"{config.data}: wanted a data.yaml that names train and val, found a COCO .json, which is one split; "
            f"write one with the lines 'train: {config.data.name}' and 'val: <another>.json'"
        )
    reports: dict[str, Report] = {}
    sets: list[TrainingSet] = []
    for split in (config.train_split, config.val_split):
        found, reports[split] = read_training_set(config.data, split, bad_items=config.bad_items)
        sets.append(found)
    train, val = sets
    if train.class_names != val.class_names:
        raise DatasetError(
            f"{config.data}: wanted the same classes in both splits, found {', '.join(train.class_names)} "
            f"and {', '.join(val.class_names)}"
        )
    return Labels(train, val, reports)


def build_network(config: TrainConfig, train: TrainingSet) -> Network:
    """The network with the weights that the run starts from.

    Raises:
        CheckpointError: the weights cannot be had, read or used.
        ConfigError: neither weights nor the name of a network.
    """
    source = _start_weights(config)
    if source is None and config.model is None:
        raise ConfigError("model: wanted the name of a network, as no weights are given; see `tracklight models`")
    name = config.model or (source.header.model if source else "")
    torch.manual_seed(config.seed)
    model = build_model(name, num_classes=len(train.class_names), form="training")
    side = config.img_size or max(source.input_hw if source else model.default_hw)
    side = -(-side // model.max_stride) * model.max_stride
    transfer = transfer_weights(model, train.class_names, source) if source else None
    anchors = None
    if model.anchors is not None:
        if source is None:
            # The anchors of the rows are meant for the network's own input size.
            set_anchors(model, (model.anchors * (side / max(model.default_hw))).numpy())
        anchors = checked_anchors(
            model, box_sizes(train.images, (side, side)), seed=config.seed, least_recall=config.anchor_recall
        )
    return Network(model, side, transfer, anchors)


def _start_weights(config: TrainConfig) -> LoadedCheckpoint | None:
    if config.weights.lower() == FROM_SCRATCH:
        return None
    return load_checkpoint(resolve_weights(config.weights))
