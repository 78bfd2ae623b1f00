"""ONNX Runtime: runs .onnx files, and PyTorch weights, on the CPU or on a GPU where a provider for one is installed."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import Precision
from detector.backends.onnx_form import OnnxIo, form_of
from detector.checkpoint import load_checkpoint
from detector.download import file_sha256
from detector.export.artefacts import kept
from detector.export.header import ExportHeader
from detector.preprocess import to_planes
from detector.zoo import cache_dir
from pipeline.core.cores import restricted_cores, usable_cores
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import IoSpec

if TYPE_CHECKING:
    from detector.open_network import OpenedNetwork, Wanted

_log = logging.getLogger(__name__)

Optimisation = Literal["none", "basic", "extended", "all"]

_LEVELS = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_MOST_CALLERS = 4
_HALF_TYPE = "tensor(float16)"


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class OnnxRuntimeConfig:
    """How the file runs in ONNX Runtime."""

    device: str = Field(
        default="auto",
        description="auto (a GPU if ONNX Runtime has one), cpu, cuda, cuda:1, 0, tensorrt, tensorrt:1",
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads within one operator; None = all cores")
    optimisation: Optimisation = Field(default="all", description="how far ONNX Runtime rewrites the graph")
    optimised_copy: Path | None = Field(
        default=None, description="write the rewritten graph here: it loads faster, on this kind of CPU only"
    )


class OnnxRuntimeBackend:
    """Runs what `tracklight export` writes, YOLOX's published files, and exports of YOLOv7's program.

    Args:
        path: the .onnx file.
        config: device, threads, optimisation.

    Attributes:
        class_names, input_hw, preprocess: what the file is meant for.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: no ONNX file, or not of a known kind.
        BackendError: the device is not there; nothing falls back to the CPU in silence.
    """

    def __init__(self, path: Path, config: OnnxRuntimeConfig | None = None) -> None:
        self._session: Any = None
        session = open_session(path, config or OnnxRuntimeConfig())
        inputs, outputs = session.get_inputs(), session.get_outputs()
        io = OnnxIo([i.shape for i in inputs], [o.name for o in outputs], [o.shape for o in outputs])
        self._form = form = form_of(path, io, session.get_modelmeta().custom_metadata_map)
        self._session = session
        self._input_name = inputs[0].name
        self._plane_dtype = torch.float16 if inputs[0].type == _HALF_TYPE else torch.float32
        self.class_names, self.input_hw, self.preprocess = form.class_names, form.input_hw, form.preprocess
        self.precision: Precision = form.precision
        self.head = form.head
        # The tensors that go in and come out are the host's; the provider copies them itself.
        self.device = torch.device("cpu")
        self._spec = IoSpec(
            stride=form.stride,
            fixed_hw=form.fixed_hw,
            max_batch=form.batch,
            num_classes=len(form.class_names),
            output=form.output,
            # A session may be run from any number of threads, which share its workers: a few keep all cores busy.
            n_parallel=min(usable_cores(), _MOST_CALLERS),
        )

    @property
    def io_spec(self) -> IoSpec:
        """Sizes and batches that the file takes, and what it gives."""
        return self._spec

    def infer(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR to what `io_spec.output` says, on the CPU.

        Raises:
            BackendError: the backend is closed, or the runtime failed.
        """
        if self._session is None:
            raise BackendError("ONNX Runtime backend: wanted an open one, found it closed")
        # A file with a fixed batch takes exactly that many images.
        n_images, n_padded = len(images), (self._spec.max_batch or 0) - len(images)
        if n_padded > 0:
            images = torch.cat([images, images.new_zeros((n_padded, *images.shape[1:]))])
        try:
            outputs = self._session.run(None, {self._input_name: self._fed(images)})
        except Exception as error:
            reason = " ".join(str(error).split())
            raise BackendError(f"ONNX Runtime failed on a batch of {tuple(images.shape)}: {reason}") from error
        return self._form.read(outputs, (images.shape[1], images.shape[2]), n_images)

    def close(self) -> None:
        """Let go of the session. Idempotent."""
        self._session = None

    def _fed(self, images: torch.Tensor) -> Any:
        if self._form.input == "pixels":
            return images.numpy()
        return to_planes(images, self.preprocess, self._plane_dtype).numpy()


def open_onnxruntime(path: Path, wanted: Wanted) -> OpenedNetwork:
    """Open an .onnx file, or PyTorch weights, which are written as one first and kept.

    Raises:
        MissingExtraError: onnxruntime, or onnx for PyTorch weights, is not installed.
        CheckpointError: the file cannot be read, or is of no known kind.
        BackendError: the device or the precision cannot be had.
    """
    from detector.open_network import OpenedNetwork

    config = OnnxRuntimeConfig(device=wanted.device, threads=wanted.threads)
    file = path if path.suffix == ".onnx" else _converted(path, wanted)
    backend = OnnxRuntimeBackend(file, config)
    if wanted.precision not in ("auto", backend.precision):
        backend.close()
        raise BackendError(
            f"{path}: wanted {wanted.precision}, found a file that computes in {backend.precision}; "
            f"export it again with --precision {wanted.precision}, or leave --precision out"
        )
    return OpenedNetwork(backend, backend.class_names, backend.input_hw, backend.preprocess)


