"""From loaded weights to a file in another form, which is kept only if it finds what the network finds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings_dataclass

from detector.backends import DetectorBackend, Precision
from detector.backends.eager import EagerBackend, EagerConfig
from detector.checkpoint import LoadedCheckpoint
from detector.detector import MAX_SIDE_PX, DetectorConfig, YoloDetector
from detector.export.calibration import calibration_canvases
from detector.export.end2end import GraphNms
from detector.export.header import ExportHeader, InputForm
from detector.export.parity import Parity, compare
from detector.letterbox import round_up_to_stride
from detector.open_network import OpenedNetwork, Wanted
from detector.validation import validate
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError, ConfigError
from pipeline.evaluation.dataset import LabelledImages

Format = Literal["onnx", "openvino", "tensorrt", "torchscript"]

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "tensorrt": ".engine",
    "torchscript": ".torchscript",
}

BESIDE: dict[Format, tuple[str, ...]] = {"openvino": (".bin",), "tensorrt": (".engine.json",)}
"""Suffixes of the files that a form writes beside its own."""

PRECISIONS: dict[Format, tuple[Precision, ...]] = {
    "onnx": ("fp32", "fp16", "int8"),
    "openvino": ("fp32", "bf16", "fp16", "int8"),
    "tensorrt": ("fp32", "fp16", "int8"),
    "torchscript": ("fp32", "bf16", "fp16"),
}

UNLESS_ASKED: dict[Format, dict[str, Any]] = {
    "openvino": {"input": "pixels", "result": "maps", "dynamic": True, "batch": None},
}
"""Fields of ExportSettings that a form has of its own. OpenVINO files are mostly run by this program, which is fastest
with pictures in, logits out, at the shape of the frames; the other forms are mostly for other programs."""

PARITY_FRAMES = 8
"""Frames that file and network are compared on."""
CALIBRATION_FRAMES = 128
"""Frames from which the ranges of int8 are measured."""


@settings_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ExportSettings:
    """What an exported file takes and gives."""

    input: InputForm = Field(
        default="planes", description="planes (float b 3 h w, as trained) or pixels (uint8 b h w 3 BGR, as letterboxed)"
    )
    result: Literal["candidates", "maps"] = Field(
        default="candidates", description="without nms: decoded boxes, or the maps that Tracklight decodes itself"
    )
    nms: Literal["none", "onnx", "tensorrt"] = Field(
        default="none", description="suppression in the graph, by which operator; its output is boxes"
    )
    conf_thres: float = Field(default=0.25, ge=0, le=1, description="of the suppression in the graph")
    iou_thres: float = Field(default=0.45, ge=0, le=1, description="of the suppression in the graph")
    max_det: int = Field(default=300, ge=1, description="most boxes per image of the suppression in the graph")
    img_size: int | tuple[int, int] | None = Field(
        default=None, description="side of the input, or height and width (px); None = what the weights are meant for"
    )
    batch: int | None = Field(default=1, ge=1, description="the only batch size; None = any")
    dynamic: bool = Field(default=False, description="any height and width that the stride divides")
    precision: Precision = Field(default="fp32", description="fp32, bf16, fp16 or int8")
    device: str = Field(default="auto", description="where the file is built and compared: auto, cpu, cuda, cuda:N")
    opset: int = Field(default=17, ge=17, le=21, description="version of ONNX' operators")

    @property
    def graph_nms(self) -> GraphNms | None:
        """The suppression in the graph."""
        if self.nms == "none":
            return None
        return GraphNms(form=self.nms, conf_thres=self.conf_thres, iou_thres=self.iou_thres, max_det=self.max_det)


class Material(NamedTuple):
    """What a file is calibrated and checked with.

    pictures: gives so many pictures (or fewer), uint8 (h, w, 3) BGR, to compare file and network on. dataset: labelled
    images to measure AP on, or None. ap_settings: fields of DetectorConfig for that. calibration: gives pictures to
    measure the ranges of int8 on; None = `pictures`.
    """

    pictures: Callable[[int], Iterable[ImageArray]]
    dataset: LabelledImages | None = None
    ap_settings: Mapping[str, Any] = MappingProxyType({})
    calibration: Callable[[int], Iterable[ImageArray]] | None = None


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was written and checked.

    Attributes:
        format, path, header: what it is.
        parity: beside the network.
        ap_before, ap_after: AP of the network and of the file, fractions of 1; None where it was not measured.
        n_bytes: of all files that belong to it.
        seconds: building and checking.
    """

    format: Format
    path: Path
    header: ExportHeader
    parity: Parity
    ap_before: float | None
    ap_after: float | None
    n_bytes: int
    seconds: float


