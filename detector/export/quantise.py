"""Rounding a network to 8 bits for OpenVINO, with NNCF, calibrated on the user's own pictures and checked by AP."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends.openvino import OpenVinoBackend, OpenVinoConfig
from detector.detector import DetectorConfig, YoloDetector
from detector.export.end2end import GraphNms
from detector.export.header import ExportHeader
from detector.export.openvino_ir import convert, no_telemetry, save_ir
from detector.models import DetectionModel
from detector.open_network import OpenedNetwork
from detector.preprocess import to_planes
from detector.validation import validate
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError, DatasetError, MissingExtraError
from pipeline.evaluation.dataset import LabelledImages

_log = logging.getLogger(__name__)

_DEPTHWISE = "GroupConvolution"
_CONVOLUTIONS = ("Convolution", _DEPTHWISE)


class Plan(NamedTuple):
    """One way to round a network. Depthwise convolutions always stay in floats: rounded, they are no faster.

    Attributes:
        text: what it is.
        head_layers: convolutions before each output that stay in floats too.
        fast: whether biases are corrected in one pass over the pictures, or layer after layer (three times as long).
    """

    text: str
    head_layers: int
    fast: bool


PLANS = (
    Plan("head's last layers and depthwise ones in floats", head_layers=1, fast=True),
    Plan("the same, biases corrected layer by layer", head_layers=1, fast=False),
    Plan("head's last two layers and depthwise ones in floats", head_layers=2, fast=False),
)
"""In this order until one loses little enough: later ones take longer to make, or to run."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class QuantiseSettings:
    """How a network is rounded to 8 bits."""

    max_loss: float = Field(default=0.005, ge=0, le=1, description="AP that may be lost (fraction of 1)")
    preset: Literal["mixed", "performance"] = Field(
        default="mixed",
        description="range of values between layers: mixed = from least to greatest, performance = around zero",
    )


class ApCheck(NamedTuple):
    """Labelled pictures to measure AP on, and thresholds and image size to do it with: see `reference_settings`."""

    dataset: LabelledImages
    config: DetectorConfig


class Quantised(NamedTuple):
    """What was made: its header, with AP before and after in `metrics`, and the plan that did it."""

    header: ExportHeader
    plan: Plan


def quantise(
    model: DetectionModel,
    header: ExportHeader,
    canvases: Sequence[ImageArray],
    path: Path,
    *,
    nms: GraphNms | None = None,
    check: ApCheck | None = None,
    settings: QuantiseSettings | None = None,
) -> Quantised:
    """Write a network in 8 bits as OpenVINO IR (`path`, *.xml, and its .bin).

    Weights are rounded per channel, values between layers by their range over the pictures. With a data set, AP is
    measured before and after with OpenVINO, and the plans of `PLANS` are tried in turn until the loss is within
    `settings.max_loss`; without one the first plan is taken as it is.

    Args:
        model: the network with its weights, in float32 on the CPU; not changed.
        header: what is to be written; whatever its precision says, it will be int8. Decoding and suppression in the
            graph stay in floats.
        canvases: letterboxed pictures, each uint8 (b, h, w, 3) BGR of sizes that the header allows: see `calibration`.
            A few hundred, none of which is in the data set.
        path: the file to make.
        nms: thresholds of the suppression in the graph for the output `boxes`; None = as a detector has them.
        check: how AP is measured; None = it is not.
        settings: what may be lost.

    Raises:
        MissingExtraError: openvino, nncf or onnx is not installed.
        BackendError: no pictures, or every plan loses more than allowed; nothing is written.
        DatasetError: the data set has no objects.
    """
    settings = settings or QuantiseSettings()
    if not canvases:
        raise BackendError("int8: wanted pictures to calibrate with, found none; give a video, a folder or a data set")
    nncf = _import_nncf()
    ir = convert(model, header, nms)
    fed = [_fed(pictures, header) for pictures in canvases]
    before = None if check is None else _measure(ir, header, check)
    losses = []
    for plan in PLANS:
        rounded = _round(nncf, ir, fed, plan, settings.preset)
        made = header.model_copy(
            update={"precision": "int8", "provenance": {**header.provenance, **_how(nncf, canvases, plan, settings)}}
        )
        if check is None or before is None:
            break
        after = _measure(rounded, made, check)
        made = made.model_copy(
            update={"metrics": {**after, **{f"{name}_fp32": value for name, value in before.items()}}}
        )
        losses.append(before["ap"] - after["ap"])
        _log.info("int8, %s: AP %.4f, was %.4f", plan.text, after["ap"], before["ap"])
        if losses[-1] <= settings.max_loss:
            break
    else:
        raise BackendError(
            f"{path}: wanted int8 at a loss of {settings.max_loss:.4f} AP or less, found {min(losses):.4f} at best; "
            "calibrate with more pictures of the place where it will run, or take bf16 or fp32"
        )
    save_ir(rounded, made, path)
    return Quantised(made, plan)


