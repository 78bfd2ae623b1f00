"""What stands behind the network in an exported graph: decoding, and non-maximum suppression.

Both follow `detector.decode` and `detector.nms`; cells are counted in the graph, so height and width may stay open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.export.onnx_graph import OnnxGraph
from detector.head_spec import HeadSpec

NmsForm = Literal["onnx", "tensorrt"]
"""onnx: the operator NonMaxSuppression, which ONNX Runtime and OpenVINO have. tensorrt: the plugin EfficientNMS_TRT."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GraphNms:
    """Non-maximum suppression within an exported graph: its thresholds are fixed in the file."""

    form: NmsForm = Field(default="onnx", description="onnx (ONNX Runtime, OpenVINO) or tensorrt (EfficientNMS_TRT)")
    conf_thres: float = Field(default=0.25, ge=0, le=1, description="boxes above this confidence are kept")
    iou_thres: float = Field(default=0.45, ge=0, le=1, description="boxes that overlap a better one by more go")
    max_det: int = Field(default=300, ge=1, description="most boxes per image, and rows of the output")


def objectness_only(head: HeadSpec) -> bool:
    """Whether the class column of candidates is 1, so that the product of both is the objectness.

    YOLOv7 networks with one class do not train their class output, and YOLOv7's program does not look at it.
    """
    return head.family == "yolov7" and head.num_classes == 1


