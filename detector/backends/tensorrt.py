"""TensorRT: runs an engine that was built for this GPU, or builds one of weights once and keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from detector.backends import Precision
from detector.backends.cuda_graphs import RecordedWork, Work
from detector.checkpoint import load_checkpoint
from detector.download import file_sha256
from detector.export.artefacts import kept
from detector.export.header import ExportHeader
from detector.export.onnx_file import INPUT, WRITER, read_onnx_header
from detector.export.tensorrt import EngineSettings, write_engine, write_engine_of_graph
from detector.export.tensorrt_api import TensorRtLog, choose_gpu, here, import_tensorrt
from detector.export.tensorrt_card import EngineCard
from detector.preprocess import to_planes
from pipeline.core.errors import BackendError, CheckpointError
from pipeline.core.protocols import IoSpec

if TYPE_CHECKING:
    from detector.open_network import OpenedNetwork, Wanted

ENGINE_SUFFIXES = (".engine", ".plan")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TensorRtConfig:
    """How an engine runs."""

    device: str = Field(default="auto", description="the GPU: auto, cuda, cuda:1, 0")
    cuda_graphs: bool = Field(
        default=True, description="record the work of each input shape that comes often, and replay it"
    )


class TensorRtBackend:
    """Runs an engine file.

    Pictures go into, and results come out of, torch tensors at addresses that TensorRT is told once per input shape:
    nothing is copied besides the picture itself to the GPU. There is one execution context per shape, as a recorded
    graph needs one of its own; all of them work in the same device memory, since they never run at the same time.

    Args:
        path: the engine; its card stands beside it.
        config: the GPU.

    Attributes:
        card: what the engine is.

    Raises:
        MissingExtraError: tensorrt is not installed.
        CheckpointError: the card is missing or damaged.
        BackendError: no GPU, another GPU or TensorRT than the engine was made for, or one that does not load.
    """

    def __init__(self, path: Path, config: TensorRtConfig | None = None) -> None:
        config = config or TensorRtConfig()
        trt = import_tensorrt()
        self.device = choose_gpu(config.device)
        self.card = card = EngineCard.read(path)
        card.check(path, here(trt, self.device))
        self._log = TensorRtLog(trt)
        self._trt = trt
        self._engine: Any = None
        with torch.cuda.device(self.device):
            self._log.done("loading its plugins", trt.init_libnvinfer_plugins(self._log.logger, ""))
            self._runtime = self._log.made("starting", lambda: trt.Runtime(self._log.logger))
            content = path.read_bytes()
            self._engine = self._log.made(f"loading {path}", lambda: self._runtime.deserialize_cuda_engine(content))
        names = [self._engine.get_tensor_name(number) for number in range(self._engine.num_io_tensors)]
        self._outputs = [name for name in names if name != INPUT]
        # At least a little, so that there is an address even for an engine that needs none.
        self._scratch = self._allocate((max(self._engine.device_memory_size_v2, 256),), torch.uint8)
        input_dtype = _torch_dtype(trt, self._engine.get_tensor_dtype(INPUT))
        self._work = RecordedWork(self.device, input_dtype, self._prepare, record=config.cuda_graphs)

    @property
    def precision(self) -> Precision:
        """What the engine may compute in."""
        return self.card.header.precision

    @property
    def head(self) -> Any:
        """How its maps are read; None where its output is none."""
        return self.card.header.head if self.card.header.output == "maps" else None

    @property
    def io_spec(self) -> IoSpec:
        """What the engine's shape profiles take."""
        header = self.card.header
        return IoSpec(
            stride=header.stride,
            fixed_hw=header.fixed_hw,
            max_batch=max(profile.most[0] for profile in self.card.profiles),
            num_classes=len(header.class_names),
            output=header.output,
        )

    @torch.inference_mode()
    def infer(self, images: torch.Tensor) -> Any:
        """Letterboxed pictures uint8 (b, h, w, 3) BGR, on the CPU or the GPU, to what `io_spec.output` says.

        The results lie on the GPU and are valid until the next call.

        Raises:
            BackendError: a shape that the engine was not built for, no memory left, a failure of TensorRT, or closed.
        """
        if self._engine is None:
            raise BackendError("TensorRT backend: wanted an open one, found it closed")
        header = self.card.header
        padded = self._padded(images)
        if header.input == "planes":
            padded = to_planes(padded.to(self.device), header.preprocess)
        try:
            outputs = [output[: len(images)] for output in self._work(padded)]
        except torch.cuda.OutOfMemoryError as error:
            raise self._no_memory(images.shape) from error
        if header.output == "maps":
            return outputs
        return outputs[0] if header.output == "candidates" else self._rows(outputs)

    def close(self) -> None:
        """Let go of the engine and of all that the GPU holds for it. Idempotent."""
        if self._engine is not None:
            self._work.clear()
            self._engine = self._runtime = None
            self._scratch = torch.empty(0)

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        """An engine with a fixed batch takes exactly that many pictures."""
        missing = (self.card.header.batch or 0) - len(images)
        if missing <= 0:
            return images
        return torch.cat([images, images.new_zeros((missing, *images.shape[1:]))])

    def _prepare(self, buffer: torch.Tensor) -> Work:
        """A context for one input shape, with all addresses set."""
        trt, log, stream = self._trt, self._log, self._work.stream.cuda_stream
        strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = log.made("making an execution context", lambda: self._engine.create_execution_context(strategy))
        context.set_device_memory(self._scratch.data_ptr(), len(self._scratch))
        log.done("choosing a profile", context.set_optimization_profile_async(self._profile(buffer), stream))
        log.done("setting the input shape", context.set_input_shape(INPUT, tuple(buffer.shape)))
        log.done("inferring shapes", log.made("inferring shapes", context.infer_shapes) == [])
        outputs = []
        for name in self._outputs:
            dtype = _torch_dtype(trt, self._engine.get_tensor_dtype(name))
            outputs.append(self._allocate(tuple(context.get_tensor_shape(name)), dtype))
        for name, tensor in zip([INPUT, *self._outputs], [buffer, *outputs], strict=True):
            log.done(f"setting the address of {name}", context.set_tensor_address(name, tensor.data_ptr()))

        def work() -> list[torch.Tensor]:
            log.done("running the engine", context.execute_async_v3(stream))
            return outputs

        return work

    def _profile(self, buffer: torch.Tensor) -> int:
        """The profile that takes the shape and was made for the nearest batch."""
        batch, first, second, third = buffer.shape
        bhw = (batch, first, second) if self.card.header.input == "pixels" else (batch, second, third)
        profiles = self.card.profiles
        able = [number for number, profile in enumerate(profiles) if profile.takes(bhw)]
        if not able:
            bounds = " or ".join(f"{profile.least} to {profile.most}" for profile in profiles)
            raise BackendError(
                f"TensorRT: wanted an input (batch, h, w) from {bounds}, for which the engine was built, found {bhw}; "
                "change the image size or batch, or export an engine for it"
            )
        return min(able, key=lambda number: abs(profiles[number].best[0] - bhw[0]))

    def _rows(self, outputs: list[torch.Tensor]) -> torch.Tensor:
        """Rows as IoSpec's `boxes` has them, of what the plugin gives; behind its count it leaves what was there."""
        by_name = dict(zip(self._outputs, outputs, strict=True))
        scores, classes = by_name["det_scores"], by_name["det_classes"]
        counted = torch.arange(scores.shape[1], device=scores.device) < by_name["num_dets"]
        rows = torch.cat([by_name["det_boxes"], scores[..., None], classes[..., None].to(scores.dtype)], dim=2)
        return torch.where(counted[..., None], rows, 0)

    def _allocate(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        try:
            return torch.empty(shape, dtype=dtype, device=self.device)
        except torch.cuda.OutOfMemoryError as error:
            raise self._no_memory(shape) from error

    def _no_memory(self, shape: tuple[int, ...]) -> BackendError:
        return BackendError(f"{self.device}: no memory left for {tuple(shape)}; take a smaller batch, image or model")


def open_tensorrt(path: Path, wanted: Wanted) -> OpenedNetwork:
    """An engine with its card beside it, an ONNX file of ours, or PyTorch weights of any known kind.

    Of the latter two an engine is built once, and kept by their contents, the TensorRT version, the GPU, the precision
    and the shapes.

    Raises:
        MissingExtraError: tensorrt (or onnx, for building) is not installed.
        CheckpointError: the file cannot be read, or is not ours.
        BackendError: no GPU, an engine of another GPU or TensorRT, or one that cannot be built.
    """
    from detector.open_network import OpenedNetwork

    engine = path if path.suffix in ENGINE_SUFFIXES else _kept_engine(path, wanted)
    backend = TensorRtBackend(engine, TensorRtConfig(device=wanted.device))
    header = backend.card.header
    if wanted.precision not in ("auto", header.precision):
        raise BackendError(f"{path}: wanted {wanted.precision}, found an engine in {header.precision}; leave it out")
    return OpenedNetwork(backend, header.class_names, header.input_hw, header.preprocess)


def _kept_engine(path: Path, wanted: Wanted) -> Path:
    """An engine of weights or of an ONNX file, from the cache or built now."""
    place = here(import_tensorrt(), choose_gpu(wanted.device))
    settings = EngineSettings(device=wanted.device)
    header, build = _of_graph(path, wanted, settings) if path.suffix == ".onnx" else _of_weights(path, wanted, settings)
    key = {**place._asdict(), "writer": WRITER, "header": header.model_dump_json(), "shapes": settings.shapes}
    return kept(key, "network.engine", build)


def _of_graph(path: Path, wanted: Wanted, settings: EngineSettings) -> tuple[ExportHeader, Callable[[Path], None]]:
    header = read_onnx_header(path)
    if header is None:
        raise CheckpointError(f"{path}: wanted an ONNX file that this program exported, found none of its header")
    if wanted.precision not in ("auto", header.precision):
        raise BackendError(
            f"{path}: wanted {wanted.precision}, found {header.precision}; export it in that, or give the weights"
        )
    header = header.model_copy(update={"source_sha256": file_sha256(path)})
    return header, lambda target: write_engine_of_graph(path, header, target, settings=settings)


def _of_weights(path: Path, wanted: Wanted, settings: EngineSettings) -> tuple[ExportHeader, Callable[[Path], None]]:
    loaded = load_checkpoint(path)
    precision = "fp16" if wanted.precision == "auto" else wanted.precision
    header = ExportHeader.of(loaded, input="pixels", output="maps").model_copy(
        update={"precision": precision, "source_sha256": file_sha256(path)}
    )
    return header, lambda target: write_engine(loaded.model, header, target, settings=settings)


def _torch_dtype(trt: Any, dtype: Any) -> torch.dtype:
    kinds = trt.DataType
    known = {
        kinds.FLOAT: torch.float32,
        kinds.HALF: torch.float16,
        kinds.BF16: torch.bfloat16,
        kinds.UINT8: torch.uint8,
        kinds.INT32: torch.int32,
        kinds.INT64: torch.int64,
    }
    return known[dtype]