def _converted(path: Path, wanted: Wanted) -> Path:
    """PyTorch weights as a file of ours, for pictures of any size and number, with maps for our own decoding."""
    from detector.export.onnx_file import WRITER, write_onnx

    precision = "fp32" if wanted.precision == "auto" else wanted.precision
    if precision == "int8":
        raise BackendError(
            f"{path}: int8 needs pictures to calibrate with; "
            "write a file first: tracklight export --format onnx --input pixels --result maps --dynamic "
            "--precision int8 --data DATA"
        )
    if precision == "bf16" or (precision == "fp16" and _on_cpu(wanted.device)):
        raise BackendError(f"{precision}: ONNX Runtime does not compute in it on a CPU; take fp32, or openvino's bf16")
    digest = file_sha256(path)

    def build(file: Path) -> None:
        _log.info("%s: writing it as ONNX, which later runs find", path)
        loaded = load_checkpoint(path)
        header = ExportHeader.of(loaded, input="pixels", output="maps")
        header = header.model_copy(update={"precision": precision, "source_sha256": digest})
        write_onnx(loaded.model, header, file)

    key = {"form": "onnx pixels maps", "source_sha256": digest, "writer": WRITER, "precision": precision}
    return kept(key, "network.onnx", build)


def open_session(path: Path, config: OnnxRuntimeConfig) -> Any:
    """A plain session of ONNX Runtime.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        CheckpointError: it cannot load the file.
        BackendError: the device is not there.
    """
    onnxruntime = import_onnxruntime()
    providers = _providers(config.device, onnxruntime.get_available_providers())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, _LEVELS[config.optimisation])
    # Left alone it takes all cores of the machine, also in a container that may use two of them.
    options.intra_op_num_threads = config.threads or restricted_cores() or 0
    # Threads that wait for the next operator otherwise spin, on cores that decoding, tracking and encoding want:
    # beside busy ones a frame of yolov7-tiny then takes nearly twice the processor time and twice as long.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if config.optimised_copy is not None:
        options.optimized_model_filepath = str(config.optimised_copy)
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise CheckpointError(f"{path}: ONNX Runtime cannot load it ({str(error).splitlines()[0]})") from error
    # ONNX Runtime takes the CPU on its own where a provider's libraries are not found.
    if session.get_providers()[0] != providers[0][0]:
        raise BackendError(f"{path}: wanted {providers[0][0]}, but its libraries do not load here; use --device cpu")
    return session


def import_onnxruntime(needed_for: str = "running an .onnx file") -> Any:
    """The package `onnxruntime`, told to send nothing to its maker.

    Official builds report events of every process that loads them; what runs on people's cameras must not, unless the
    user has decided otherwise. The variable counts only before the first import.

    Raises:
        MissingExtraError: it is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "export", needed_for) from error
    return onnxruntime


def _on_cpu(device: str) -> bool:
    return _providers(device, import_onnxruntime().get_available_providers())[0][0] == "CPUExecutionProvider"


def _providers(device: str, available: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """The provider of a device, and those that take the operators that it has not.

    Raises:
        BackendError: no such device, or not in this ONNX Runtime.
    """
    if device == "auto":
        device = "cuda" if "CUDAExecutionProvider" in available else "cpu"
        _log.info("device auto: ONNX Runtime on %s", "CUDA" if device == "cuda" else "the CPU")
    cpu: tuple[str, dict[str, Any]] = ("CPUExecutionProvider", {})
    if device == "cpu":
        return [cpu]
    kind, _, index = f"cuda:{device}".partition(":") if device.isdecimal() else device.partition(":")
    if kind not in ("cuda", "tensorrt") or not (index.isdecimal() or device == kind):
        raise BackendError(f"device: wanted auto, cpu, cuda, cuda:N, tensorrt or tensorrt:N, found {device!r}")
    provider = "CUDAExecutionProvider" if kind == "cuda" else "TensorrtExecutionProvider"
    if provider not in available:
        raise BackendError(
            f"device: wanted {device!r}, but this ONNX Runtime has {', '.join(available)} only; "
            "install onnxruntime-gpu, or use --device cpu"
        )
    cuda: tuple[str, dict[str, Any]] = ("CUDAExecutionProvider", {"device_id": int(index or 0)})
    return [cuda, cpu] if kind == "cuda" else [_tensorrt(int(index or 0)), cuda, cpu]


def _tensorrt(index: int) -> tuple[str, dict[str, Any]]:
    """TensorRT as a provider; its engines take minutes to build, so they are kept."""
    folder = cache_dir() / "onnxruntime-tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "device_id": index,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
    }
    return "TensorrtExecutionProvider", options
