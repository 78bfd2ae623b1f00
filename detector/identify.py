"""Telling from a state dict's names and shapes which network it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

from detector.models import DetectionModel, available_models, build_model
from pipeline.core.errors import CheckpointError

Form = Literal["training", "deploy"]
Shapes = Mapping[str, tuple[int, ...]]

_YOLOV7_OUTPUT = re.compile(r"model\.\d+\.m\.0\.weight")
_ANCHORS_PER_CELL = 3
_CONSTANTS = ("anchors", "anchor_grid")
"""Buffers that a published state dict may leave out: the network has them from its own description."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network: its name in `available_models()`, the form of its graph, and how many classes it tells apart."""

    name: str
    form: str
    num_classes: int


def identify(shapes: Shapes, hints: tuple[str, ...]) -> Architecture:
    """The network whose state dict has exactly these names and shapes.

    Args:
        shapes: shape by name.
        hints: texts that may contain the name (the file's name, ...). Networks that differ in nothing but their
            activation (yolov7-tiny and yolov7-tiny-silu) are told apart by them; the more common one is the default.

    Raises:
        CheckpointError: none has; tells the nearest and what is missing or too much.
    """
    num_classes = _num_classes(shapes)
    if num_classes is None:
        raise CheckpointError(
            f"wanted weights of a YOLOv7 or YOLOX network, found {len(shapes)} tensors without their output layer "
            f"({', '.join(list(shapes)[:3])}, ...)"
        )
    nearest: tuple[int, Architecture, Shapes] | None = None
    for candidate in _candidates(num_classes, hints):
        expected = without_constants(expected_shapes(candidate), shapes)
        if expected == dict(shapes):
            return candidate
        distance = len(set(expected.items()) ^ set(shapes.items()))
        if nearest is None or distance < nearest[0]:
            nearest = (distance, candidate, expected)
    if nearest is None:
        raise CheckpointError("no network is available to compare the weights with")
    raise CheckpointError(mismatch(nearest[2], shapes, f"{nearest[1].name} ({nearest[1].form} form)"))


def expected_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Shape by name of the network's state dict."""
    return {name: tuple(value.shape) for name, value in empty_model(architecture).state_dict().items()}


def empty_model(architecture: Architecture) -> DetectionModel:
    """The network without values: they are on the meta device, so no memory and little time is spent."""
    with torch.device("meta"):
        return build_model(architecture.name, num_classes=architecture.num_classes, form=architecture.form)


def without_constants(expected: Shapes, found: Shapes) -> dict[str, tuple[int, ...]]:
    """What is expected, less the constant buffers if the found state dict has none of them."""
    if any(key.rsplit(".", 1)[-1] in _CONSTANTS for key in found):
        return dict(expected)
    return {key: shape for key, shape in expected.items() if key.rsplit(".", 1)[-1] not in _CONSTANTS}


def mismatch(expected: Shapes, found: Shapes, name: str) -> str:
    """One line on how a state dict differs from the one that a network has."""
    missing = [key for key in expected if key not in found]
    extra = [key for key in found if key not in expected]
    resized = [key for key in expected if key in found and expected[key] != found[key]]
    parts = [
        f"{len(keys)} {what} ({', '.join(keys[:2])}{', ...' if len(keys) > 2 else ''})"
        for keys, what in ((missing, "missing"), (extra, "unexpected"))
        if keys
    ]
    if resized:
        key = resized[0]
        parts.append(f"{len(resized)} of another shape ({key}: wanted {expected[key]}, found {found[key]})")
    return f"wanted the weights of {name}, found: {'; '.join(parts)}"


def _num_classes(shapes: Shapes) -> int | None:
    """Number of classes by the width of the output layer, or None where there is none."""
    yolox = shapes.get("head.cls_preds.0.weight")
    if yolox:
        return yolox[0]
    outputs = [shape for key, shape in shapes.items() if _YOLOV7_OUTPUT.fullmatch(key) and shape]
    return max(outputs[-1][0] // _ANCHORS_PER_CELL - 5, 1) if outputs else None


def _candidates(num_classes: int, hints: tuple[str, ...]) -> Iterator[Architecture]:
    """All networks, those that a hint names first (the longest name first: yolov7 is part of yolov7-tiny)."""
    text = " ".join(hints).lower().replace("_", "-")
    names = available_models()
    hinted = sorted((name for name in names if name.lower().replace("_", "-") in text), key=len, reverse=True)
    for name in dict.fromkeys([*hinted, *names]):
        for form in ("deploy", "training"):
            yield Architecture(name, form, num_classes)
