"""Export from Python; the command line does the same.

from pipeline.api_export import export

(made,) = export("best.safetensors", data="street.mp4", img_size=640, dynamic=True)
print(made.path, made.parity.max_px)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from detector.checkpoint import load_checkpoint
from detector.download import file_sha256
from detector.export.calibration import read_calibration
from detector.export.exporter import (
    BESIDE,
    SUFFIXES,
    UNLESS_ASKED,
    Exported,
    ExportSettings,
    Format,
    Material,
    export_network,
    header_of,
)
from detector.open_network import RUNS
from detector.validation import read_dataset, reference_settings
from detector.zoo import DEFAULT_WEIGHTS, resolve_weights
from pipeline.config.validate import validated
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import UsageError
from sinks.output_path import check_output

_LABELLED = (".json", ".yaml", ".yml")
_SYNTHETIC_HW = (480, 640)


def export(
    weights: str | Path | None = None,
    formats: Sequence[Format] = ("onnx",),
    *,
    output: str | Path | None = None,
    data: str | Path | None = None,
    split: str = "val",
    calibrate: str | Path | None = None,
    exist_ok: bool = False,
    progress: Callable[[str], None] | None = None,
    **settings: Any,
) -> list[Exported]:
    """Write a network in other forms; each file is compared with the network, and kept only if both find the same.

    Args:
        weights: PyTorch weights, or a name of `tracklight models`; default: the model that ships with the project.
        formats: onnx, openvino, tensorrt, torchscript.
        output: the file, or a folder (for several formats: a folder); default: beside nothing, in the current folder,
            with the name of the weights.
        data: footage or pictures of the place where it will run, or a labelled data set: what files are compared on and
            int8 is calibrated with. A data set also tells AP before and after. Default: `calibrate`, or drawn pictures.
        split: on which part of a data.yaml AP is measured; calibration takes `train`.
        calibrate: what int8 is calibrated with where `data` is a labelled set without a part for it, such as a COCO
            .json: ranges that were measured on the pictures that AP is measured on flatter it. Default: `data`.
        exist_ok: whether existing files may be replaced.
        progress: told what is done now.
        settings: fields of ExportSettings, such as `precision="int8"`, `dynamic=True`; what is not named is as
            `UNLESS_ASKED` has it for the form, else the field's default.

    Raises:
        UsageError: options that do not go together or would change nothing, or an output that exists.
        MissingExtraError: a package of a form is not installed.
        CheckpointError, DatasetError: weights or data cannot be read.
        BackendError: a form cannot be what is asked, or finds something else than the network.
    """
    _refuse_idle(settings, formats)
    typed: dict[Format, ExportSettings] = {
        format: validated(ExportSettings, UNLESS_ASKED.get(format, {}) | settings, "export") for format in formats
    }
    path = resolve_weights(str(weights or DEFAULT_WEIGHTS))
    if path.suffix in RUNS:
        raise UsageError(f"{path}: wanted PyTorch weights to export, found an {path.suffix} file; name its source")
    places = _places(path, formats, Path(output) if output is not None else None)
    for format, place in places.items():
        for suffix in (place.suffix, *BESIDE.get(format, ())):
            check_output(place.with_suffix(suffix), exist_ok=exist_ok)
    if settings.get("precision") == "int8" and data is None and calibrate is None:
        raise UsageError("int8: wanted pictures to measure the ranges on; name footage or a data set with --data")
    loaded, digest = load_checkpoint(path), file_sha256(path)
    for format in formats:
        header_of(loaded, format, typed[format])  # what cannot be is told before minutes are spent on the others
    material = _material(str(path), _path(data), split, _path(calibrate))
    made = []
    for format, place in places.items():
        if progress is not None:
            progress(f"{format}: writing and checking {place}")
        made.append(export_network(loaded, format, place, typed[format], material, source_sha256=digest))
    return made


def _refuse_idle(settings: Mapping[str, Any], formats: Sequence[str]) -> None:
    """What would change nothing is a mistake of whoever asks for it, and is told."""
    has_nms = settings.get("nms", "none") != "none"
    idle = {
        ("conf_thres", "iou_thres", "max_det"): None if has_nms else "suppression in the graph (nms: onnx or tensorrt)",
        ("result",): "a file without suppression in the graph, whose result is boxes" if has_nms else None,
        ("opset",): None if "onnx" in formats else "the format onnx",
        ("device",): None if "tensorrt" in formats else "the format tensorrt, whose GPU it names",
    }
    for names, needed in idle.items():
        found = [name for name in names if name in settings]
        if found and needed:
            raise UsageError(f"export: {', '.join(found)}: wanted {needed} to go with it; add that, or leave it out")


def _places(weights: Path, formats: Sequence[Format], output: Path | None) -> dict[Format, Path]:
    unknown = [name for name in formats if name not in get_args(Format)]
    if unknown or not formats:
        raise UsageError(f"format: wanted {', '.join(get_args(Format))}, found {', '.join(unknown) or 'none'}")
    if output is None or output.is_dir() or not output.suffix:
        folder = output or Path()
        return {name: folder / f"{weights.stem}{SUFFIXES[name]}" for name in formats}
    if len(set(formats)) > 1:
        raise UsageError(f"output: wanted a folder for {len(formats)} formats, found the file name {output}")
    if output.suffix != SUFFIXES[formats[0]]:
        raise UsageError(f"output: wanted a name that ends in {SUFFIXES[formats[0]]} for {formats[0]}, found {output}")
    return {formats[0]: output}


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _material(weights: str, data: Path | None, split: str, calibrate: Path | None) -> Material:
    seen = data or calibrate
    pictures = _drawn if seen is None else partial(read_calibration, seen)
    calibration = None if calibrate is None else partial(read_calibration, calibrate)
    if data is None or data.suffix.lower() not in _LABELLED:
        return Material(pictures, calibration=calibration)
    return Material(pictures, read_dataset(data, split), reference_settings(weights), calibration)


def _drawn(count: int) -> Iterable[ImageArray]:
    """Pictures with the spectrum of photographs and things with edges in them, always the same ones."""
    rng = np.random.default_rng(0)
    height, width = _SYNTHETIC_HW
    frequency = np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(height))) + 1 / width
    for _ in range(count):
        phases = np.exp(2j * np.pi * rng.random((3, *frequency.shape)))
        noise = np.fft.irfft2(phases / frequency, s=_SYNTHETIC_HW)
        noise = 128 + 48 * (noise - noise.mean()) / noise.std()
        picture = noise.clip(0, 255).astype(np.uint8).transpose(1, 2, 0).copy()
        for _ in range(8):
            (top, left), (h, w) = rng.integers(0, _SYNTHETIC_HW), rng.integers(24, 240, 2)
            picture[top : top + h, left : left + w] = picture[top : top + h, left : left + w] // 2 + rng.integers(
                0, 128, 3, np.uint8
            )
        yield picture
