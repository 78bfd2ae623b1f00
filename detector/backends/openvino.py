"""OpenVINO: runs .xml and .onnx files, and PyTorch weights, on Intel and AMD CPUs and on Intel GPUs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import Precision
from detector.backends.onnx_form import OnnxIo, form_of
from detector.checkpoint import load_checkpoint
from detector.cpu_features import cpu_flags, has_fast_bf16
from detector.download import file_sha256
from detector.export.artefacts import kept
from detector.export.header import ExportHeader
from detector.export.onnx_file import WRITER
from detector.export.openvino_ir import first_line, import_openvino, openvino_core, read_ir, write_openvino
from detector.preprocess import to_planes
from pipeline.core.cores import restricted_cores, usable_cores
from pipeline.core.errors import BackendError
from pipeline.core.protocols import IoSpec

if TYPE_CHECKING:
    from detector.open_network import OpenedNetwork, Wanted

_log = logging.getLogger(__name__)

_HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
"""What layers compute in that are not quantised; in an int8 file 16 bits gain nothing there (docs/openvino.md)."""

_MOST_SHAPES = 4
"""Input shapes with a compiled network of their own, which is up to 7 % faster; one for any shape serves the rest."""

_MOST_STREAMS = 8
"""Each holds buffers of its own, and more threads than this hardly ever call."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OpenVinoConfig:
    """How the file runs in OpenVINO."""

    device: str = Field(default="auto", description="auto (the CPU), cpu, gpu, gpu:1 (Intel's)")
    precision: Precision | None = Field(default=None, description="fp32, bf16, fp16, int8; None = the file's own")
    threads: int | None = Field(default=None, ge=1, description="CPU threads of all requests; None = all cores")
    streams: int | None = Field(
        default=None,
        ge=1,
        description="requests computed side by side, which share the threads; "
        "None = 1, and one per core (8 at most) from the moment that two threads call at once",
    )