def add_decoding(graph: OnnxGraph, maps: Sequence[str], head: HeadSpec, fixed_hw: tuple[int, int] | None) -> str:
    """Add what makes candidates of logits; see detector.postprocess.decode_maps.

    Args:
        graph: where to.
        maps: per level, float32 (b, na * (5 + nc), ny, nx).
        head: how they are read.
        fixed_hw: height and width of the input, px, or None where they are open.

    Returns:
        Name of the candidates, float32 (b, k, 5 + nc): cx, cy, w, h px, objectness, classes.
    """
    levels = []
    for number, (logits, stride) in enumerate(zip(maps, head.strides, strict=True)):
        cells = None if fixed_hw is None else (fixed_hw[0] // stride, fixed_hw[1] // stride)
        # (b, na, 5 + nc, cells): one axis for the cells, so that a shape with open sides needs one -1 only.
        flat = graph.add("Reshape", logits, graph.ints(0, head.num_anchors, 5 + head.num_classes, -1))
        xy, wh, scores = graph.add_multiple("Split", [flat, graph.ints(2, 2, 1 + head.num_classes)], 3, axis=2)
        grid = _grid(graph, logits, cells)
        scores = graph.add("Sigmoid", scores)
        if objectness_only(head):
            objectness = graph.add("Slice", scores, graph.ints(0), graph.ints(1), graph.ints(2))
            scores = graph.add("Concat", objectness, graph.filled_like(objectness, 1), axis=2)
        boxes = _boxes_yolox if head.family == "yolox" else _boxes_yolov7
        centre, size = boxes(graph, xy, wh, head, number)
        centre = graph.add("Mul", graph.add("Add", centre, grid), graph.floats(stride))
        rows = graph.add("Concat", centre, size, scores, axis=2)
        rows = graph.add("Transpose", rows, perm=[0, 1, 3, 2])
        levels.append(graph.add("Reshape", rows, graph.ints(0, -1, 5 + head.num_classes)))
    return graph.add("Concat", *levels, axis=1)


def _boxes_yolov7(graph: OnnxGraph, xy: str, wh: str, head: HeadSpec, level: int) -> tuple[str, str]:
    two = graph.floats(2)
    centre = graph.add("Sub", graph.add("Mul", graph.add("Sigmoid", xy), two), graph.floats(0.5))
    side = graph.add("Mul", graph.add("Sigmoid", wh), two)
    anchors = np.array(head.anchors_px[level], np.float32).reshape(1, -1, 2, 1)
    return centre, graph.add("Mul", graph.add("Mul", side, side), graph.constant(anchors, f"anchors_{level}"))


def _boxes_yolox(graph: OnnxGraph, xy: str, wh: str, head: HeadSpec, level: int) -> tuple[str, str]:
    return xy, graph.add("Mul", graph.add("Exp", wh), graph.floats(head.strides[level]))


def _grid(graph: OnnxGraph, logits: str, cells: tuple[int, int] | None) -> str:
    """Float32 (1, 1, 2, ny * nx): x and y of every cell."""
    if cells is not None:
        yx = np.indices(cells, np.float32).reshape(2, -1)
        return graph.constant(yx[::-1][None, None], "grid")
    shape = graph.add("Shape", logits)
    ny, nx = (graph.add("Gather", shape, graph.constant(np.array(axis, np.int64))) for axis in (2, 3))
    zero, one = (graph.constant(np.array(number, np.int64)) for number in (0, 1))
    numbers = graph.add("Range", zero, graph.add("Mul", ny, nx), one)
    x, y = graph.add("Mod", numbers, nx), graph.add("Div", numbers, nx)
    both = graph.add("Concat", *(graph.add("Unsqueeze", side, graph.ints(0)) for side in (x, y)), axis=0)
    return graph.cast(graph.add("Unsqueeze", both, graph.ints(0, 1)), np.float32)


def add_suppression(graph: OnnxGraph, candidates: str, num_classes: int, nms: GraphNms) -> tuple[str, ...]:
    """Add what makes boxes of candidates; see detector.nms. A candidate counts for its best class only.

    Args:
        graph: where to.
        candidates: float32 (b, k, 5 + nc).
        num_classes: nc.
        nms: thresholds, and which operator.

    Returns:
        Form onnx: the name of (b, n, 6): xyxy px, confidence, class_id by falling confidence, zeros behind them; n is
        `max_det`, or k if that is less. Form tensorrt: num_dets (b, 1) int32, det_boxes (b, max_det, 4) xyxy px,
        det_scores (b, max_det), det_classes (b, max_det) int32.
    """
    cxcywh, objectness, classes = graph.add_multiple(
        "Split", [candidates, graph.ints(4, 1, num_classes)], 3, axis=2, name="columns"
    )
    score, class_id = graph.add_multiple("TopK", [classes, graph.ints(1)], 2, axis=2, name="best_class")
    confidence = graph.add("Mul", score, objectness, name="confidence")
    centre, size = graph.add_multiple("Split", [cxcywh, graph.ints(2, 2)], 2, axis=2)
    half = graph.add("Mul", size, graph.floats(0.5))
    xyxy = graph.add("Concat", graph.add("Sub", centre, half), graph.add("Add", centre, half), axis=2, name="xyxy")
    if nms.form == "tensorrt":
        numbers = graph.constant(np.arange(num_classes, dtype=np.int64).reshape(1, 1, -1))
        scores = graph.add("Where", graph.add("Equal", class_id, numbers), confidence, graph.floats(0), name="scores")
        return _efficient_nms(graph, xyxy, scores, nms)
    return (_rows(graph, xyxy, confidence, class_id, num_classes, nms),)


def _efficient_nms(graph: OnnxGraph, xyxy: str, scores: str, nms: GraphNms) -> tuple[str, ...]:
    return graph.add_multiple(
        "EfficientNMS_TRT",
        [xyxy, scores],
        4,
        name="nms",
        domain="TRT",
        plugin_version="1",
        score_threshold=nms.conf_thres,
        iou_threshold=nms.iou_thres,
        max_output_boxes=nms.max_det,
        background_class=-1,
        score_activation=0,
        class_agnostic=0,
        box_coding=0,
    )


def _rows(graph: OnnxGraph, xyxy: str, confidence: str, class_id: str, num_classes: int, nms: GraphNms) -> str:
    numbers = graph.constant(np.arange(num_classes, dtype=np.int64).reshape(1, -1, 1))
    turned = [graph.add("Transpose", value, perm=[0, 2, 1]) for value in (class_id, confidence)]
    scores = graph.add("Where", graph.add("Equal", turned[0], numbers), turned[1], graph.floats(0))
    chosen = graph.add(
        "NonMaxSuppression",
        xyxy,
        scores,
        graph.ints(nms.max_det),
        graph.constant(np.array([nms.iou_thres], np.float32)),
        graph.constant(np.array([nms.conf_thres], np.float32)),
        name="nms",
    )
    # The operator goes by image, class, confidence; rows are wanted by image and confidence. So the confidence of
    # what it has chosen is written to an empty board of all candidates, whose best ones are taken.
    pairs = graph.add("Gather", chosen, graph.ints(0, 2), axis=1)
    flat = graph.add("Squeeze", confidence, graph.ints(2))
    board = graph.add("ScatterND", graph.filled_like(flat, 0), pairs, graph.add("GatherND", flat, pairs))
    count = graph.add("Min", graph.ints(nms.max_det), graph.add("Gather", graph.add("Shape", flat), graph.ints(1)))
    best, places = graph.add_multiple("TopK", [board, count], 2, axis=1, name="best")
    places = graph.add("Unsqueeze", places, graph.ints(2))
    best = graph.add("Unsqueeze", best, graph.ints(2))
    boxes = graph.add("GatherElements", xyxy, graph.add("Expand", places, graph.ints(1, 1, 4)), axis=1)
    ids = graph.cast(graph.add("GatherElements", class_id, places, axis=1), np.float32)
    rows = graph.add("Concat", boxes, best, ids, axis=2)
    found = graph.add("Greater", best, graph.floats(0))
    return graph.add("Where", found, rows, graph.floats(0), name="rows")