def export_network(
    loaded: LoadedCheckpoint,
    format: Format,
    path: Path,
    settings: ExportSettings,
    material: Material,
    *,
    source_sha256: str = "",
) -> Exported:
    """Write a network in another form and compare it with the network; what differs too much is not kept.

    AP is measured for precisions below fp32, where the material is labelled.

    Raises:
        MissingExtraError: a package of that form is not installed.
        BackendError: the form cannot be what is asked, or the file does not find what the network finds.
    """
    began = time.monotonic()
    header = header_of(loaded, format, settings).model_copy(update={"source_sha256": source_sha256})
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        made = Path(folder) / path.name
        header = _WRITERS[format](Job(loaded, header, made, settings, material))
        opened = _open(format, made, header, settings)
        try:
            eager = EagerBackend(loaded.model, EagerConfig(device="cpu"))
            parity = compare(opened, eager, list(material.pictures(PARITY_FRAMES)), nms=settings.graph_nms)
            if parity.problem:
                raise BackendError(f"{path}: not kept, since it does not find what the network finds: {parity.problem}")
            ap = _average_precisions(opened, eager, header, settings, material)
        finally:
            opened.backend.close()
        files = sorted(Path(folder).iterdir())
        n_bytes = sum(file.stat().st_size for file in files)
        for file in files:
            file.replace(path.parent / file.name)
    return Exported(format, path, header, parity, *ap, n_bytes, time.monotonic() - began)


def header_of(loaded: LoadedCheckpoint, format: Format, settings: ExportSettings) -> ExportHeader:
    """What the file will say about itself.

    Raises:
        BackendError: an option that this form has not.
        ConfigError: an image size that cannot be.
    """
    if settings.precision not in PRECISIONS[format]:
        able = ", ".join(PRECISIONS[format])
        raise BackendError(f"{format}: wanted a precision of {able}, found {settings.precision}; choose one of them")
    if format == "torchscript" and settings.nms != "none":
        raise BackendError("torchscript: wanted --nms none, which is all that TorchScript has; export to onnx for it")
    if (format, settings.nms) in (("openvino", "tensorrt"), ("tensorrt", "onnx")):
        raise BackendError(f"{format}: its suppression is not that of {settings.nms}; choose the other --nms, or none")
    stride = loaded.model.max_stride
    asked = loaded.input_hw if settings.img_size is None else settings.img_size
    height, width = (asked, asked) if isinstance(asked, int) else asked
    if not 1 <= min(height, width) <= max(height, width) <= MAX_SIDE_PX:
        raise ConfigError(f"img_size: wanted 1 to {MAX_SIDE_PX} px, found {asked}")
    hw = round_up_to_stride(height, stride), round_up_to_stride(width, stride)
    any_size = settings.dynamic or format == "torchscript"
    header = ExportHeader.of(
        loaded, input=settings.input, output="boxes" if settings.nms != "none" else settings.result
    )
    return header.model_copy(
        update={
            "input_hw": hw,
            "fixed_hw": None if any_size else hw,
            "batch": None if format == "torchscript" else settings.batch,
            "precision": settings.precision,
        }
    )


# -- forms ------------------------------------------------------------------------------------------------------------


