"""OpenVINO IR: a network as .xml and .bin, with our header in its metadata."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detector.export.end2end import GraphNms
from detector.export.header import HEADER_KEY, ExportHeader
from detector.models import DetectionModel
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError

_TELEMETRY = "openvino_telemetry"

_ONNX_METADATA = "framework"
"""Where OpenVINO puts the metadata of an ONNX file that it reads."""


def import_openvino(needed_for: str) -> Any:
    """The package `openvino`, without its reports to its makers.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        with no_telemetry():
            import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino", needed_for) from error
    return openvino


@cache
def openvino_core() -> Any:
    """The process's only `openvino.Core`, which lives to its end.

    OpenVINO's CPU plugin gives the thread that loads it a stack for signal handlers and puts the old one back when it
    is destroyed. Two plugins that go in the order they came leave a stack behind that is not there any more, and the
    next Ctrl-C ends in a segmentation fault (seen with 2026.4). One core has one plugin.

    Raises:
        MissingExtraError: openvino is not installed.
    """
    return import_openvino("OpenVINO").Core()


@contextmanager
def no_telemetry() -> Iterator[None]:
    """Packages of OpenVINO that are imported meanwhile find no telemetry package.

    Importing them sends a report over the network otherwise, unless the user has opted out. Who works beside cameras
    must not phone home. What was imported before stays as it is.
    """
    if _TELEMETRY in sys.modules:
        yield
        return
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[_TELEMETRY]


def write_openvino(model: DetectionModel, header: ExportHeader, path: Path, *, nms: GraphNms | None = None) -> None:
    """Write a network as OpenVINO IR: `path` and, beside it, the same name with `.bin`. Existing ones are replaced.

    Inputs and outputs are those of `write_onnx`, through which it goes: tracing in PyTorch would make sizes fixed that
    the header leaves open.

    Args:
        model: the network with its weights, in float32 on the CPU; not changed, a fused copy is written.
        header: what is to be written. Weights are stored in 16 bits for the precision fp16, in 32 for fp32 and bf16;
            int8 is made by `quantise`.
        path: the file to make, *.xml.
        nms: thresholds of the suppression in the graph for the output `boxes`; None = as a detector has them.

    Raises:
        MissingExtraError: openvino or onnx is not installed.
        BackendError: the header wants what an IR file cannot be.
    """
    if header.precision == "int8":
        raise BackendError(f"{path}: wanted fp32, bf16 or fp16, found int8, which quantise() makes, from pictures")
    save_ir(convert(model, header, nms), header, path)


def convert(model: DetectionModel, header: ExportHeader, nms: GraphNms | None = None) -> Any:
    """The network as an `openvino.Model` in float32.

    Raises:
        MissingExtraError: openvino or onnx is not installed.
        BackendError: the header wants what an ONNX file of ours cannot be.
    """
    from detector.export.onnx_file import write_onnx

    openvino = import_openvino("converting a network")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_onnx(model, header.model_copy(update={"precision": "fp32"}), file, nms=nms)
        # Unlike Core.read_model it also merges what belongs together, such as the parts of SiLU: without that,
        # quantisation puts rounding between them.
        return openvino.convert_model(file)


def save_ir(ir: Any, header: ExportHeader, path: Path) -> None:
    """Write an `openvino.Model` with a header. Neither file is ever seen half written."""
    openvino = import_openvino("writing an .xml file")
    if path.suffix != ".xml":
        raise BackendError(f"{path}: wanted a name that ends in .xml for OpenVINO's IR, found {path.suffix!r}")
    ir.set_rt_info(header.model_dump_json(), [HEADER_KEY])
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        made = Path(folder) / path.name
        openvino.save_model(ir, made, compress_to_fp16=header.precision == "fp16")
        for suffix in (".bin", ".xml"):
            made.with_suffix(suffix).replace(path.with_suffix(suffix))


def read_ir(path: Path) -> tuple[Any, dict[str, str]]:
    """An .xml or .onnx file as an `openvino.Model`, and the texts in its metadata, our header among them if it is ours.

    Raises:
        MissingExtraError: openvino is not installed.
        CheckpointError: OpenVINO cannot read it.
    """
    import_openvino(f"running {path.name}")
    try:
        ir = openvino_core().read_model(path)
    except Exception as error:
        raise CheckpointError(f"{path}: OpenVINO cannot read it ({first_line(error)})") from error
    if ir.has_rt_info([HEADER_KEY]):
        return ir, {HEADER_KEY: ir.get_rt_info([HEADER_KEY]).astype(str)}
    if not ir.has_rt_info([_ONNX_METADATA]):
        return ir, {}
    names = ir.get_rt_info([_ONNX_METADATA]).astype(dict)
    return ir, {name: str(ir.get_rt_info([_ONNX_METADATA, name]).astype(str)) for name in names}


def first_line(error: Exception) -> str:
    """What OpenVINO says went wrong, without where in its sources that is."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith("Exception from")]
    return lines[0] if lines else type(error).__name__
