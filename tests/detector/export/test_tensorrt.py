"""Building engines: flags and calibrator of TensorRT 10, typed graphs of 11, profiles, what failures say."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from detector.backends.tensorrt import TensorRtBackend
from detector.checkpoint import LoadedCheckpoint
from detector.detector import DetectorConfig, YoloDetector
from detector.export import tensorrt_engine
from detector.export.exporter import ExportSettings, Material, export_network
from detector.export.header import ExportHeader
from detector.export.onnx_file import write_onnx
from detector.export.tensorrt import EngineSettings, write_engine, write_engine_of_graph
from detector.export.tensorrt_card import EngineCard
from detector.export.tensorrt_shapes import EngineShapes, Profile, profiles_of
from detector.models import DetectionModel
from pipeline.core.errors import BackendError, ConfigError

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

TEN, ELEVEN = "10.13.3.9", "11.4.0.106"
BOTH = pytest.mark.parametrize("trt", [TEN, ELEVEN], indirect=True)


@pytest.fixture
def trt(
    request: pytest.FixtureRequest, tensorrt_stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    monkeypatch.setattr("detector.export.tensorrt.write_onnx", write_onnx_once)
    return tensorrt_stand_in.install(monkeypatch, getattr(request, "param", TEN), tmp_path / "cache")[0]


_written: dict[str, bytes] = {}


def write_onnx_once(model: DetectionModel, header: ExportHeader, path: Path, **settings: Any) -> None:
    """The model is the same in all of these tests, and listing its operators takes most of their time."""
    key = header.model_dump_json() + str(settings)
    if key not in _written:
        write_onnx(model, header, path, **settings)
        _written[key] = path.read_bytes()
    path.write_bytes(_written[key])


def header_of(checkpoint: LoadedCheckpoint, **changes: Any) -> ExportHeader:
    form = {"input": changes.pop("input", "pixels"), "output": changes.pop("output", "maps")}
    return ExportHeader.of(checkpoint, **form).model_copy(update=changes)


def canvases(count: int = 2) -> list[Any]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 1, 64, 64, 3), np.uint8))


def flags(config: Any) -> set[str]:
    return {flag.name for flag in config._flags}


def operators(network: Any) -> set[str]:
    return {node.op_type for node in network._graph.graph.node}


def types_of_weights(network: Any) -> set[str]:
    weights = [value for value in network._graph.graph.initializer if len(value.dims) == 4]
    return {onnx.TensorProto.DataType.Name(value.data_type) for value in weights}


@pytest.mark.parametrize(
    ("trt", "precision", "wanted_flags", "types"),
    [
        (TEN, "fp32", set(), {"FLOAT"}),
        (TEN, "fp16", {"TF32", "FP16"}, {"FLOAT"}),
        (TEN, "int8", {"TF32", "FP16", "INT8"}, {"FLOAT"}),
        (ELEVEN, "fp32", set(), {"FLOAT"}),
        (ELEVEN, "fp16", {"TF32"}, {"FLOAT16"}),
        (ELEVEN, "int8", {"TF32"}, {"FLOAT16"}),
    ],
    indirect=["trt"],
)
def test_where_precision_lives(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, precision: str, wanted_flags: set[str], types: set[str]
) -> None:
    """In flags up to version 10, in the graph from 11 on; fp32 means fp32: no factors of ten bits."""
    path = tmp_path / "x.engine"
    pictures = canvases() if precision == "int8" else []
    write_engine(nano_checkpoint.model, header_of(nano_checkpoint, precision=precision), path, canvases=pictures)
    ((network, config),) = trt.built
    assert flags(config) == wanted_flags
    assert types_of_weights(network) == types
    assert ("QuantizeLinear" in operators(network)) == (precision == "int8")
    assert network._typed == (trt.__version__ == ELEVEN)
    card = EngineCard.read(path)
    assert card.header.precision == precision
    assert card.made_for == (trt.__version__, "Stand-in 9000", "9.0")
    assert TensorRtBackend(path).infer(torch.from_numpy(canvases()[0]))[0].shape == (1, 7, 8, 8)


@pytest.mark.parametrize("input_form", ["pixels", "planes"])
def test_calibrator_of_version_10(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, input_form: str) -> None:
    settings = EngineSettings(int8="calibrator")
    header = header_of(nano_checkpoint, precision="int8", input=input_form)
    write_engine(nano_checkpoint.model, header, tmp_path / "x.engine", settings=settings, canvases=canvases(3))
    ((network, config),) = trt.built
    assert "QuantizeLinear" not in operators(network)
    assert flags(config) == {"TF32", "FP16", "INT8"}
    shape = (1, 64, 64, 3) if input_form == "pixels" else (1, 3, 64, 64)
    assert config._calibration._shapes == {"images": [shape] * 3}
    assert [batch.shape for batch in trt.calibrated_on] == [shape] * 3
    for seen, canvas in zip(trt.calibrated_on, canvases(3), strict=True):
        assert (seen == (canvas if input_form == "pixels" else canvas.transpose(0, 3, 1, 2))).all()


def test_calibrator_wants_pictures_of_one_size(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    mixed = [*canvases(1), np.zeros((1, 32, 64, 3), np.uint8)]
    with pytest.raises(BackendError, match="wanted pictures of one size for the calibrator, found 2"):
        write_engine(
            nano_checkpoint.model,
            header_of(nano_checkpoint, precision="int8"),
            tmp_path / "x.engine",
            settings=EngineSettings(int8="calibrator"),
            canvases=mixed,
        )


@pytest.mark.parametrize("trt", [ELEVEN], indirect=True)
def test_no_calibrator_in_version_11(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"TensorRT 11\.4\.0\.106 has no calibrators any more; take int8 `graph`"):
        write_engine(
            nano_checkpoint.model,
            header_of(nano_checkpoint, precision="int8"),
            tmp_path / "x.engine",
            settings=EngineSettings(int8="calibrator"),
            canvases=canvases(),
        )


@pytest.mark.parametrize(("precision", "message"), [("bf16", "wanted fp32, fp16 or int8"), ("int8", "found none")])
def test_precisions_that_cannot_be(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, precision: str, message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        write_engine(nano_checkpoint.model, header_of(nano_checkpoint, precision=precision), tmp_path / "x.engine")
    assert list(tmp_path.glob("x.engine*")) == []


@BOTH
def test_a_graph_is_built_in_its_own_types(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    graph, header = tmp_path / "x.onnx", header_of(nano_checkpoint, precision="fp16")
    write_onnx(nano_checkpoint.model, header, graph)
    write_engine_of_graph(graph, header, tmp_path / "x.engine")
    ((network, config),) = trt.built
    assert network._typed
    assert flags(config) == {"TF32"}


SHAPES = EngineShapes(max_batch=8, best_batches=(1, 8), max_hw=(96, 160), best_hw=(64, 128))


@pytest.mark.parametrize(
    ("changes", "shapes", "wanted"),
    [
        ({}, EngineShapes(), [((1, 32, 32), (1, 64, 64), (16, 64, 64))]),
        ({"input_hw": (384, 640)}, EngineShapes(), [((1, 32, 32), (1, 384, 640), (16, 640, 640))]),
        ({"batch": 4}, EngineShapes(), [((4, 32, 32), (4, 64, 64), (4, 64, 64))]),
        ({"fixed_hw": (32, 64)}, EngineShapes(max_batch=2), [((1, 32, 64), (1, 32, 64), (2, 32, 64))]),
        ({}, SHAPES, [((1, 32, 32), (n, 64, 128), (8, 96, 160)) for n in (1, 8)]),
        ({}, EngineShapes(max_hw=(100, 100)), [((1, 32, 32), (1, 64, 64), (16, 128, 128))]),
    ],
)
def test_profiles(
    nano_checkpoint: LoadedCheckpoint, changes: dict[str, Any], shapes: EngineShapes, wanted: list[tuple[Any, ...]]
) -> None:
    assert profiles_of(header_of(nano_checkpoint, **changes), shapes) == tuple(Profile(*profile) for profile in wanted)


@pytest.mark.parametrize("shapes", [EngineShapes(best_batches=(17,)), EngineShapes(best_hw=(96, 64))])
def test_a_best_shape_outside_of_the_bounds(nano_checkpoint: LoadedCheckpoint, shapes: EngineShapes) -> None:
    with pytest.raises(ConfigError, match="engine shapes: wanted a best one"):
        profiles_of(header_of(nano_checkpoint), shapes)


@BOTH
def test_what_was_measured_is_kept_and_used(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "cache" / "converted"
    write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "x.engine")
    (cache,) = folder.glob("tensorrt-timing-*.cache")
    assert trt.__version__ in cache.name
    assert "Stand_in_9000" in cache.name
    assert cache.read_bytes() == b"timing " + trt.__version__.encode()
    for content in (b"timing of another version", b"damaged"):
        cache.write_bytes(content)
        write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "x.engine")
        assert "not of use to this TensorRT; measuring again" in caplog.text
        assert cache.read_bytes() == b"timing " + trt.__version__.encode()
        caplog.clear()
    write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "x.engine")
    assert "measuring again" not in caplog.text
    assert list(folder.iterdir()) == [cache]


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Error Code 2: OutOfMemory (no further information)", "take a smaller batch, image or model"),
        ("Error Code 10: Could not find any implementation for node", "-v shows its whole log"),
    ],
)
def test_a_build_that_fails_says_what_tensorrt_said_first(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, reason: str, advice: str
) -> None:
    trt.fail_build = reason
    with pytest.raises(BackendError, match="building the engine failed") as caught:
        write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "x.engine")
    assert reason in str(caught.value)
    assert str(caught.value).endswith(advice)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.glob("x.engine*")) == []


def test_an_operator_that_is_not_there(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trt, "init_libnvinfer_plugins", lambda logger, namespace: True)
    with pytest.raises(BackendError, match=r"reading the ONNX graph failed .*EfficientNMS_TRT.* lacks an operator"):
        write_engine(nano_checkpoint.model, header_of(nano_checkpoint, output="boxes"), tmp_path / "x.engine")


def test_suppression_of_onnx_is_refused(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    path, header = tmp_path / "x.onnx", header_of(nano_checkpoint, output="boxes")
    write_onnx(nano_checkpoint.model, header, path)
    with pytest.raises(BackendError, match=r"wanted the suppression of TensorRT .*export it with --nms tensorrt"):
        write_engine_of_graph(path, header, tmp_path / "x.engine")


def test_bytes_are_read_by_a_cast_only(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT takes inputs of bytes, but no layer of its own computes with them: the stand-in refuses others."""
    path, header = tmp_path / "x.onnx", header_of(nano_checkpoint)
    write_onnx(nano_checkpoint.model, header, path)
    model = onnx.load(path)
    cast, transpose = model.graph.node[:2]
    assert [cast.op_type, transpose.op_type] == ["Cast", "Transpose"]
    transpose.input[0], cast.input[0] = "images", transpose.output[0]
    transpose.output[0], cast.output[0] = cast.input[0], transpose.output[0]
    onnx.save(model, path)
    with pytest.raises(BackendError, match="Transpose cannot take uint8"):
        write_engine_of_graph(path, header, tmp_path / "x.engine")


