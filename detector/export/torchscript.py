"""TorchScript: a traced network in one file, for LibTorch in C++ and for programs without this one's code.

PyTorch calls TorchScript deprecated in favour of torch.export; what is written here loads all the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from detector.backends import Precision
from detector.export.end2end import objectness_only
from detector.export.header import HEADER_KEY, ExportHeader
from detector.head_spec import HeadSpec
from detector.models import DetectionModel, fuse
from detector.pixels import PixelNetwork
from detector.postprocess import decode_maps
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, CheckpointError
from pipeline.core.protocols import IoSpec
from pipeline.core.whole_file import write_whole

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_TRACED_PX = 64
"""Side of the square that is traced, or the stride if that is more; the file takes any size."""


def write_torchscript(model: DetectionModel, header: ExportHeader, path: Path) -> None:
    """Write a network as TorchScript; an existing file is replaced.

    Input and outputs are those of the ONNX form: `planes` float32 (b, 3, h, w) or `pixels` uint8 (b, h, w, 3) to a
    tuple of maps or to candidates, float32. The header stands in the archive as the extra file `tracklight`.

    Args:
        model: the network with its weights, in float32 on the CPU; not changed, a fused copy is written.
        header: what is to be written. It takes any batch, and any size that the stride divides.
        path: the file to make.

    Raises:
        BackendError: the header wants suppression in the file, one size only, or int8.
    """
    if header.output == "boxes" or header.precision not in _DTYPES or header.fixed_hw or header.batch:
        raise BackendError(
            f"{path}: TorchScript is written with output maps or candidates, any size and batch, in fp32, bf16 or "
            f"fp16; found output {header.output}, size {header.fixed_hw}, batch {header.batch}, {header.precision}"
        )
    network = _Network(model, header)
    side = max(_TRACED_PX, header.stride)
    pixels = header.input == "pixels"
    example = torch.zeros(1, side, side, 3, dtype=torch.uint8) if pixels else torch.zeros(1, 3, side, side)
    content = BytesIO()
    with _told_already(), torch.inference_mode():
        traced = torch.jit.trace(network, (example,), check_trace=False)
        torch.jit.save(traced, content, _extra_files={HEADER_KEY: header.model_dump_json()})
    write_whole(path, content.getbuffer())


class TorchScriptBackend:
    """Runs a file of ours on the CPU, to compare it with what it was made from.

    Args:
        path: the file.

    Raises:
        CheckpointError: no TorchScript, or not of ours.
    """

    device = torch.device("cpu")

    def __init__(self, path: Path) -> None:
        extra: dict[str, str | bytes] = {HEADER_KEY: ""}
        try:
            with _told_already():
                self._network = torch.jit.load(path, map_location="cpu", _extra_files=extra)
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path}: wanted TorchScript ({str(error).splitlines()[0]})") from error
        text = extra[HEADER_KEY]
        self.header = ExportHeader.from_json(text.decode() if isinstance(text, bytes) else text, str(path))
        self.precision: Precision = self.header.precision
        self.head = self.header.head if self.header.output == "maps" else None

    @property
    def io_spec(self) -> IoSpec:
        """Any multiple of the stride, any batch."""
        header = self.header
        return IoSpec(
            stride=header.stride,
            fixed_hw=None,
            max_batch=None,
            num_classes=len(header.class_names),
            output=header.output,
        )

    @torch.inference_mode()
    def infer(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to maps or candidates."""
        return self._network(images if self.header.input == "pixels" else to_planes(images, self.header.preprocess))

    def close(self) -> None:
        """Nothing is held besides memory, which goes with the object."""


class _Network(nn.Module):
    def __init__(self, model: DetectionModel, header: ExportHeader) -> None:
        super().__init__()
        self.dtype = _DTYPES[header.precision]
        network = PixelNetwork(model) if header.input == "pixels" else fuse(model)
        self.network = network.to(self.dtype)
        self.head: HeadSpec | None = None if header.output == "maps" else header.head
        self.objectness_only = objectness_only(header.head)

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        if isinstance(self.network, PixelNetwork):
            maps = self.network(images)
        else:
            maps = self.network.logits(images.to(self.dtype))
        maps = [level.float() for level in maps]
        if self.head is None:
            return tuple(maps)
        rows = decode_maps(maps, self.head)
        return torch.cat((rows[..., :5], torch.ones_like(rows[..., 5:])), -1) if self.objectness_only else rows


@contextmanager
def _told_already() -> Iterator[None]:
    """Without what tracing warns of: sizes checked in Python (the file does without), and its own age."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=r"`torch\.jit\.")
        yield
