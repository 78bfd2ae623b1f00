"""A stand-in for TensorRT and for what `torch.cuda` does for it: names, types, call order and ways to fail.

An engine is the ONNX graph itself, run in ONNX Runtime on the addresses that were set, so that a wrong address, shape
or order gives wrong numbers or an error, as it would on a GPU. Recording a graph keeps addresses, not tensors.
tests/golden/tensorrt/api.json says which members the real classes have.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from enum import Enum, IntEnum
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

MAGIC = b"stand-in engine "
TENSORRT_10 = "10.13.3.9"
TENSORRT_11 = "11.4.0.106"

_recording: list[list[Callable[[], None]]] = []
"""What is being recorded, the innermost last."""


def make_tensorrt(version: str) -> Any:  # noqa: C901 classes of their own for each version, as each has other members
    """A module to put in place of `tensorrt`."""
    trt: Any = ModuleType("tensorrt")
    trt.__spec__ = ModuleSpec("tensorrt", None)
    typed_only = int(version.split(".")[0]) >= 11
    trt.__version__ = version
    trt.fail_build = ""  # not TensorRT's: what the builder is to log and fail with
    trt.fail_start = False  # not TensorRT's: no driver
    trt.fail_context = False  # not TensorRT's: no memory for a context
    trt.plugins_loaded = False  # not TensorRT's
    trt.built = []  # not TensorRT's: (network, config) of each build

    flags = ["TF32", "REFIT", "VERSION_COMPATIBLE"] + ([] if typed_only else ["FP16", "INT8", "BF16"])
    trt.BuilderFlag = Enum("BuilderFlag", flags)
    trt.NetworkDefinitionCreationFlag = IntEnum(
        "NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": 0 if typed_only else 1}
    )
    trt.DataType = Enum("DataType", ["FLOAT", "HALF", "BF16", "UINT8", "INT32", "INT64", "INT8", "BOOL"])
    trt.TensorIOMode = Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
    trt.ExecutionContextAllocationStrategy = Enum(
        "ExecutionContextAllocationStrategy", ["STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"]
    )

    class ILogger:
        Severity = IntEnum("Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0)

        def __init__(self) -> None:
            self._made = True

        def log(self, severity: Any, msg: str) -> None:
            raise NotImplementedError("must be overridden")

    def checked_logger(logger: Any) -> Any:
        if not isinstance(logger, ILogger) or not getattr(logger, "_made", False):
            raise TypeError("incompatible constructor arguments: wanted an ILogger whose __init__ ran")
        if trt.fail_start:
            logger.log(
                ILogger.Severity.ERROR, "createInferBuilder: Error Code 6: CUDA initialization failure with error: 35"
            )
            raise TypeError("pybind11::init(): factory function returned nullptr")
        return logger

    class INetworkDefinition:
        __slots__ = ("_graph", "_typed")

        @property
        def num_inputs(self) -> int:
            return len(self._graph.graph.input)

    class IHostMemory(bytearray):
        @property
        def nbytes(self) -> int:
            return len(self)

    class ITimingCache:
        def __init__(self, content: bytes) -> None:
            self._content = content

        def serialize(self) -> IHostMemory:
            return IHostMemory(self._content)

    class IOptimizationProfile:
        __slots__ = ("_shapes",)

        def __init__(self) -> None:
            self._shapes: dict[str, list[tuple[int, ...]]] = {}

        def set_shape(self, input: str, min: tuple[int, ...], opt: tuple[int, ...], max: tuple[int, ...]) -> None:
            if not len(min) == len(opt) == len(max) or any(
                not 0 <= a <= b <= c for a, b, c in zip(min, opt, max, strict=True)
            ):
                raise ValueError(f"set_shape: inconsistent dimensions {min} {opt} {max}")
            self._shapes[input] = [tuple(min), tuple(opt), tuple(max)]

    class IBuilderConfig:
        __slots__ = ("_cache", "_calibration", "_flags", "_profiles") + (() if typed_only else ("int8_calibrator",))

        def __init__(self) -> None:
            self._flags, self._profiles, self._cache = {trt.BuilderFlag.TF32}, [], None
            self._calibration = None
            if not typed_only:
                self.int8_calibrator = None

        def set_flag(self, flag: Any) -> None:
            self._flags.add(trt.BuilderFlag(flag))

        def clear_flag(self, flag: Any) -> None:
            self._flags.discard(trt.BuilderFlag(flag))

        def get_flag(self, flag: Any) -> bool:
            return flag in self._flags

        def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
            if not profile._shapes:
                return -1
            self._profiles.append(profile)
            return len(self._profiles) - 1

        def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
            if serialized_timing_cache and not bytes(serialized_timing_cache).startswith(b"timing"):
                return None
            return ITimingCache(bytes(serialized_timing_cache))

        def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
            if cache._content and not cache._content.startswith(b"timing " + version.encode()):
                return False
            self._cache = cache
            return True

        def get_timing_cache(self) -> ITimingCache | None:
            return self._cache

    if not typed_only:

        def set_calibration_profile(self: IBuilderConfig, profile: IOptimizationProfile) -> bool:
            self._calibration = profile
            return bool(profile._shapes)

        IBuilderConfig.set_calibration_profile = set_calibration_profile  # type: ignore[attr-defined]

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = checked_logger(logger)

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            network = INetworkDefinition()
            network._typed = typed_only or bool(flags & 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
            network._graph = None
            return network

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
            reason = trt.fail_build or _why_not(network, config)
            if reason:
                self._logger.log(ILogger.Severity.ERROR, reason)
                self._logger.log(ILogger.Severity.ERROR, "IBuilder::buildSerializedNetwork: Error Code 2")
                return None
            trt.built.append((network, config))
            config._cache = ITimingCache(b"timing " + version.encode())
            profiles = [p._shapes for p in config._profiles]
            head = json.dumps({"version": version, "profiles": profiles}).encode()
            return IHostMemory(MAGIC + len(head).to_bytes(4, "little") + head + network._graph.SerializeToString())

    def _why_not(network: INetworkDefinition, config: IBuilderConfig) -> str:
        if network._graph is None:
            return "Network must have at least one output"
        picture = network._graph.graph.input[0]
        wanted = _dims(picture)
        for profile in config._profiles:
            shapes = profile._shapes.get(picture.name, [()])
            if any(
                len(s) != len(wanted) or any(w not in (-1, n) for w, n in zip(wanted, s, strict=True)) for s in shapes
            ):
                return f"Network has dynamic or shape inputs, profile {shapes} does not fit {wanted}"
        if -1 in wanted and not config._profiles:
            return "Network has dynamic or shape inputs, but no optimization profile has been defined."
        if network._typed and not typed_only and config._flags - {trt.BuilderFlag.TF32}:
            return "precision flags are not allowed in a strongly typed network"
        return "" if typed_only else _calibrate(network, config, wanted)

    def _calibrate(network: INetworkDefinition, config: IBuilderConfig, wanted: tuple[int, ...]) -> str:
        calibrator = config.int8_calibrator
        if trt.BuilderFlag.INT8 not in config._flags:
            return ""
        quantised = any(node.op_type == "QuantizeLinear" for node in network._graph.graph.node)
        if calibrator is None:
            return "" if quantised else "Calibrator is not being used. Users must provide dynamic range for all tensors"
        if -1 in wanted and config._calibration is None:
            return "Calibration profile is not defined. Running INT8 calibration with Optimization Profile 0"
        shape = config._calibration._shapes[network._graph.graph.input[0].name][1]
        trt.calibrated_on = []
        while (pointers := calibrator.get_batch([network._graph.graph.input[0].name])) is not None:
            assert calibrator.get_batch_size() == shape[0]
            kind = network._graph.graph.input[0].type.tensor_type.elem_type
            trt.calibrated_on.append(_at(pointers[0], shape, onnx.helper.tensor_dtype_to_np_dtype(kind)).copy())
        calibrator.write_calibration_cache(b"cache")
        return ""

    class ParserError:
        def __init__(self, text: str) -> None:
            self._text = text

        def desc(self) -> str:
            return self._text

    class OnnxParser:
        def __init__(self, network: INetworkDefinition, logger: Any) -> None:
            self._network, self._logger, self._errors = network, checked_logger(logger), []

        @property
        def num_errors(self) -> int:
            return len(self._errors)

        def get_error(self, index: int) -> ParserError:
            return self._errors[index]

        def parse(self, model: bytes, path: str | None = None) -> bool:
            graph = onnx.load_from_string(model)
            self._errors = [ParserError(text) for text in _not_parsed(graph, trt.plugins_loaded)]
            if not self._errors:
                self._network._graph = graph
            return not self._errors

    class IExecutionContext:
        def __init__(self, engine: ICudaEngine, strategy: Any) -> None:
            self._engine, self._strategy = engine, strategy
            self._profile, self._shape, self._warm = 0, None, None
            self._addresses: dict[str, int] = {}
            self._memory = strategy != trt.ExecutionContextAllocationStrategy.USER_MANAGED

        def set_device_memory(self, memory: int, size: int) -> None:
            assert memory
            assert size >= self._engine.device_memory_size_v2
            self._memory = True

        def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
            if not stream_handle or not 0 <= profile_index < len(self._engine._profiles):
                return False
            self._profile, self._shape = profile_index, None
            return True

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            assert type(shape) is tuple
            least, _, most = self._engine._profiles[self._profile][name]
            if any(not a <= n <= b for a, n, b in zip(least, shape, most, strict=True)):
                self._engine._error(
                    f"setInputShape: Static dimension mismatch or out of profile range for {name}: {shape}"
                )
                return False
            self._shape = shape
            return True

        def infer_shapes(self) -> list[str]:
            return [] if self._shape else [self._engine._input]

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            if self._shape is None:
                return tuple(-1 for _ in _dims(self._engine._value(name)))
            if name == self._engine._input:
                return self._shape
            return tuple(self._engine._outputs_for(self._shape)[name].shape)

        def set_tensor_address(self, name: str, memory: int) -> bool:
            assert type(memory) is int
            if name not in self._engine._names:
                self._engine._error(f"setTensorAddress: unknown tensor {name}")
                return False
            self._addresses[name] = memory
            return True

        def execute_async_v3(self, stream_handle: int) -> bool:
            missing = [name for name in self._engine._names if not self._addresses.get(name)]
            if self._shape is None or missing or not self._memory or not stream_handle:
                self._engine._error(f"enqueueV3: Error Code 3: address or shape or memory not set ({missing})")
                return False
            shape, addresses, engine = self._shape, dict(self._addresses), self._engine
            if _recording:
                # The first run after a change of shape does work on the host that a recorded graph would lack.
                assert self._warm == shape, "recorded before the context had run with this shape"
                _recording[-1].append(lambda: engine._run(shape, addresses))
                return True
            engine._run(shape, addresses)
            self._warm = shape
            return True

    class ICudaEngine:
        def __init__(self, logger: Any, head: dict[str, Any], graph: onnx.ModelProto) -> None:
            self._logger, self._profiles, self._graph = logger, head["profiles"], graph
            self._input = graph.graph.input[0].name
            self._names = [self._input, *(value.name for value in graph.graph.output)]
            self._run_graph = _runner(graph)

        @property
        def num_io_tensors(self) -> int:
            return len(self._names)

        @property
        def num_optimization_profiles(self) -> int:
            return len(self._profiles)

        @property
        def device_memory_size_v2(self) -> int:
            return 512

        def get_tensor_name(self, index: int) -> str:
            return self._names[index]

        def get_tensor_mode(self, name: str) -> Any:
            return trt.TensorIOMode.INPUT if name == self._input else trt.TensorIOMode.OUTPUT

        def get_tensor_dtype(self, name: str) -> Any:
            kinds = {np.float32: "FLOAT", np.float16: "HALF", np.uint8: "UINT8", np.int32: "INT32", np.int64: "INT64"}
            return trt.DataType[kinds[self._dtype(name).type]]

        def create_execution_context(
            self, strategy: Any = trt.ExecutionContextAllocationStrategy.STATIC
        ) -> IExecutionContext | None:
            if trt.fail_context:
                self._error("createExecutionContext: Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)")
                return None
            return IExecutionContext(self, strategy)

        def _error(self, text: str) -> None:
            self._logger.log(ILogger.Severity.ERROR, text)

        def _value(self, name: str) -> Any:
            return next(v for v in (*self._graph.graph.input, *self._graph.graph.output) if v.name == name)

        def _dtype(self, name: str) -> np.dtype[Any]:
            return onnx.helper.tensor_dtype_to_np_dtype(self._value(name).type.tensor_type.elem_type)

        def _outputs_for(self, shape: tuple[int, ...]) -> dict[str, Any]:
            return self._run_graph(np.zeros(shape, self._dtype(self._input)))

        def _run(self, shape: tuple[int, ...], addresses: dict[str, int]) -> None:
            picture = _at(addresses[self._input], shape, self._dtype(self._input))
            for name, value in self._run_graph(picture).items():
                _at(addresses[name], value.shape, self._dtype(name))[...] = value

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self._logger = checked_logger(logger)

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            content = bytes(serialized_engine)
            if not content.startswith(MAGIC):
                self._logger.log(
                    ILogger.Severity.ERROR,
                    "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion "
                    "magicTagRead == kMAGIC_TAG failed. Magic tag does not match)",
                )
                return None
            begin = len(MAGIC) + 4
            end = begin + int.from_bytes(content[len(MAGIC) : begin], "little")
            return ICudaEngine(self._logger, json.loads(content[begin:end]), onnx.load_from_string(content[end:]))

    def init_libnvinfer_plugins(logger: Any, namespace: str) -> bool:
        assert namespace == ""
        trt.plugins_loaded = True
        return True

    members = [ILogger, Builder, INetworkDefinition, IBuilderConfig, IOptimizationProfile, IHostMemory, ITimingCache]
    members += [OnnxParser, ParserError, Runtime, ICudaEngine, IExecutionContext]
    if not typed_only:

        class IInt8EntropyCalibrator2:
            def __init__(self) -> None:
                pass

        members.append(IInt8EntropyCalibrator2)
    for member in (*members, init_libnvinfer_plugins):
        setattr(trt, member.__name__, member)
    return trt


def _dims(value: Any) -> tuple[int, ...]:
    return tuple(d.dim_value if d.HasField("dim_value") else -1 for d in value.type.tensor_type.shape.dim)


def _not_parsed(graph: onnx.ModelProto, plugins_loaded: bool) -> list[str]:
    """What TensorRT's parser would refuse of a graph."""
    errors = []
    bytes_read = {v.name for v in graph.graph.input if v.type.tensor_type.elem_type == onnx.TensorProto.UINT8}
    known = {"EfficientNMS_TRT"} if plugins_loaded else set()
    for node in graph.graph.node:
        if node.domain == "TRT" and node.op_type not in known:
            errors.append(f"No importer registered for op: {node.op_type}. Plugin not found")
        if bytes_read & set(node.input) and node.op_type != "Cast":
            errors.append(f"{node.op_type} cannot take uint8: only a cast may read an input of bytes")
        if node.op_type == "QuantizeLinear":
            zero = next(value for value in graph.graph.initializer if value.name == node.input[2])
            if onnx.numpy_helper.to_array(zero).any() or zero.data_type != onnx.TensorProto.INT8:
                errors.append("only symmetric int8 quantization is supported")
    return errors


