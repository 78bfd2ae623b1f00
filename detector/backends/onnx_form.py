"""What an .onnx file takes and gives: one of ours says so; of published and foreign ones the shapes tell."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detector.backends import Precision
from detector.checkpoint import default_class_names
from detector.decode import decode_yolox
from detector.export.header import HEADER_KEY, ExportHeader, InputForm, OutputForm
from detector.head_spec import HeadSpec
from detector.preprocess import Preprocess
from pipeline.core.errors import CheckpointError

Outputs = Sequence[NDArray[Any]]
Hw = tuple[int, int]

_YOLOX_STRIDES = (8, 16, 32)
_YOLOV7_STRIDES = ((8, 16, 32), (8, 16, 32, 64))
_YOLOV7_ANCHORS = 3
_OPEN_STRIDE = 64
"""Of a foreign file of any size that does not tell its stride: a multiple of 64 suits a stride of 32 too."""
_OPEN_HW = (640, 640)
"""Input size of such a file, where it tells none: what YOLOv7's published weights are meant for."""


@dataclass(frozen=True, slots=True)
class OnnxForm:
    """What to hand to a file, and how to read what comes back.

    Attributes:
        batch, fixed_hw: the only batch size, height and width; None = any.
        head: how its maps are read; None where it gives none.
        read: the outputs of a run, the input's height and width (px), and the number of pictures in the batch, to what
            `io_spec.output` says.
    """

    class_names: tuple[str, ...]
    input_hw: Hw
    preprocess: Preprocess
    stride: int
    batch: int | None
    fixed_hw: Hw | None
    input: InputForm
    output: OutputForm
    precision: Precision
    head: HeadSpec | None
    read: Callable[[Outputs, Hw, int], torch.Tensor | list[torch.Tensor]]


@dataclass(frozen=True, slots=True)
class OnnxIo:
    """Inputs and outputs of a file as its runtime tells them: names, and shapes with names where they are open."""

    input_shapes: Sequence[Sequence[int | str | None]]
    output_names: Sequence[str]
    output_shapes: Sequence[Sequence[int | str | None]]


def form_of(path: Path, io: OnnxIo, metadata: Mapping[str, str]) -> OnnxForm:
    """How a file is to be used.

    Raises:
        CheckpointError: it is none of the files that are known here, or its metadata contradict it.
    """
    if HEADER_KEY in metadata:
        return _form_of_header(ExportHeader.from_json(metadata[HEADER_KEY], str(path)), io, path)
    if len(io.input_shapes) == 1 and len(io.input_shapes[0]) == 4 and io.input_shapes[0][1] == 3:
        image, output = io.input_shapes[0], io.output_shapes[0]
        for known in (_yolox, _yolov7, _yolov7_end2end):
            form = known(path, image, output, metadata)
            if form is not None:
                return form
    raise CheckpointError(
        f"{path}: wanted a file that `tracklight export` wrote, one of YOLOX as its authors publish them (a row per "
        "cell of strides 8, 16, 32), or one of YOLOv7 with decoded boxes, found "
        f"input {_text(io.input_shapes)} and output {_text(io.output_shapes)}"
    )


def _form_of_header(header: ExportHeader, io: OnnxIo, path: Path) -> OnnxForm:
    if "num_dets" in io.output_names:
        raise CheckpointError(
            f"{path}: ends in a plugin of TensorRT; build an engine of it, or export with --nms onnx or none"
        )
    read: Callable[[Outputs, Hw, int], torch.Tensor | list[torch.Tensor]]
    read = _all if header.output == "maps" else _first
    return OnnxForm(
        class_names=header.class_names,
        input_hw=header.input_hw,
        preprocess=header.preprocess,
        stride=header.stride,
        batch=header.batch,
        fixed_hw=header.fixed_hw,
        input=header.input,
        output=header.output,
        precision=header.precision,
        head=header.head if header.output == "maps" else None,
        read=read,
    )


def _all(outputs: Outputs, hw: Hw, n_images: int) -> list[torch.Tensor]:
    return [torch.from_numpy(output[:n_images]) for output in outputs]


def _first(outputs: Outputs, hw: Hw, n_images: int) -> torch.Tensor:
    return torch.from_numpy(outputs[0][:n_images])


def _yolox(path: Path, image: Sequence[Any], output: Sequence[Any], metadata: Mapping[str, str]) -> OnnxForm | None:
    """A published YOLOX file: one size, one row per cell, boxes not decoded."""
    fixed_hw = _numbers(image[2:])
    if fixed_hw is None or len(output) != 3 or _num_classes(output) is None:
        return None
    if output[1] != _num_cells(fixed_hw, _YOLOX_STRIDES):
        return None
    num_classes = output[2] - 5
    read = partial(_read_yolox, strides=_YOLOX_STRIDES)
    return OnnxForm(
        class_names=_class_names(path, metadata, num_classes),
        input_hw=fixed_hw,
        preprocess="yolox",
        stride=_YOLOX_STRIDES[-1],
        batch=_number(image[0]),
        fixed_hw=fixed_hw,
        input="planes",
        output="candidates",
        precision="fp32",
        head=None,
        read=read,
    )