class OpenVinoBackend:
    """Runs what `tracklight export` writes, and the foreign .onnx files that `form_of` knows.

    One request with all cores gives a picture the soonest; a request per core gives the most pictures a second. Both
    give the same numbers.

    Args:
        path: the .xml or .onnx file.
        config: device, precision, threads, streams.

    Attributes:
        class_names, input_hw, preprocess: what the file is meant for.

    Raises:
        MissingExtraError: openvino is not installed.
        CheckpointError: the file cannot be read, or is not of a known kind.
        BackendError: the device is not there, or has not the precision; nothing falls back in silence.
    """

    def __init__(self, path: Path, config: OpenVinoConfig | None = None) -> None:
        config = config or OpenVinoConfig()
        openvino = import_openvino(f"running {path.name}")
        self._core = openvino_core()
        self._tensor, self._partial_shape = openvino.Tensor, openvino.PartialShape
        self._device = _device(config.device, self._core.available_devices)
        ir, metadata = read_ir(path)
        self._form = form = form_of(path, _io_of(ir), metadata)
        self.precision: Precision = _precision(path, config.precision, form.precision)
        _require_precision(self.precision, self._device, self._core)
        # On a CPU OpenVINO keeps what lies behind the last convolution in 32 bits; nobody has looked at a GPU.
        if self._device != "CPU" and form.output != "maps" and self.precision in ("bf16", "fp16"):
            raise BackendError(
                f"{path}: on {self._device} {self.precision} may round the boxes that this file decodes by 4 px; "
                "take --precision fp32, or run the weights that it was made from"
            )
        self.class_names, self.input_hw, self.preprocess = form.class_names, form.input_hw, form.preprocess
        self.head = form.head
        # Tensors are the host's; OpenVINO copies them to a GPU itself.
        self.device = torch.device("cpu")
        self._ir: Any = ir
        # Of all cores it chooses itself: one thread per physical core is best.
        self._threads = config.threads or restricted_cores()
        self._most_streams = config.streams or min(config.threads or usable_cores(), _MOST_STREAMS)
        self._streams = config.streams or 1
        self._lock = threading.Lock()
        self._n_running = 0
        self._compiled: dict[tuple[int, ...] | None, _Compiled] = {}
        self._spec = IoSpec(
            stride=form.stride,
            fixed_hw=form.fixed_hw,
            # On a CPU a batch costs as much per picture as pictures one by one, and every size of it a compilation.
            max_batch=form.batch or (1 if self._device == "CPU" else None),
            num_classes=len(form.class_names),
            output=form.output,
            n_parallel=self._most_streams,
            compiles_shapes=True,
        )

    @property
    def io_spec(self) -> IoSpec:
        """Sizes and batches that the file takes, what it gives, and how many threads may call at once."""
        return self._spec

    def infer(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to what `io_spec.output` says, on the CPU.

        What it gives is OpenVINO's own memory: the next call from the same thread writes over it.

        Raises:
            BackendError: the backend is closed, or the runtime failed.
        """
        n_images, hw = len(images), (images.shape[1], images.shape[2])
        # OpenVINO would make the file fit, but decoding in it has the one size written into it.
        if self._form.fixed_hw not in (None, hw):
            raise BackendError(
                f"wanted pictures of {self._form.fixed_hw} px (h, w), all that this file takes, found {hw}"
            )
        # A file with a fixed batch takes exactly that many images.
        n_padded = (self._form.batch or 0) - n_images
        if n_padded > 0:
            images = torch.cat([images, images.new_zeros((n_padded, *images.shape[1:]))])
        planes = images if self._form.input == "pixels" else to_planes(images, self.preprocess)
        self._enter()
        try:
            request = self._request(tuple(planes.shape))
            request.set_input_tensor(self._tensor(planes.numpy(), shared_memory=True))
            request.start_async()
            request.wait()
            outputs = [tensor.data for tensor in request.output_tensors]
        except RuntimeError as error:
            if isinstance(error, BackendError):
                raise
            raise BackendError(f"OpenVINO failed on a batch of {tuple(images.shape)}: {first_line(error)}") from error
        finally:
            self._leave()
        return self._form.read(outputs, hw, n_images)

    def close(self) -> None:
        """Let go of the networks. Idempotent."""
        with self._lock:
            self._ir = None
            self._compiled.clear()

    def _enter(self) -> None:
        with self._lock:
            self._n_running += 1
            if self._n_running > 1 and self._streams < self._most_streams:
                self._streams = self._most_streams
                self._compiled.clear()

    def _leave(self) -> None:
        with self._lock:
            self._n_running -= 1

    def _request(self, shape: tuple[int, ...]) -> Any:
        """The calling thread's own request for an input shape."""
        with self._lock:
            if self._ir is None:
                raise BackendError("OpenVINO backend: wanted an open one, found it closed")
            key = shape if shape in self._compiled or len(self._compiled) < _MOST_SHAPES else None
            if key not in self._compiled:
                self._compiled[key] = _Compiled(self._compile(key))
            return self._compiled[key].request()

    def _compile(self, shape: tuple[int, ...] | None) -> Any:
        ir = self._ir
        if shape is not None:
            ir = ir.clone()
            ir.reshape(self._partial_shape(list(shape)))
        properties: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[self.precision]}
        if self._device == "CPU":
            # Threads that are bound to a core wait for whoever else works there: decoder, encoder, tracker.
            properties |= {"NUM_STREAMS": self._streams, "ENABLE_CPU_PINNING": False}
            if self._threads is not None:
                properties["INFERENCE_NUM_THREADS"] = self._threads
        else:
            properties["PERFORMANCE_HINT"] = "LATENCY" if self._streams == 1 else "THROUGHPUT"
        return self._core.compile_model(ir, self._device, properties)


class _Compiled:
    """A compiled network, and a request of it for each thread that calls. Used under the backend's lock."""

    def __init__(self, network: Any) -> None:
        self._network = network
        # Its buffers go with the thread.
        self._of_thread = threading.local()

    def request(self) -> Any:
        held = getattr(self._of_thread, "request", None)
        if held is None:
            held = self._of_thread.request = self._network.create_infer_request()
        return held


