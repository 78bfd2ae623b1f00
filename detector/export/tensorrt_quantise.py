"""Int8 for TensorRT: quantisation written into the ONNX graph, or a calibrator for TensorRT 10.

Explicit quantisation is a pair of QuantizeLinear and DequantizeLinear before each convolution's input and weight. It
says what is computed in 8 bits and with which scale, so the graph gives the same in ONNX Runtime, where it can be
checked without a GPU. TensorRT quantises around zero only (no zero points), and wants no pairs behind convolutions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detector.backends.onnxruntime import import_onnxruntime
from detector.export.onnx_file import INPUT
from detector.export.onnx_graph import import_onnx
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError

_BINS = 2048
_STEPS = 127
"""Levels on each side of zero."""
_LEAST_SCALE = 1e-7
"""Of channels that are all zero: 16-bit floats hold no smaller one."""


Feed = Callable[[ImageArray], NDArray[Any]]
"""From a letterboxed picture uint8 (b, h, w, 3) BGR to what the network takes."""


def add_quantisation(graph: bytes, canvases: Sequence[ImageArray], feed: Feed) -> bytes:
    """Put int8 quantisation into an ONNX graph of ours.

    Left as they are: the first convolution, which reads pixels of 8 bits without a sign; those that write the maps;
    and depthwise ones, which gain nothing and lose most.

    Args:
        graph: serialised, in fp32 or fp16.
        canvases: letterboxed pictures uint8 (b, h, w, 3) BGR, typical of what the engine will see; a hundred will do.
        feed: makes the graph's input of one.

    Raises:
        BackendError: no pictures are given.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    if not canvases:
        raise BackendError("int8: wanted pictures to measure the ranges on, found none; give some frames or images")
    onnx = import_onnx()
    model = onnx.load_from_string(graph)
    convolutions = _worth_quantising(model)
    scales = _scales(model, sorted({node.input[0] for node in convolutions}), canvases, feed)
    weights = {value.name: onnx.numpy_helper.to_array(value) for value in model.graph.initializer}
    pairs: dict[str, str] = {}
    added: list[Any] = []
    for node in convolutions:
        value, weight = node.input[0], node.input[1]
        if value not in pairs:
            pairs[value] = _add_pair(onnx, model, added, value, np.array(scales[value]), axis=None)
        if weight not in pairs:
            scale = abs(weights[weight].astype(np.float32)).max(axis=(1, 2, 3)) / _STEPS
            pairs[weight] = _add_pair(onnx, model, added, weight, scale, axis=0)
        node.input[0], node.input[1] = pairs[value], pairs[weight]
    _insert(model, added)
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _worth_quantising(model: Any) -> list[Any]:
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    readers: dict[str, list[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    chosen = []
    for node in convolutions[1:]:
        group = next(attribute.i for attribute in node.attribute if attribute.name == "group")
        # What is read by an activation, or added up, is no map of the head.
        if group == 1 and set(readers.get(node.output[0], ())) & {"Sigmoid", "LeakyRelu", "Mul", "Relu", "Add"}:
            chosen.append(node)
    return chosen


def _scales(model: Any, names: Sequence[str], canvases: Sequence[ImageArray], feed: Feed) -> dict[str, float]:
    """Steps of each value, from what it is on the pictures: first how far it goes, then how often it goes how far."""
    largest = dict.fromkeys(names, 0.0)
    for values in _values(model, names, canvases, feed):
        for name, value in zip(names, values, strict=True):
            largest[name] = max(largest[name], float(abs(value).max()))
    counts = {name: np.zeros(_BINS, np.int64) for name in names}
    for values in _values(model, names, canvases, feed):
        for name, value in zip(names, values, strict=True):
            counts[name] += np.histogram(abs(value), _BINS, (0, largest[name] or 1.0))[0]
    return {name: best_scale(counts[name], largest[name] or 1.0) for name in names}


def best_scale(counts: NDArray[np.int64], largest: float) -> float:
    """The step that loses least, in squares: short steps are exact where values are frequent, but cut off the rare.

    Args:
        counts: how often a value's magnitude lies in each of equal bins from 0 to `largest`.
        largest: end of the last bin.
    """
    middle = (np.arange(len(counts)) + 0.5) * largest / len(counts)
    ends = largest * np.linspace(0.05, 1, 96)
    steps = ends / _STEPS
    cut_off = np.maximum(middle[None] - ends[:, None], 0) ** 2
    rounded = np.where(middle[None] <= ends[:, None], steps[:, None] ** 2 / 12, 0)
    loss = ((cut_off + rounded) * counts).sum(1)
    return float(steps[loss.argmin()])


def _values(
    model: Any, names: Sequence[str], canvases: Sequence[ImageArray], feed: Feed
) -> Iterator[list[NDArray[Any]]]:
    """What the named values are on each picture, in ONNX Runtime."""
    onnx = import_onnx()
    onnxruntime = import_onnxruntime("measuring the ranges for int8")
    listening = onnx.ModelProto()
    listening.CopyFrom(model)
    listening.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(listening.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for canvas in canvases:
        yield [value.astype(np.float32) for value in session.run(list(names), {INPUT: feed(canvas)})]


def _add_pair(
    onnx: Any, model: Any, added: list[Any], value: str, scale: NDArray[np.floating[Any]], *, axis: int | None
) -> str:
    """Nodes that take a value to int8 and back; gives the name of what comes back."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    dtype = np.float16 if _is_half(onnx, model) else np.float32
    limited = np.maximum(scale, _LEAST_SCALE).astype(dtype)
    model.graph.initializer.append(numpy_helper.from_array(limited, f"{value}/scale"))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(limited.shape, np.int8), f"{value}/zero"))
    extra = {} if axis is None else {"axis": axis}
    settings = [f"{value}/scale", f"{value}/zero"]
    added.append(helper.make_node("QuantizeLinear", [value, *settings], [f"{value}/int8"], f"{value}/to_int8", **extra))
    added.append(
        helper.make_node(
            "DequantizeLinear", [f"{value}/int8", *settings], [f"{value}/back"], f"{value}/of_int8", **extra
        )
    )
    return f"{value}/back"


def _is_half(onnx: Any, model: Any) -> bool:
    return any(value.data_type == onnx.TensorProto.FLOAT16 for value in model.graph.initializer)


def _insert(model: Any, added: Sequence[Any]) -> None:
    """Put each new node behind what it reads: ONNX wants its nodes in order."""
    waiting: dict[str, list[Any]] = {}
    for node in added:
        waiting.setdefault(node.input[0], []).append(node)
    ordered: list[Any] = []

    def place(name: str) -> None:
        for node in waiting.pop(name, ()):
            ordered.append(node)
            place(node.output[0])

    for value in [*model.graph.initializer, *model.graph.input]:
        place(value.name)
    for node in list(model.graph.node):
        ordered.append(node)
        for name in node.output:
            place(name)
    del model.graph.node[:]
    model.graph.node.extend(ordered)


def entropy_calibrator(trt: Any, canvases: Sequence[ImageArray], feed: Feed, device: torch.device) -> Any:
    """A calibrator of TensorRT 10: it measures the ranges itself, on the pictures that this hands it.

    Args:
        trt: the package, of version 10.
        canvases: letterboxed pictures uint8 (b, h, w, 3) BGR, all of one shape.
        feed: makes the network's input of one.
        device: the GPU.

    Raises:
        BackendError: there are none, or of different shapes.
    """
    shapes = {canvas.shape for canvas in canvases}
    if len(shapes) != 1:
        raise BackendError(f"int8: wanted pictures of one size for the calibrator, found {len(shapes)} sizes")
    first = torch.from_numpy(feed(canvases[0]))

    class Calibrator(trt.IInt8EntropyCalibrator2):  # type: ignore[misc]
        shape = tuple(first.shape)

        def __init__(self) -> None:
            trt.IInt8EntropyCalibrator2.__init__(self)
            self._left = iter(canvases)
            self._buffer = torch.empty_like(first, device=device)

        def get_batch_size(self) -> int:
            return int(self.shape[0])

        def get_batch(self, names: Sequence[str]) -> list[int] | None:
            canvas = next(self._left, None)
            if canvas is None:
                return None
            self._buffer.copy_(torch.from_numpy(feed(canvas)))
            return [self._buffer.data_ptr() for _ in names]

        def read_calibration_cache(self) -> bytes | None:
            return None

        def write_calibration_cache(self, cache: bytes) -> None:
            """Nothing is kept: the engine itself is."""

    return Calibrator()
