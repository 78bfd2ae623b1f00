"""From what a backend gives to the boxes of each image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from detector import box_kernels
from detector.decode import decode_yolov7, decode_yolox
from detector.head_spec import HeadSpec
from detector.nms import Kept, NmsSettings
from detector.torch_boxes import places_of_maps
from pipeline.core.errors import ShapeError


def boxes_of_maps(maps: Sequence[torch.Tensor], head: HeadSpec, settings: NmsSettings) -> list[Kept]:
    """Boxes of each image from the logits of every level.

    Args:
        maps: per level (b, na * (5 + nc), ny, nx), floats on any device. Not modified.
        head: how they are read.
        settings: thresholds and limits. Confidence is the product of two sigmoids in float64, each rounded to float32;
            one that is equal to the threshold is left out. Of classes whose sigmoids round to the same number, the one
            of the largest logit counts.

    Raises:
        ShapeError: the maps are not what the head gives.
    """
    columns = head.num_anchors * (5 + head.num_classes)
    if [level.shape[:-2] for level in maps] != [(len(maps[0]), columns)] * len(head.strides):
        raise ShapeError(
            f"maps: wanted {len(head.strides)} of shape (b, {columns}, ny, nx), found {[tuple(m.shape) for m in maps]}"
        )
    if maps[0].is_cuda:
        return boxes_of_device_maps(maps, head, settings)
    arrays = [level.detach().float().numpy() for level in maps]
    return [Kept(*boxes) for boxes in box_kernels.DEFAULT.boxes_of_maps(arrays, head, settings)]


def boxes_of_device_maps(maps: Sequence[torch.Tensor], head: HeadSpec, settings: NmsSettings) -> list[Kept]:
    """The same for maps that are far away: places that may count are picked there, for the whole batch at once."""
    places = places_of_maps(maps, head, settings)
    grids_hw = [level.shape[2:] for level in maps]
    return [
        Kept(*boxes) for boxes in box_kernels.DEFAULT.boxes_of_places(places, grids_hw, len(maps[0]), head, settings)
    ]


def decode_maps(maps: Sequence[torch.Tensor], head: HeadSpec) -> torch.Tensor:
    """Candidates float32 (b, k, 5 + nc) of logits (b, na * (5 + nc), ny, nx), order level, anchor, y, x."""
    columns = 5 + head.num_classes
    if head.family == "yolox":
        height, width = (side * head.strides[0] for side in maps[0].shape[2:])
        flat = torch.cat([level.float().flatten(2) for level in maps], 2).transpose(1, 2)
        return decode_yolox(torch.cat((flat[..., :4], flat[..., 4:].sigmoid()), -1), (height, width), head.strides)
    decoded = []
    for level, anchors, stride in zip(maps, head.anchors_px, head.strides, strict=True):
        raw = level.unflatten(1, (len(anchors), columns)).permute(0, 1, 3, 4, 2)
        decoded.append(decode_yolov7(raw, torch.tensor(anchors, device=level.device), stride))
    return torch.cat(decoded, 1)


def boxes_of_rows(rows: Any, settings: NmsSettings) -> list[Kept]:
    """Boxes of each image from a runtime that has suppressed them itself.

    Args:
        rows: (b, n, 6): xyxy px, confidence, class_id, by falling confidence; rows of confidence 0 are none.
        settings: can only leave out more than the runtime did; the overlap threshold was the runtime's own.
    """
    kept = []
    for image in torch.as_tensor(rows).float().cpu().numpy():
        class_id = image[:, 5].astype("int64")
        wanted = image[:, 4] > settings.conf_thres
        if settings.class_ids is not None:
            wanted &= [int(number) in settings.class_ids for number in class_id]
        found = image[wanted][: settings.max_det]
        kept.append(Kept(found[:, :4], found[:, 4], class_id[wanted][: settings.max_det], 0))
    return kept