def test_a_profile_that_does_not_fit_the_graph(trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    write_onnx(nano_checkpoint.model, header_of(nano_checkpoint, fixed_hw=(64, 64)), path)
    with pytest.raises(BackendError, match=r"building the engine failed .*does not fit"):
        write_engine_of_graph(path, header_of(nano_checkpoint), tmp_path / "x.engine")


@BOTH
def test_the_stand_in_has_no_member_that_tensorrt_has_not(trt: Any, golden_dir: Path) -> None:
    real = json.loads((golden_dir / "tensorrt" / "api.json").read_text())[trt.__version__]
    checked = 0
    for name, members in real.items():
        if name in ("flags", "ILogger.Severity"):
            continue
        ours = getattr(trt, name, None)
        assert (ours is None) or (members is not None), f"{name} is gone in {trt.__version__}"
        if inspect.isclass(ours) and isinstance(members, list):
            found = {member for member in ours.__dict__ if not member.startswith("_")} - set(dir(bytearray))
            assert found - {"name", "value"} <= set(members), name
            checked += len(found)
    assert checked > 40
    assert {level.name for level in trt.ILogger.Severity} == set(real["ILogger.Severity"])
    assert int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) == real["flags"]["STRONGLY_TYPED"]
    if trt.__version__ == ELEVEN:
        assert real["IInt8EntropyCalibrator2"] is None
        assert "int8_calibrator" not in real["IBuilderConfig"]


