"""TensorRT as a backend, on the stand-in: engines run in ONNX Runtime on the addresses that were set."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from detector.backends import tensorrt as backend_module
from detector.backends.eager import EagerBackend, EagerConfig
from detector.backends.tensorrt import TensorRtBackend, TensorRtConfig, open_tensorrt
from detector.checkpoint import LoadedCheckpoint, load_checkpoint, save_checkpoint
from detector.export.end2end import GraphNms
from detector.export.header import ExportHeader
from detector.export.onnx_file import write_onnx
from detector.export.tensorrt import EngineSettings, write_engine
from detector.export.tensorrt_api import choose_gpu, here
from detector.export.tensorrt_card import EngineCard
from detector.export.tensorrt_shapes import EngineShapes
from detector.models import build_model
from detector.nms import NmsSettings, non_max_suppression
from detector.open_network import Wanted
from detector.postprocess import boxes_of_rows, decode_maps
from pipeline.core.errors import BackendError, CheckpointError, MissingExtraError
from pipeline.core.protocols import Backend

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "x.safetensors"
    model = build_model("yolox-nano", num_classes=3).eval()
    with torch.no_grad():
        # So that some of its boxes are above every threshold, and others below.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(2)
        for prediction in (*model.head.obj_preds, *model.head.cls_preds):
            prediction.bias.zero_()
            prediction.weight.normal_(0, 1)
    save_checkpoint(path, model, NAMES, input_hw=(64, 64))
    return path


@pytest.fixture(scope="module")
def loaded(weights: Path) -> LoadedCheckpoint:
    return load_checkpoint(weights)


@pytest.fixture
def trt(
    request: pytest.FixtureRequest, tensorrt_stand_in: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Any:
    version = getattr(request, "param", tensorrt_stand_in.TENSORRT_10)
    return tensorrt_stand_in.install(monkeypatch, version, tmp_path / "cache")[0]


_made: dict[str, dict[str, bytes]] = {}


@pytest.fixture
def engine(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> Path:
    path = tmp_path / "x.engine"
    if trt.__version__ not in _made:
        write_engine(loaded.model, header_of(loaded), path, settings=EngineSettings(shapes=EngineShapes(max_batch=4)))
        _made[trt.__version__] = {file.name: file.read_bytes() for file in tmp_path.glob("x.engine*")}
    for name, content in _made[trt.__version__].items():
        (tmp_path / name).write_bytes(content)
    return path


def header_of(loaded: LoadedCheckpoint, **changes: Any) -> ExportHeader:
    form = {"input": changes.pop("input", "pixels"), "output": changes.pop("output", "maps")}
    return ExportHeader.of(loaded, **form).model_copy(update={"precision": "fp32", **changes})


def pictures(batch: int = 1, height: int = 64, width: int = 64, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, height, width, 3), dtype=torch.uint8, generator=random)


def eager(loaded: LoadedCheckpoint) -> EagerBackend:
    return EagerBackend(loaded.model, EagerConfig(device="cpu"))


@pytest.mark.parametrize("trt", ["10.13.3.9", "11.4.0.106"], indirect=True)
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_equals_eager_for_every_shape_called_in_turns(
    engine: Path, loaded: LoadedCheckpoint, cuda_graphs: bool
) -> None:
    backend = TensorRtBackend(engine, TensorRtConfig(cuda_graphs=cuda_graphs))
    assert isinstance(backend, Backend)
    reference = eager(loaded)
    for turn in range(5):
        for batch, height, width in ((1, 64, 64), (2, 32, 64), (4, 64, 32)):
            images = pictures(batch, height, width, seed=turn)
            found, wanted = backend.infer(images), reference.infer(images)
            for level, expected in zip(found, wanted, strict=True):
                torch.testing.assert_close(level, expected, atol=2e-4, rtol=1e-4)
    assert backend._work.n_recorded == (3 if cuda_graphs else 0)
    backend.close()


def test_io_spec(engine: Path, loaded: LoadedCheckpoint) -> None:
    backend = TensorRtBackend(engine)
    spec = backend.io_spec
    assert (spec.stride, spec.fixed_hw, spec.max_batch, spec.num_classes) == (32, None, 4, 3)
    assert (spec.output, spec.n_parallel, backend.precision) == ("maps", 1, "fp32")
    assert backend.head == eager(loaded).head


@pytest.mark.parametrize("shape", [(5, 64, 64), (1, 96, 64), (1, 64, 128)])
def test_a_shape_outside_of_the_profile(engine: Path, shape: tuple[int, int, int]) -> None:
    message = (
        f"wanted an input (batch, h, w) from (1, 32, 32) to (4, 64, 64), for which the engine was built, found {shape}"
    )
    with pytest.raises(BackendError, match=re.escape(message)) as caught:
        TensorRtBackend(engine).infer(pictures(*shape))
    assert "\n" not in str(caught.value)


def test_the_profile_of_the_nearest_batch_is_taken(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    settings = EngineSettings(shapes=EngineShapes(max_batch=16, best_batches=(1, 16)))
    write_engine(loaded.model, header_of(loaded), path, settings=settings)
    backend = TensorRtBackend(path)
    assert [backend._profile(pictures(batch)) for batch in (1, 4, 12, 16)] == [0, 0, 1, 1]
    assert len(backend.infer(pictures(12))[0]) == 12


def test_a_fixed_batch_and_size(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    write_engine(loaded.model, header_of(loaded, batch=4, fixed_hw=(64, 64)), path)
    backend = TensorRtBackend(path)
    assert (backend.io_spec.max_batch, backend.io_spec.fixed_hw) == (4, (64, 64))
    images = pictures(3)
    for level, expected in zip(backend.infer(images), eager(loaded).infer(images), strict=True):
        torch.testing.assert_close(level, expected, atol=2e-4, rtol=1e-4)


def test_planes_and_candidates(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.engine"
    write_engine(loaded.model, header_of(loaded, input="planes", output="candidates"), path)
    backend, images = TensorRtBackend(path), pictures(2, 32, 64)
    reference = eager(loaded)
    assert backend.head is None
    assert backend.io_spec.output == "candidates"
    wanted = decode_maps(reference.infer(images), reference.head)
    torch.testing.assert_close(backend.infer(images), wanted, atol=2e-3, rtol=1e-3)


def test_suppression_in_the_graph(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    path, limits = tmp_path / "x.engine", NmsSettings(conf_thres=0.3, iou_thres=0.5, max_det=60)
    nms = GraphNms(conf_thres=limits.conf_thres, iou_thres=limits.iou_thres, max_det=limits.max_det)
    write_engine(loaded.model, header_of(loaded, output="boxes"), path, nms=nms)
    backend, images = TensorRtBackend(path), pictures(2)
    assert backend.io_spec.output == "boxes"
    rows = backend.infer(images)
    assert rows.shape == (2, 60, 6)
    reference = eager(loaded)
    wanted = non_max_suppression(decode_maps(reference.infer(images), reference.head), limits)
    assert min(len(boxes.xyxy) for boxes in wanted) > 0
    assert min(len(boxes.xyxy) for boxes in wanted) < 60
    for found, expected in zip(boxes_of_rows(rows, limits), wanted, strict=True):
        torch.testing.assert_close(torch.tensor(found.xyxy), torch.tensor(expected.xyxy), atol=1e-2, rtol=1e-4)
        assert found.class_id.tolist() == expected.class_id.tolist()
        assert found.confidence == pytest.approx(expected.confidence, abs=1e-4)


def test_closing(engine: Path) -> None:
    backend = TensorRtBackend(engine)
    backend.infer(pictures())
    backend.close()
    backend.close()
    with pytest.raises(BackendError, match="found it closed"):
        backend.infer(pictures())


def change_card(engine: Path, **made_for: str) -> None:
    card = engine.with_name("x.engine.json")
    document = json.loads(card.read_text())
    names = ["tensorrt", "gpu", "compute_capability"]
    for name, value in made_for.items():
        document["made_for"][names.index(name)] = value
    card.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensorrt": "8.6.1"}, "was made for TensorRT 8.6.1, found"),
        ({"gpu": "NVIDIA T4"}, "was made for GPU NVIDIA T4, found Stand-in 9000"),
        ({"compute_capability": "7.5"}, "was made for compute capability 7.5, found 9.0"),
    ],
)
def test_an_engine_of_another_place_is_refused(engine: Path, change: dict[str, str], message: str) -> None:
    change_card(engine, **change)
    with pytest.raises(BackendError, match=message) as caught:
        TensorRtBackend(engine)
    assert "export it again here, or give the weights" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_engine_without_its_card(engine: Path) -> None:
    engine.with_name("x.engine.json").unlink()
    with pytest.raises(CheckpointError, match=r"wanted x\.engine\.json beside it"):
        TensorRtBackend(engine)


def test_a_damaged_card(engine: Path) -> None:
    engine.with_name("x.engine.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        TensorRtBackend(engine)


def test_an_engine_that_is_none(engine: Path) -> None:
    engine.write_bytes(b"something else")
    with pytest.raises(BackendError, match=r"loading .*x\.engine failed .*Magic tag.*build the engine again") as caught:
        TensorRtBackend(engine)
    assert "\n" not in str(caught.value)


def test_no_memory_for_a_context(engine: Path, trt: Any) -> None:
    trt.fail_context = True
    with pytest.raises(BackendError, match=r"making an execution context failed .*take a smaller batch"):
        TensorRtBackend(engine).infer(pictures())


def test_no_driver(engine: Path, trt: Any) -> None:
    trt.fail_start = True
    with pytest.raises(BackendError, match=r"starting failed .*CUDA initialization.* check the NVIDIA driver"):
        TensorRtBackend(engine)


def test_no_memory_for_buffers(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = TensorRtBackend(engine)

    def full(*_: object, **__: object) -> torch.Tensor:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backend._work, "_prepare", full)
    with pytest.raises(BackendError, match=r"no memory left for \(1, 64, 64, 3\); take a smaller batch"):
        backend.infer(pictures())


def test_weights_are_built_once_and_kept(
    trt: Any, weights: Path, loaded: LoadedCheckpoint, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_tensorrt(weights, Wanted(precision="fp32"))
    assert (opened.class_names, opened.input_hw, opened.preprocess) == (NAMES, (64, 64), "yolox")
    images = pictures()
    for level, expected in zip(opened.backend.infer(images), eager(loaded).infer(images), strict=True):
        torch.testing.assert_close(level, expected, atol=2e-4, rtol=1e-4)
    assert caplog.text.count("this takes minutes") == 1
    open_tensorrt(weights, Wanted(precision="fp32"))
    assert len(trt.built) == 1
    assert open_tensorrt(weights, Wanted()).backend.precision == "fp16"
    assert len(trt.built) == 2


@pytest.mark.parametrize("what", ["version", "gpu", "capability", "weights"])
def test_what_an_engine_depends_on(
    trt: Any, weights: Path, engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    built: list[Path] = []

    def copy(model: object, header: ExportHeader, path: Path, **_: object) -> None:
        built.append(path)
        path.write_bytes(engine.read_bytes())
        place = here(trt, torch.device("cpu"))
        EngineCard(header=header, made_for=place, profiles=EngineCard.read(engine).profiles).write(path)

    monkeypatch.setattr(backend_module, "write_engine", copy)
    open_tensorrt(weights, Wanted(precision="fp32"))
    if what == "version":
        trt.__version__ += "1"
    elif what == "gpu":
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another")
    elif what == "capability":
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (12, 0))
    else:
        weights = tmp_path / "y.safetensors"
        save_checkpoint(weights, build_model("yolox-nano", num_classes=3), NAMES, input_hw=(64, 64))
    open_tensorrt(weights, Wanted(precision="fp32"))
    assert len(built) == 2
    open_tensorrt(weights, Wanted(precision="fp32"))
    assert len(built) == 2


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_onnx_file_of_ours(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path, precision: str) -> None:
    path = tmp_path / "x.onnx"
    write_onnx(loaded.model, header_of(loaded, precision=precision, output="candidates"), path)
    opened = open_tensorrt(path, Wanted())
    assert (opened.backend.precision, opened.backend.io_spec.output) == (precision, "candidates")
    assert opened.backend.infer(pictures()).shape == (1, 84, 8)
    other = {"fp32": "fp16", "fp16": "fp32"}[precision]
    with pytest.raises(BackendError, match=f"wanted {other}, found {precision}; export it in that"):
        open_tensorrt(path, Wanted(precision=other))


def test_an_onnx_file_of_others(trt: Any, loaded: LoadedCheckpoint, tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "x.onnx"
    write_onnx(loaded.model, header_of(loaded), path)
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    with pytest.raises(CheckpointError, match="wanted an ONNX file that this program exported"):
        open_tensorrt(path, Wanted())


def test_an_engine_in_another_precision_than_asked(engine: Path) -> None:
    assert open_tensorrt(engine, Wanted()).class_names == NAMES
    with pytest.raises(BackendError, match="wanted fp16, found an engine in fp32"):
        open_tensorrt(engine, Wanted(precision="fp16"))


def test_int8_of_weights_says_where_to_give_pictures(trt: Any, weights: Path) -> None:
    with pytest.raises(BackendError, match="int8: wanted pictures to measure the ranges on, found none"):
        open_tensorrt(weights, Wanted(precision="int8"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, weights: Path) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    for path in (tmp_path / "x.engine", weights):
        with pytest.raises(MissingExtraError, match=r"tensorrt.*tracklight\[tensorrt\]"):
            open_tensorrt(path, Wanted())


def test_a_package_whose_libraries_do_not_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: no such file', name='tensorrt')")
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BackendError, match=r"installed, but does not load \(libnvinfer\.so\.10: no such file\)"):
        open_tensorrt(tmp_path / "x.engine", Wanted())


def test_a_version_that_is_too_old(trt: Any, engine: Path) -> None:
    trt.__version__ = "8.6.1"
    with pytest.raises(BackendError, match=r"wanted version 10 or newer, found 8\.6\.1"):
        TensorRtBackend(engine)


@pytest.mark.parametrize(
    ("device", "message"),
    [("auto", "wanted a CUDA device, found cpu"), ("cpu", "wanted a CUDA device"), ("cuda:1", "found 0 CUDA devices")],
)
def test_no_gpu(device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match=message):
        choose_gpu(device)


def test_the_backend_imports_no_tensorrt_by_itself() -> None:
    assert not hasattr(backend_module, "trt")
    assert "tensorrt" not in vars(backend_module)