def _read_yolox(outputs: Outputs, hw: Hw, n_images: int, strides: tuple[int, ...]) -> torch.Tensor:
    return decode_yolox(torch.from_numpy(outputs[0][:n_images]), hw, strides)


def _yolov7(path: Path, image: Sequence[Any], output: Sequence[Any], metadata: Mapping[str, str]) -> OnnxForm | None:
    """An export of YOLOv7's (or YOLOv5's) program with decoded boxes, of one size or any."""
    if len(output) != 3 or _num_classes(output) is None:
        return None
    fixed_hw, rows = _numbers(image[2:]), _number(output[1])
    if fixed_hw is not None and rows is not None:
        known = [s for s in _YOLOV7_STRIDES if rows == _YOLOV7_ANCHORS * _num_cells(fixed_hw, s)]
        if not known:
            return None
    return _foreign(path, image, metadata, "candidates", output[2] - 5, _first)


def _yolov7_end2end(
    path: Path, image: Sequence[Any], output: Sequence[Any], metadata: Mapping[str, str]
) -> OnnxForm | None:
    """An export of YOLOv7's program with its suppression for ONNX Runtime: rows (n, 7) of all pictures together."""
    if len(output) != 2 or output[1] != 7:
        return None
    return _foreign(path, image, metadata, "boxes", None, _read_end2end)


def _foreign(
    path: Path,
    image: Sequence[Any],
    metadata: Mapping[str, str],
    output: OutputForm,
    num_classes: int | None,
    read: Callable[[Outputs, Hw, int], torch.Tensor],
) -> OnnxForm:
    fixed_hw = _numbers(image[2:])
    stride = _literal(metadata.get("stride"))
    stated_hw = _literal(metadata.get("imgsz"))
    stated = _numbers(stated_hw) if isinstance(stated_hw, list | tuple) else None
    return OnnxForm(
        class_names=_class_names(path, metadata, num_classes),
        input_hw=fixed_hw or stated or _OPEN_HW,
        preprocess="yolov7",
        stride=stride if isinstance(stride, int) and stride > 0 else _OPEN_STRIDE if fixed_hw is None else 1,
        batch=_number(image[0]),
        fixed_hw=fixed_hw,
        input="planes",
        output=output,
        precision="fp32",
        head=None,
        read=read,
    )


def _read_end2end(outputs: Outputs, hw: Hw, n_images: int) -> torch.Tensor:
    """Rows (n, 7) of picture, xyxy, class_id, confidence to (b, most, 6), by falling confidence."""
    found = outputs[0]
    of_image = [found[found[:, 0] == number] for number in range(n_images)]
    rows = np.zeros((n_images, max(map(len, of_image), default=0), 6), np.float32)
    for place, image in zip(rows, of_image, strict=True):
        order = np.argsort(-image[:, 6], kind="stable")
        place[: len(image)] = image[order][:, [1, 2, 3, 4, 6, 5]]
    return torch.from_numpy(rows)


def _class_names(path: Path, metadata: Mapping[str, str], num_classes: int | None) -> tuple[str, ...]:
    """What the metadata name, as a list or by number; COCO's or numbers where they name none."""
    stated = _literal(metadata.get("names"))
    if isinstance(stated, dict):
        stated = [stated[number] for number in sorted(stated)]
    if not isinstance(stated, list | tuple) or not all(isinstance(name, str) for name in stated):
        return default_class_names(num_classes or 80)
    if num_classes is not None and len(stated) != num_classes:
        raise CheckpointError(f"{path}: its output has {num_classes} classes, but its metadata name {len(stated)}")
    return tuple(stated)


def _literal(text: str | None) -> Any:
    """A Python value that is written in metadata; None where there is none or it is none."""
    try:
        return ast.literal_eval(text or "None")
    except (ValueError, SyntaxError):
        return None


def _num_cells(hw: Hw, strides: Sequence[int]) -> int:
    return sum((hw[0] // stride) * (hw[1] // stride) for stride in strides)


def _num_classes(output: Sequence[Any]) -> int | None:
    columns = _number(output[-1])
    return columns - 5 if columns is not None and columns > 5 else None


def _number(side: Any) -> int | None:
    return side if isinstance(side, int) and side > 0 else None


def _numbers(sides: Sequence[Any]) -> Hw | None:
    found = [_number(side) for side in sides]
    return (found[0], found[1]) if len(found) == 2 and found[0] and found[1] else None


def _text(shapes: Sequence[Sequence[int | str | None]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)