def open_openvino(path: Path, wanted: Wanted) -> OpenedNetwork:
    """Open an .xml or .onnx file, or PyTorch weights, which are converted first and kept.

    Raises:
        MissingExtraError: openvino, or onnx for PyTorch weights, is not installed.
        CheckpointError: the file cannot be read, or is of no known kind.
        BackendError: the device or the precision cannot be had.
    """
    from detector.open_network import OpenedNetwork

    precision = None if wanted.precision == "auto" else wanted.precision
    file = path if path.suffix in (".xml", ".onnx") else _converted(path, precision)
    backend = OpenVinoBackend(file, OpenVinoConfig(device=wanted.device, precision=precision, threads=wanted.threads))
    return OpenedNetwork(backend, backend.class_names, backend.input_hw, backend.preprocess)


def _converted(path: Path, precision: Precision | None) -> Path:
    """PyTorch weights as an .xml of ours, for pictures of any size, with maps for our own decoding."""
    if precision == "int8":
        raise BackendError(_needs_calibration(path))
    openvino = import_openvino("the backend openvino")
    digest = file_sha256(path)

    def build(file: Path) -> None:
        _log.info("%s: converting it for OpenVINO; later runs find it converted", path)
        loaded = load_checkpoint(path)
        header = ExportHeader.of(loaded, input="pixels", output="maps")
        write_openvino(loaded.model, header.model_copy(update={"source_sha256": digest}), file)

    versions = {"writer": WRITER, "openvino": openvino.__version__}
    return kept({"form": "openvino pixels maps", "source_sha256": digest, **versions}, "network.xml", build)


def _needs_calibration(path: Path) -> str:
    return (
        f"{path}: int8 needs pictures to calibrate with; make a file and run that: tracklight export --weights {path} "
        "--format openvino --precision int8 --data VIDEO-OR-PICTURES"
    )


def _precision(path: Path, wanted: Precision | None, found: Precision) -> Precision:
    """What a file is to be computed in. Floats can run in any other float; whole numbers are in the file or not."""
    if wanted is None or wanted == found:
        return found
    if wanted == "int8":
        raise BackendError(_needs_calibration(path))
    if found == "int8":
        raise BackendError(f"{path}: wanted {wanted}, found an int8 file; name the weights that it was made from")
    return wanted


def _require_precision(precision: Precision, device: str, core: Any) -> None:
    named = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    able = [known for known in _HINTS if known.upper() in named]
    # On CPUs without the instructions OpenVINO computes bf16 the long way round, at a loss. Flags are Linux's.
    if device == "CPU" and bool(cpu_flags()) and not has_fast_bf16():
        able = [known for known in able if known != "bf16"]
    if precision not in able:
        raise BackendError(
            f"{precision}: wanted a device that computes in it, found {device} with {', '.join(able)}; "
            "take --precision fp32"
        )


def _device(text: str, available: Sequence[str]) -> str:
    """OpenVINO's name of a device.

    Raises:
        BackendError: no such device here.
    """
    if text == "auto":
        others = [name for name in available if name != "CPU"]
        _log.info("device auto: OpenVINO on the CPU%s", f" (there is also {', '.join(others)})" if others else "")
        return "CPU"
    name = text.upper().replace(":", ".")
    if name.split(".")[0] in ("CPU", "GPU") and (name in available or f"{name}.0" in available):
        return name
    raise BackendError(
        f"device: wanted one that OpenVINO finds here ({', '.join(available).lower().replace('.', ':')}) or auto, "
        f"found {text!r}; NVIDIA's GPUs are for the backends eager, onnxruntime and tensorrt"
    )


def _io_of(ir: Any) -> OnnxIo:
    return OnnxIo(
        [_shape(port) for port in ir.inputs], [port.any_name for port in ir.outputs], [_shape(p) for p in ir.outputs]
    )


def _shape(port: Any) -> list[int | None]:
    return [dimension.get_length() if dimension.is_static else None for dimension in port.partial_shape]