@pytest.mark.parametrize("moment", ["its content is asked for", "it is put in its place"])
def test_a_build_that_is_killed_while_it_keeps_its_timing_leaves_the_earlier_one(
    trt: Any,
    nano_checkpoint: LoadedCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "x.engine")
    (cache,) = (tmp_path / "cache" / tensorrt_engine.FOLDER).glob("tensorrt-timing-*.cache")
    before = cache.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if moment == "its content is asked for":
            patched.setattr(trt.ITimingCache, "serialize", killed)
        else:
            patched.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "y.engine")
    assert cache.read_bytes() == before
    assert not (tmp_path / "y.engine").exists()
    caplog.set_level(logging.INFO)
    write_engine(nano_checkpoint.model, header_of(nano_checkpoint), tmp_path / "y.engine")
    assert "measuring again" not in caplog.text


@pytest.mark.parametrize(
    "wanted",
    [
        {"input": "pixels", "result": "maps", "precision": "fp16"},
        {"dynamic": True, "batch": None, "precision": "fp32"},
        {"nms": "tensorrt", "conf_thres": 0.3},
        {"input": "pixels", "result": "maps", "precision": "int8"},
    ],
)
@pytest.mark.parametrize("trt", [ELEVEN], indirect=True)
def test_exported_like_every_other_form(
    trt: Any, nano_checkpoint: LoadedCheckpoint, tmp_path: Path, wanted: dict[str, Any]
) -> None:
    frames = list(np.random.default_rng(1).integers(0, 256, (3, 60, 64, 3), np.uint8))
    material = Material(lambda count: frames[:count])
    made = export_network(nano_checkpoint, "tensorrt", tmp_path / "x.engine", ExportSettings(**wanted), material)
    assert made.n_bytes == sum(file.stat().st_size for file in tmp_path.glob("x.engine*"))
    assert sorted(file.name for file in tmp_path.glob("x.engine*")) == ["x.engine", "x.engine.json"]
    assert not made.parity.problem
    config = DetectorConfig(weights=str(tmp_path / "x.engine"), conf_thres=0.01)
    detector = YoloDetector(config)
    assert len(detector.detect_images(frames)) == 3
    assert detector.class_names == ("ä", "b")
    detector.close()
