"""Untrained weights that behave like trained ones, for measuring speed where no published file can be had.

    python tests/benchmarks/stand_in_weights.py clip.mp4 out.safetensors [--model yolov7-tiny]

Time hardly depends on what weights hold, but suppression, tracking and drawing cost what there is to find, and int8
needs activations of ordinary ranges. So: seeded random weights, in kernels that look at areas more than at edges,
so that boxes last from frame to frame; batch statistics taken from frames of the clip, as in training; outputs of the
last convolutions scaled to an ordinary spread; and one number added to every objectness, the one for which these frames
give N_BOXES boxes each on average. What the boxes show is chance, and the same every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

from detector.checkpoint import default_class_names, save_checkpoint
from detector.models import DetectionModel, build_model
from detector.models.heads import YoloV7Head
from detector.nms import NmsSettings, non_max_suppression
from detector.preprocess import make_batches, to_planes
from pipeline.benchmark.shared_stages import first_frames

N_BOXES = 12
"""Per frame, at confidence 0.25 and IoU 0.45."""
_SPREAD = {"box": 0.7, "objectness": 4.0, "class": 1.5}
"""Standard deviation of the logits over all cells. Objectness: so wide that many of the few boxes are beyond 0.6."""
_CLASS_MEAN = 0.0
_EVEN = 0.9
"""Share of a kernel's mean over its cells in each of them."""


def make_weights(clip: Path, target: Path, name: str = "yolov7-tiny", side_px: int = 640) -> Path:
    """Write the weights of an anchor-based network, for 80 classes; the same for the same clip."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=80)
    _, images = first_frames(clip, 64)
    batches = make_batches(images[::8], (side_px, side_px), model.preprocess, stride=model.max_stride)
    planes = to_planes(torch.from_numpy(batches[0].canvases), model.preprocess)
    with torch.no_grad():
        _smooth_kernels(model)
        _take_batch_statistics(model, planes)
        _scale_outputs(model, planes)
    text = "untrained: for measuring speed only (tests/benchmarks/stand_in_weights.py)"
    save_checkpoint(target, model, default_class_names(80), input_hw=(side_px, side_px), provenance={"made_from": text})
    return target


def _smooth_kernels(model: DetectionModel) -> None:
    """Let convolutions look at areas more than at edges: what noise alone makes does not last from frame to frame."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
            even = module.weight.mean((2, 3), keepdim=True)
            module.weight.copy_(_EVEN * even + (1 - _EVEN) * module.weight)


def _take_batch_statistics(model: DetectionModel, planes: torch.Tensor) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    model.train()
    model(planes)
    model.eval()


def _scale_outputs(model: DetectionModel, planes: torch.Tensor) -> None:
    head = model.detection_head
    if not isinstance(head, YoloV7Head):
        raise SystemExit("stand_in_weights: wanted an anchor-based network, such as yolov7-tiny")
    spread = torch.full((head.num_outputs,), _SPREAD["class"])
    spread[:4], spread[4] = _SPREAD["box"], _SPREAD["objectness"]
    mean = torch.full((head.num_outputs,), _CLASS_MEAN)
    mean[:5] = 0.0
    for conv, raw in zip(head.m, model.raw(planes), strict=False):
        flat = raw.permute(1, 4, 0, 2, 3).flatten(2)
        factor = (spread / flat.std(2)).flatten()
        offset = (mean - spread * flat.mean(2) / flat.std(2)).flatten()
        conv.weight.mul_(factor.view(-1, 1, 1, 1))
        conv.bias.copy_(conv.bias * factor + offset)
    shift = _shift_for(head, model.raw(planes))
    for conv in head.m:
        conv.bias.view(head.num_anchors, -1)[:, 4] += shift


def _shift_for(head: YoloV7Head, raws: list[torch.Tensor]) -> float:
    """What to add to objectness so that N_BOXES are found per image, by halving an interval."""
    low, high = -100.0, 0.0
    for _ in range(24):
        middle = (low + high) / 2
        moved = [raw.clone() for raw in raws]
        for raw in moved:
            raw[..., 4] += middle
        kept = non_max_suppression(head.decode(moved), NmsSettings())
        if sum(len(boxes.xyxy) for boxes in kept) > N_BOXES * len(kept):
            high = middle
        else:
            low = middle
    return low


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write weights for measuring speed.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--model", default="yolov7-tiny")
    arguments = parser.parse_args()
    print(make_weights(arguments.clip, arguments.target, arguments.model))
