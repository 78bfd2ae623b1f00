"""ONNX files: a network, alone or with decoding and non-maximum suppression behind it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from detector.export.end2end import GraphNms, add_decoding, add_suppression
from detector.export.header import HEADER_KEY, ExportHeader
from detector.export.onnx_graph import Dimension, OnnxGraph, import_onnx
from detector.export.onnx_network import add_network
from detector.models import DetectionModel, fuse
from detector.pixels import PixelNetwork
from pipeline.core.errors import BackendError, CheckpointError
from pipeline.core.whole_file import write_whole

OPSET = 17
"""Operators of 2022: TensorRT 8.5, ONNX Runtime 1.12 and OpenVINO 2022.3 have them, and all later ones."""

WRITER = 1
"""Counts the changes of what is written, so that kept files of an earlier one are made anew."""

INPUT = "images"
TENSORRT_OUTPUTS = ("num_dets", "det_boxes", "det_scores", "det_classes")


def write_onnx(
    model: DetectionModel, header: ExportHeader, path: Path, *, nms: GraphNms | None = None, opset: int = OPSET
) -> None:
    """Write a network as an ONNX file; an existing file is replaced.

    The input is `images`: `header.input` `planes` float32 (b, 3, h, w), `pixels` uint8 (b, h, w, 3). The outputs are
    float32 and named by `header.output`: `maps_0`, `maps_1`, ... by level, `candidates`, or `boxes` (with the plugin
    of TensorRT: `num_dets`, `det_boxes`, `det_scores`, `det_classes`). Batch, height and width are open where the
    header says None. In its metadata stand the header, and what other programs look for (`names`, `stride`, `imgsz`).

    Args:
        model: the network with its weights, in float32 on the CPU; not changed, a fused copy is written.
        header: what is to be written; `precision` fp32 or fp16, where input, output and boxes stay in 32 bits.
        path: the file to make.
        nms: thresholds of the suppression in the graph for the output `boxes`; None = as a detector has them.
        opset: version of ONNX' operators.

    Raises:
        MissingExtraError: onnx is not installed.
        BackendError: the header wants what an ONNX file of ours cannot be.
    """
    if header.precision not in ("fp32", "fp16"):
        raise BackendError(f"{path}: an ONNX file is written in fp32 or fp16, found {header.precision}")
    graph = OnnxGraph(opset)
    batch: Dimension = header.batch or "batch"
    height, width = header.fixed_hw or ("height", "width")
    network: nn.Module
    side = header.stride
    if header.input == "pixels":
        network, example = PixelNetwork(model), torch.zeros(1, side, side, 3, dtype=torch.uint8)
        image = graph.input(INPUT, np.uint8, (batch, height, width, 3))
    else:
        network, example = _PlanesNetwork(model), torch.zeros(1, 3, side, side)
        image = graph.input(INPUT, np.float32, (batch, 3, height, width))
    maps = add_network(graph, network, example, image, half=header.precision == "fp16")
    _add_outputs(graph, maps, header, nms or GraphNms())
    built = graph.model(version("tracklight"), _metadata(header, nms))
    write_whole(path, built.SerializeToString())


def read_onnx_header(path: Path) -> ExportHeader | None:
    """The header of an ONNX file of ours; None where the file is somebody else's.

    Raises:
        MissingExtraError: onnx is not installed.
        CheckpointError: no ONNX file, or a header of a newer version.
    """
    onnx = import_onnx()
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:
        raise CheckpointError(f"{path}: wanted an ONNX file ({str(error).splitlines()[0]})") from error
    for entry in model.metadata_props:
        if entry.key == HEADER_KEY:
            return ExportHeader.from_json(entry.value, str(path))
    return None


class _PlanesNetwork(nn.Module):
    """What the network was trained on, to logits per level."""

    def __init__(self, model: DetectionModel) -> None:
        super().__init__()
        self.network = fuse(model)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits of float (b, 3, h, w)."""
        return self.network.logits(images)


def _add_outputs(graph: OnnxGraph, maps: Sequence[str], header: ExportHeader, nms: GraphNms) -> None:
    batch: Dimension = header.batch or "batch"
    head = header.head
    if header.output == "maps":
        channels = head.num_anchors * (5 + head.num_classes)
        for level, (value, stride) in enumerate(zip(maps, head.strides, strict=True)):
            sides = _cells(header, stride) or (f"height_{stride}", f"width_{stride}")
            graph.output(value, f"maps_{level}", np.float32, (batch, channels, *sides))
        return
    candidates = add_decoding(graph, maps, head, header.fixed_hw)
    count = _num_candidates(header)
    if header.output == "candidates":
        graph.output(candidates, "candidates", np.float32, (batch, count or "candidates", 5 + head.num_classes))
        return
    outputs = add_suppression(graph, candidates, head.num_classes, nms)
    if nms.form == "onnx":
        rows = min(count, nms.max_det) if count else "rows"
        graph.output(outputs[0], "boxes", np.float32, (batch, rows, 6))
        return
    shapes = ((batch, 1), (batch, nms.max_det, 4), (batch, nms.max_det), (batch, nms.max_det))
    for value, name, shape in zip(outputs, TENSORRT_OUTPUTS, shapes, strict=True):
        whole = name in ("num_dets", "det_classes")
        graph.output(value, name, np.int32 if whole else np.float32, shape)


def _cells(header: ExportHeader, stride: int) -> tuple[int, int] | None:
    return None if header.fixed_hw is None else (header.fixed_hw[0] // stride, header.fixed_hw[1] // stride)


def _num_candidates(header: ExportHeader) -> int | None:
    cells = [_cells(header, stride) for stride in header.head.strides]
    return header.head.num_anchors * sum(ny * nx for ny, nx in filter(None, cells)) if header.fixed_hw else None


def _metadata(header: ExportHeader, nms: GraphNms | None) -> dict[str, str]:
    """Our header, and what other programs look for, in the form that Ultralytics gave it."""
    height, width = header.fixed_hw or header.input_hw
    metadata = {
        HEADER_KEY: header.model_dump_json(),
        "names": str(dict(enumerate(header.class_names))),
        "stride": str(header.stride),
        "imgsz": str([height, width]),
    }
    if header.output == "boxes":
        used = nms or GraphNms()
        metadata |= {"conf_thres": str(used.conf_thres), "iou_thres": str(used.iou_thres)}
    return metadata