def _at(address: int, shape: Sequence[int], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The memory at an address, as an array that writes to it."""
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer((ctypes.c_byte * size).from_address(address), dtype).reshape(shape)


def _runner(graph: onnx.ModelProto) -> Callable[[Any], dict[str, Any]]:
    """Runs a graph in ONNX Runtime, and the plugin at its end, if there is one, in numpy."""
    plugin = next((node for node in graph.graph.node if node.op_type == "EfficientNMS_TRT"), None)
    plain = onnx.ModelProto()
    plain.CopyFrom(graph)
    outputs = [value.name for value in graph.graph.output]
    if plugin is not None:
        kept = [n for n in plain.graph.node if n.op_type != "EfficientNMS_TRT" and not set(n.output) & set(outputs)]
        del plain.graph.node[:]
        plain.graph.node.extend(kept)
        del plain.graph.output[:]
        plain.graph.output.extend(onnx.ValueInfoProto(name=name) for name in plugin.input)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(plain.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = graph.graph.input[0].name

    def run(picture: Any) -> dict[str, Any]:
        values = session.run(None, {name: picture})
        return dict(zip(outputs, values if plugin is None else _efficient_nms(plugin, *values), strict=True))

    return run


def _efficient_nms(plugin: Any, boxes: Any, scores: Any) -> tuple[Any, ...]:
    """Greedy suppression by class; behind the count there is what was in the buffer before: ones here."""
    settings = {a.name: onnx.helper.get_attribute_value(a) for a in plugin.attribute}
    rows, batch = settings["max_output_boxes"], len(boxes)
    count = np.zeros((batch, 1), np.int32)
    found, found_scores = np.ones((batch, rows, 4), np.float32), np.ones((batch, rows), np.float32)
    classes = np.ones((batch, rows), np.int32)
    for image in range(batch):
        for row, class_id in sorted(
            np.argwhere(scores[image] > settings["score_threshold"]).tolist(),
            key=lambda at: -scores[image, at[0], at[1]],
        ):
            box, n = boxes[image, row], int(count[image, 0])
            same = found[image, :n][classes[image, :n] == class_id]
            if n < rows and not (_iou(box, same) > settings["iou_threshold"]).any():
                found[image, n], found_scores[image, n], classes[image, n] = box, scores[image, row, class_id], class_id
                count[image, 0] += 1
    return count, found, found_scores, classes


def _iou(box: Any, others: Any) -> Any:
    size = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    shared = size.prod(1)
    return shared / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared + 1e-9)


def install(monkeypatch: pytest.MonkeyPatch, version: str, cache: Path) -> tuple[Any, StandInCuda]:
    """Put both in place; what is called the GPU is the CPU, and engines are kept in `cache`."""
    trt, cuda = make_tensorrt(version), StandInCuda(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorrt", trt)
    monkeypatch.setenv("TRACKLIGHT_CACHE", str(cache))
    for module in ("detector.export.tensorrt", "detector.backends.tensorrt"):
        monkeypatch.setattr(f"{module}.choose_gpu", lambda text: torch.device("cpu"))
    return trt, cuda


class _Stream:
    _next = 1

    def __init__(self, device: Any = None) -> None:
        self.cuda_stream = _Stream._next
        _Stream._next += 1
        self.waited_for: list[_Stream] = []

    def wait_stream(self, other: _Stream) -> None:
        self.waited_for.append(other)

    def synchronize(self) -> None:
        pass


class _Graph:
    """Keeps what was done while it was recorded, on the very memory it was done on."""

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []
        self.n_replays = 0

    def replay(self) -> None:
        self.n_replays += 1
        for step in self.steps:
            step()


class _Operators(TorchDispatchMode):
    def __init__(self, steps: list[Callable[[], None]]) -> None:
        super().__init__()
        self._steps = steps

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))

        def again() -> None:
            new = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                out.copy_(new)

        self._steps.append(again)
        return out


class StandInCuda:
    """Puts streams and graphs that work on the CPU in place of `torch.cuda`'s.

    Attributes:
        current: the stream of the caller.
        graphs: those that were recorded.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current = _Stream()
        self.graphs: list[_Graph] = []
        replacements = {
            "Stream": _Stream,
            "CUDAGraph": _Graph,
            "current_stream": lambda device=None: self.current,
            "stream": self._stream,
            "graph": self._graph,
            "graph_pool_handle": lambda: (0, 1),
            "device": lambda device: nullcontext(),
            "get_device_name": lambda device: "Stand-in 9000",
            "get_device_capability": lambda device: (9, 0),
        }
        for name, replacement in replacements.items():
            monkeypatch.setattr(torch.cuda, name, replacement)

    @contextmanager
    def _stream(self, stream: _Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def _graph(self, graph: _Graph, *, pool: Any, stream: _Stream, capture_error_mode: str) -> Iterator[None]:
        assert pool == (0, 1)
        assert stream is self.current
        _recording.append(graph.steps)
        try:
            with _Operators(graph.steps):
                yield
        finally:
            _recording.pop()
        # Recording computes nothing.
        self.graphs.append(graph)