def _import_nncf() -> Any:
    """The package `nncf`: no reports to its makers, no lines on the terminal, and Python's logging left as it was."""
    made_by = logging.getLoggerClass()
    try:
        with no_telemetry():
            import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "openvino", "int8 for OpenVINO") from error
    finally:
        logging.setLoggerClass(made_by)
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _fed(canvases: ImageArray, header: ExportHeader) -> NDArray[Any]:
    if header.input == "pixels":
        return canvases
    return np.asarray(to_planes(torch.from_numpy(canvases), header.preprocess))


def _round(nncf: Any, ir: Any, fed: Sequence[NDArray[Any]], plan: Plan, preset: str) -> Any:
    """A rounded copy of an `openvino.Model`."""
    kept = _before_outputs(ir, plan.head_layers)
    kept |= {node.get_friendly_name() for node in ir.get_ops() if node.get_type_name() == _DEPTHWISE}
    # NNCF draws its progress on standard output, which may be somebody's pipe.
    with redirect_stdout(io.StringIO()):
        return nncf.quantize(
            ir,
            nncf.Dataset(fed),
            subset_size=len(fed),
            preset=nncf.QuantizationPreset(preset),
            fast_bias_correction=plan.fast,
            # Constants are among the names, which NNCF does not count as layers.
            ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
        )


def _before_outputs(ir: Any, n_layers: int) -> set[str]:
    """Names of the last `n_layers` convolutions on every way to an output, and of what lies behind them."""
    names: set[str] = set()
    seen: set[tuple[str, int]] = set()
    open_ends = [(result.get_node(), n_layers) for result in ir.outputs]
    while open_ends:
        node, n_left = open_ends.pop()
        name = node.get_friendly_name()
        if (name, n_left) in seen:
            continue
        seen.add((name, n_left))
        names.add(name)
        n_left -= node.get_type_name() in _CONVOLUTIONS
        if n_left:
            open_ends += [(port.get_source_output().get_node(), n_left) for port in node.inputs()]
    return names


def _measure(ir: Any, header: ExportHeader, check: ApCheck) -> dict[str, float]:
    with _running(ir, header) as backend:
        network = OpenedNetwork(backend, backend.class_names, backend.input_hw, backend.preprocess)
        result = validate(YoloDetector(check.config, network=network), check.dataset).result
    if result.ap is None or result.ap50 is None:
        raise DatasetError(f"{check.dataset.path}: wanted labelled objects to measure int8 on, found none")
    return {"ap": result.ap, "ap50": result.ap50}


@contextmanager
def _running(ir: Any, header: ExportHeader) -> Iterator[OpenVinoBackend]:
    """The network as it would run from its file, on the CPU."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "network.xml"
        save_ir(ir, header, file)
        backend = OpenVinoBackend(file, OpenVinoConfig(device="cpu"))
        try:
            yield backend
        finally:
            backend.close()


def _how(nncf: Any, canvases: Sequence[ImageArray], plan: Plan, settings: QuantiseSettings) -> dict[str, str]:
    return {"int8": f"nncf {nncf.__version__}, {settings.preset}, {len(canvases)} pictures, {plan.text}"}