class Job(NamedTuple):
    """A file to be made; for int8, from pictures."""

    loaded: LoadedCheckpoint
    header: ExportHeader
    path: Path
    settings: ExportSettings
    material: Material

    def canvases(self) -> list[ImageArray]:
        """Pictures as the file will get them, uint8 (1, h, w, 3) each."""
        header, material = self.header, self.material
        pictures = (material.calibration or material.pictures)(CALIBRATION_FRAMES)
        stride = header.stride if header.fixed_hw is None else None
        return calibration_canvases(pictures, header.input_hw, header.preprocess, stride)


def _write_onnx(job: Job) -> ExportHeader:
    from detector.export.onnx_file import write_onnx
    from detector.export.onnx_int8 import write_onnx_int8

    model, settings = job.loaded.model, job.settings
    if job.header.precision == "int8":
        write_onnx_int8(model, job.header, job.path, job.canvases(), nms=settings.graph_nms, opset=settings.opset)
    else:
        write_onnx(model, job.header, job.path, nms=settings.graph_nms, opset=settings.opset)
    return job.header


def _write_torchscript(job: Job) -> ExportHeader:
    from detector.export.torchscript import write_torchscript

    write_torchscript(job.loaded.model, job.header, job.path)
    return job.header


def _write_openvino(job: Job) -> ExportHeader:
    from detector.export.openvino_ir import write_openvino
    from detector.export.quantise import ApCheck, quantise

    nms = job.settings.graph_nms
    if job.header.precision != "int8":
        write_openvino(job.loaded.model, job.header, job.path, nms=nms)
        return job.header
    dataset = job.material.dataset
    check = None if dataset is None else ApCheck(dataset, _ap_config(job.header, job.settings, job.material))
    return quantise(job.loaded.model, job.header, job.canvases(), job.path, nms=nms, check=check).header


def _write_tensorrt(job: Job) -> ExportHeader:
    from detector.export.tensorrt import EngineSettings, write_engine

    write_engine(
        job.loaded.model,
        job.header,
        job.path,
        settings=EngineSettings(device=job.settings.device),
        nms=job.settings.graph_nms,
        canvases=job.canvases() if job.header.precision == "int8" else (),
    )
    return job.header


_WRITERS: dict[Format, Callable[[Job], ExportHeader]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "tensorrt": _write_tensorrt,
    "torchscript": _write_torchscript,
}


def _open(format: Format, path: Path, header: ExportHeader, settings: ExportSettings) -> OpenedNetwork:
    """The file, in the runtime that it is made for."""
    if format == "torchscript" or (format == "onnx" and settings.nms == "tensorrt"):
        from detector.export.efficient_nms import PluginFreeBackend
        from detector.export.torchscript import TorchScriptBackend

        backend: DetectorBackend
        backend = TorchScriptBackend(path) if format == "torchscript" else PluginFreeBackend(path, header)
        return OpenedNetwork(backend, header.class_names, header.input_hw, header.preprocess)
    from detector.open_network import opener

    if format == "onnx":
        return opener("onnxruntime")(path, Wanted(device="cpu"))
    return opener(format)(path, Wanted(device="cpu" if format == "openvino" else settings.device))


# -- average precision ------------------------------------------------------------------------------------------------


def _average_precisions(
    file: OpenedNetwork, eager: EagerBackend, header: ExportHeader, settings: ExportSettings, material: Material
) -> tuple[float | None, float | None]:
    if material.dataset is None or header.precision == "fp32":
        return None, None
    if {"ap", "ap_fp32"} <= header.metrics.keys():
        return header.metrics["ap_fp32"], header.metrics["ap"]
    config = _ap_config(header, settings, material)
    of_eager = file._replace(backend=eager)
    measured = [
        validate(YoloDetector(config, network=network), material.dataset).result.ap for network in (of_eager, file)
    ]
    return measured[0], measured[1]


def _ap_config(header: ExportHeader, settings: ExportSettings, material: Material) -> DetectorConfig:
    values: dict[str, Any] = {**material.ap_settings, "img_size": header.input_hw}
    if header.fixed_hw is not None:
        # Both are to get the same pictures.
        values["rect"] = False
    if settings.nms != "none":
        values |= {"conf_thres": settings.conf_thres, "iou_thres": settings.iou_thres, "multi_label": False}
    return DetectorConfig(**values)
