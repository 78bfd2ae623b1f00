"""ONNX files that end in TensorRT's plugin, run without TensorRT: up to the plugin, whose work is done outside."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from detector.backends import Precision
from detector.backends.onnxruntime import OnnxRuntimeConfig, open_session
from detector.export.header import ExportHeader
from detector.export.onnx_graph import import_onnx
from detector.preprocess import to_planes
from pipeline.core.protocols import IoSpec

PLUGIN = "EfficientNMS_TRT"


class PluginFreeBackend:
    """What the file hands to the plugin, as candidates: the boxes' corners, and their confidence by class.

    Args:
        path: the .onnx file.
        header: what it says about itself.

    Raises:
        MissingExtraError: onnx or onnxruntime is not installed.
    """

    device = torch.device("cpu")
    head = None

    def __init__(self, path: Path, header: ExportHeader) -> None:
        onnx = import_onnx()
        self._header = header
        self.precision: Precision = header.precision
        with TemporaryDirectory() as folder:
            plain = Path(folder) / "plain.onnx"
            onnx.save(_without_plugin(onnx.load(path)), plain)
            self._session: Any = open_session(plain, OnnxRuntimeConfig(device="cpu"))

    @property
    def io_spec(self) -> IoSpec:
        """Sizes and batches of the file."""
        header = self._header
        return IoSpec(
            stride=header.stride,
            fixed_hw=header.fixed_hw,
            max_batch=header.batch,
            num_classes=len(header.class_names),
            output="candidates",
        )

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to candidates (b, k, 5 + nc) of objectness 1."""
        count = len(images)
        if self._header.batch:
            images = torch.cat([images, images.new_zeros((self._header.batch - count, *images.shape[1:]))])
        fed = images if self._header.input == "pixels" else to_planes(images, self._header.preprocess)
        names = [self._session.get_inputs()[0].name]
        xyxy, scores = (torch.from_numpy(output[:count]) for output in self._session.run(None, {names[0]: fed.numpy()}))
        size = xyxy[..., 2:] - xyxy[..., :2]
        objectness = scores.amax(2, keepdim=True)
        # The product of both is the score again; a network with one class is read by its objectness alone.
        classes = (scores > 0).float()
        return torch.cat((xyxy[..., :2] + size / 2, size, objectness, classes), 2)

    def close(self) -> None:
        """Let go of the session. Idempotent."""
        self._session = None


def _without_plugin(model: Any) -> Any:
    """The model with the plugin's inputs, corners and scores, as its outputs."""
    onnx = import_onnx()
    (plugin,) = (node for node in model.graph.node if node.op_type == PLUGIN)
    kinds = [onnx.helper.make_empty_tensor_value_info(name) for name in plugin.input]
    for kind in kinds:
        kind.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    produced = set(plugin.output)
    kept = [node for node in model.graph.node if node is not plugin and not produced.intersection(node.input)]
    del model.graph.node[:], model.graph.output[:]
    model.graph.node.extend(kept)
    model.graph.output.extend(kinds)
    return model
