"""Engine files: a network built by TensorRT for one GPU, with a card beside it that says what it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.export.end2end import GraphNms
from detector.export.header import ExportHeader
from detector.export.onnx_file import write_onnx
from detector.export.tensorrt_api import choose_gpu, here, import_tensorrt, major_version
from detector.export.tensorrt_card import EngineCard
from detector.export.tensorrt_engine import Recipe, build_engine
from detector.export.tensorrt_quantise import add_quantisation, entropy_calibrator
from detector.export.tensorrt_shapes import EngineShapes, profiles_of
from detector.models import DetectionModel
from detector.preprocess import Preprocess, to_planes
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError
from pipeline.core.whole_file import write_whole

PLUGIN = "EfficientNMS_TRT"

_OPSET_OF_HALF_SCALES = 19
"""The first one in which scales of quantisation may be 16-bit floats."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EngineSettings:
    """What an engine file is built for."""

    device: str = Field(default="auto", description="the GPU: auto, cuda, cuda:1, 0")
    shapes: EngineShapes = Field(default=EngineShapes(), description="batches and sizes, where the header leaves them")
    int8: Literal["graph", "calibrator"] = Field(
        default="graph",
        description="graph: quantisation in the ONNX graph; calibrator: TensorRT 10's own, gone in version 11",
    )


def write_engine(
    model: DetectionModel,
    header: ExportHeader,
    path: Path,
    *,
    settings: EngineSettings | None = None,
    nms: GraphNms | None = None,
    canvases: Sequence[ImageArray] = (),
) -> None:
    """Build an engine of a network and write it, with its card beside it (`<path>.json`).

    Args:
        model: the network with its weights, in float32 on the CPU; not changed.
        header: what is to be built: precision fp32, fp16 or int8, input, output, and batch and size where fixed. The
            output `boxes` has the plugin EfficientNMS_TRT in the graph.
        path: the engine file; an existing one is replaced.
        settings: the GPU, and what the header leaves open.
        nms: thresholds of the suppression in the graph.
        canvases: for int8: letterboxed pictures uint8 (b, h, w, 3) BGR; for the calibrator all of one shape.

    Raises:
        MissingExtraError: tensorrt or onnx is not installed.
        BackendError: there is no GPU, or TensorRT cannot build it.
        ConfigError: shapes that cannot be.
    """
    settings = settings or EngineSettings()
    trt = import_tensorrt()
    device = choose_gpu(settings.device)
    profiles = profiles_of(header, settings.shapes)
    graph, calibrator = _graph(trt, model, header, settings, nms, canvases, device)
    recipe = Recipe(graph, header.input, header.precision, profiles, calibrator=calibrator)
    _write(trt, path, header, recipe, device)


def write_engine_of_graph(
    onnx_file: Path, header: ExportHeader, path: Path, *, settings: EngineSettings | None = None
) -> None:
    """The same from an ONNX file of ours; it is built in the types that the file has.

    Raises:
        MissingExtraError, BackendError, ConfigError: as `write_engine`.
    """
    settings = settings or EngineSettings()
    trt = import_tensorrt()
    device = choose_gpu(settings.device)
    graph = onnx_file.read_bytes()
    if header.output == "boxes" and PLUGIN.encode() not in graph:
        raise BackendError(
            f"{onnx_file}: wanted the suppression of TensorRT ({PLUGIN}), found that of ONNX, whose open output no "
            "CUDA graph can record; export it with --nms tensorrt, or without"
        )
    profiles = profiles_of(header, settings.shapes)
    recipe = Recipe(graph, header.input, header.precision, profiles, typed=True)
    _write(trt, path, header, recipe, device)


def _write(trt: Any, path: Path, header: ExportHeader, recipe: Recipe, device: torch.device) -> None:
    engine = build_engine(trt, recipe, device)
    # The engine comes first: a card without one misleads nobody.
    write_whole(path, engine)
    EngineCard(header=header, made_for=here(trt, device), profiles=recipe.profiles).write(path)


def _graph(
    trt: Any,
    model: DetectionModel,
    header: ExportHeader,
    settings: EngineSettings,
    nms: GraphNms | None,
    canvases: Sequence[ImageArray],
    device: torch.device,
) -> tuple[bytes, Any]:
    """The ONNX graph in the types that this TensorRT wants to see, and a calibrator if one is wanted."""
    typed = major_version(trt) >= 11
    if header.precision == "bf16":
        raise BackendError("bf16: wanted fp32, fp16 or int8 for TensorRT, found bf16")
    if header.precision == "int8" and not canvases:
        raise BackendError(
            "int8: wanted pictures to measure the ranges on, found none; "
            "make the engine with `export` and name some, or take fp16"
        )
    half = typed and header.precision != "fp32"
    graph = _onnx(model, header.model_copy(update={"precision": "fp16" if half else "fp32"}), nms)
    if header.precision != "int8":
        return graph, None
    feed = partial(_planes, preprocess=header.preprocess) if header.input == "planes" else np.asarray
    if settings.int8 == "graph":
        return add_quantisation(graph, canvases, feed), None
    if typed:
        raise BackendError(
            f"int8: TensorRT {trt.__version__} has no calibrators any more; take int8 `graph`, which 10 has too"
        )
    return graph, entropy_calibrator(trt, canvases, feed, device)


def _planes(canvas: ImageArray, preprocess: Preprocess) -> NDArray[np.float32]:
    return to_planes(torch.from_numpy(canvas), preprocess).numpy()


def _onnx(model: DetectionModel, header: ExportHeader, nms: GraphNms | None) -> bytes:
    if header.output == "boxes":
        limits = nms or GraphNms()
        nms = GraphNms(
            form="tensorrt", conf_thres=limits.conf_thres, iou_thres=limits.iou_thres, max_det=limits.max_det
        )
    with TemporaryDirectory() as folder:
        file = Path(folder, "network.onnx")
        write_onnx(model, header, file, nms=nms, opset=_OPSET_OF_HALF_SCALES)
        return file.read_bytes()
