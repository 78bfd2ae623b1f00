"""ONNX in int8: convolutions in whole numbers, with ranges measured on pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from detector.backends.onnxruntime import import_onnxruntime
from detector.export.end2end import GraphNms
from detector.export.header import HEADER_KEY, ExportHeader
from detector.export.onnx_file import INPUT, OPSET, write_onnx
from detector.export.onnx_graph import import_onnx
from detector.models import DetectionModel
from detector.preprocess import to_planes
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError
from pipeline.core.whole_file import write_whole

_QUANTISED = ("Conv", "LeakyRelu", "Add", "Concat", "MaxPool", "Resize", "Slice")
"""What is computed in 8 bits. SiLU is not: rounding before its product costs YOLOX-nano all of its AP."""
_PREPARED = "onnx.quant.pre_process"
"""Tells ONNX Runtime that shapes are inferred already."""


def write_onnx_int8(
    model: DetectionModel,
    header: ExportHeader,
    path: Path,
    canvases: Sequence[ImageArray],
    *,
    nms: GraphNms | None = None,
    opset: int = OPSET,
) -> None:
    """Write a network as an ONNX file with int8 quantisation (QuantizeLinear and DequantizeLinear) in the graph.

    In 32 bits stay: the first convolution, whose input has the coarsest steps; depthwise ones, which gain nothing and
    lose most; those that write the maps, and all that stands behind them.

    Args:
        model: the network with its weights, in float32 on the CPU; not changed.
        header: what is to be written; its precision is int8.
        path: the file to make.
        canvases: letterboxed pictures uint8 (1, h, w, 3) BGR, typical of what it will see; a hundred will do.
        nms: thresholds of the suppression in the graph.
        opset: version of ONNX' operators.

    Raises:
        BackendError: no pictures are given.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    if not canvases:
        raise BackendError("int8: wanted pictures to measure the ranges on, found none; name some with --data")
    onnx = import_onnx()
    import_onnxruntime()
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with TemporaryDirectory() as folder:
        plain, quantised = Path(folder) / "plain.onnx", Path(folder) / "int8.onnx"
        write_onnx(model, header.model_copy(update={"precision": "fp32"}), plain, nms=nms, opset=opset)
        graph = onnx.load(plain)
        metadata = {entry.key: entry.value for entry in graph.metadata_props}
        onnx.helper.set_model_props(graph, {**metadata, _PREPARED: "onnxruntime.quant"})
        onnx.save(graph, plain)
        quantize_static(
            plain,
            quantised,
            _Pictures(canvases, header),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            nodes_to_exclude=_in_floats(graph),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            # Ranges are the mean of each picture's own: one odd picture must not make the steps coarse for all.
            extra_options={"CalibMovingAverage": True},
        )
        built = onnx.load(quantised)
    onnx.helper.set_model_props(built, {**metadata, HEADER_KEY: header.model_dump_json()})
    onnx.checker.check_model(built)
    write_whole(path, built.SerializeToString())


class _Pictures:
    """Hands the pictures over one by one, as ONNX Runtime's calibration asks for them."""

    def __init__(self, canvases: Sequence[ImageArray], header: ExportHeader) -> None:
        self._fed: Iterator[Any] = (_feed(canvas, header) for canvas in canvases)

    def get_next(self) -> dict[str, Any] | None:
        """The next picture by the name of the input; None after the last one."""
        picture = next(self._fed, None)
        return None if picture is None else {INPUT: picture}


def _feed(canvas: ImageArray, header: ExportHeader) -> Any:
    images = torch.from_numpy(canvas).expand(header.batch or 1, -1, -1, -1)
    return (images if header.input == "pixels" else to_planes(images, header.preprocess)).numpy()


def _in_floats(graph: Any) -> list[str]:
    """Names of the nodes that are not quantised: see `write_onnx_int8`."""
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    depthwise = [
        node for node in convolutions if any(field.name == "group" and field.i > 1 for field in node.attribute)
    ]
    names = {node.name for node in (convolutions[0], *depthwise)}
    return sorted(names | _behind(graph.graph.node))


def _behind(nodes: Sequence[Any]) -> set[str]:
    """The convolutions that no other one reads, and everything behind them.

    A graph goes by what it computes first, so one pass from its end sees each reader before what it reads.
    """
    reads_on: set[str] = set()
    names = set()
    for node in reversed(nodes):
        before_convolution = any(output in reads_on for output in node.output)
        if before_convolution or node.op_type == "Conv":
            reads_on.update(node.input)
        if not before_convolution:
            names.add(node.name)
    return names
