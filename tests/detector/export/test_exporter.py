"""Every form finds what the network finds, on real frames; a file that does not is not kept."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from detector.checkpoint import LoadedCheckpoint, load_checkpoint
from detector.export.exporter import ExportSettings, Format, Material, export_network, header_of
from detector.export.torchscript import TorchScriptBackend, write_torchscript
from detector.zoo import DEFAULT_WEIGHTS, resolve_weights
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError, CheckpointError

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "output.jpg"


@pytest.fixture(scope="module")
def street() -> LoadedCheckpoint:
    return load_checkpoint(resolve_weights(DEFAULT_WEIGHTS))


@pytest.fixture(scope="module")
def material() -> Material:
    """A street with people, cars and bicycles, and its mirror image."""
    picture = np.asarray(cv2.imread(str(PICTURE)), np.uint8)
    both = [picture, np.ascontiguousarray(picture[:, ::-1])]

    def pictures(count: int) -> Iterable[ImageArray]:
        return both[:count]

    return Material(pictures)


def needs(*packages: str) -> None:
    """Skip without them. They are not imported here: who imports them in the project keeps them from phoning home."""
    for package in packages:
        if find_spec(package) is None:
            pytest.skip(f"needs the package {package}")


FORMS: list[tuple[Format, dict[str, Any]]] = [
    ("onnx", {}),
    ("onnx", {"dynamic": True, "batch": None, "input": "pixels", "result": "maps"}),
    ("onnx", {"batch": 3, "img_size": (320, 416), "nms": "onnx"}),
    ("onnx", {"dynamic": True, "batch": None, "input": "pixels", "nms": "tensorrt"}),
    ("onnx", {"precision": "fp16", "input": "pixels"}),
    ("onnx", {"precision": "int8", "dynamic": True, "input": "pixels", "result": "maps"}),
    ("torchscript", {}),
    ("torchscript", {"input": "pixels", "result": "maps"}),
    ("torchscript", {"precision": "bf16"}),
    ("openvino", {}),
    ("openvino", {"dynamic": True, "batch": None, "nms": "onnx"}),
]


@pytest.mark.parametrize(("form", "options"), FORMS, ids=lambda value: str(value).replace("'", ""))
def test_finds_the_same(
    form: Format, options: dict[str, Any], street: LoadedCheckpoint, material: Material, tmp_path: Path
) -> None:
    needs("onnx", "openvino" if form == "openvino" else "onnxruntime")
    settings = ExportSettings(**options)
    suffix = {"onnx": ".onnx", "torchscript": ".torchscript", "openvino": ".xml"}[form]
    path = tmp_path / f"street{suffix}"
    made = export_network(street, form, path, settings, material, source_sha256="ab")
    assert made.parity.problem is None
    assert made.parity.n_boxes >= 5
    if made.header.precision == "fp32":
        assert made.parity.max_px < 0.05
        assert made.parity.max_score < 1e-4
    assert made.header.source_sha256 == "ab"
    assert made.n_bytes == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert path.is_file()


@pytest.mark.reference
@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_published_weights_on_real_pictures(form: Format, data_dir: Path, tmp_path: Path) -> None:
    needs("onnx", "onnxruntime")
    loaded = load_checkpoint(data_dir / "weights" / "yolox_nano.pth")
    files = sorted((data_dir / "coco" / "val2017").glob("*.jpg"))[:4]
    pictures = [np.asarray(cv2.imread(str(file)), np.uint8) for file in files]
    made = export_network(
        loaded, form, tmp_path / f"x.{form}", ExportSettings(dynamic=True, batch=None), Material(lambda n: pictures[:n])
    )
    assert made.parity.n_boxes >= 10
    assert (made.parity.n_missing, made.parity.n_extra) == (0, 0)
    assert made.parity.max_px < 0.5
    assert made.parity.max_score < 1e-3


def test_a_file_that_finds_something_else_is_not_kept(
    street: LoadedCheckpoint, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "street.torchscript"
    before.write_bytes(b"an earlier one")

    def wrong(model: Any, header: Any, path: Path) -> None:
        spoilt = load_checkpoint(resolve_weights(DEFAULT_WEIGHTS)).model
        with torch.no_grad():
            spoilt.detection_head.m[0].bias.add_(0.5)  # type: ignore[union-attr, operator, index]
        write_torchscript(spoilt, header, path)

    monkeypatch.setattr("detector.export.torchscript.write_torchscript", wrong)
    differs = (
        r"not kept, since it does not find what the network finds: boxes differ by [\d.e+]+ px .*\(allowed: 0\.5\)"
    )
    with pytest.raises(BackendError, match=differs):
        export_network(street, "torchscript", before, ExportSettings(), material)
    assert [file.name for file in tmp_path.iterdir()] == [before.name]
    assert before.read_bytes() == b"an earlier one"


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("torchscript", {"nms": "onnx"}, "wanted --nms none"),
        ("torchscript", {"precision": "int8"}, "wanted a precision of fp32, bf16, fp16, found int8"),
        ("onnx", {"precision": "bf16"}, "wanted a precision of fp32, fp16, int8, found bf16"),
        ("openvino", {"nms": "tensorrt"}, "its suppression is not that of tensorrt"),
        ("tensorrt", {"nms": "onnx"}, "its suppression is not that of onnx"),
    ],
)
def test_what_a_form_has_not(form: Format, options: dict[str, Any], message: str, street: LoadedCheckpoint) -> None:
    with pytest.raises(BackendError, match=message):
        header_of(street, form, ExportSettings(**options))


def test_sizes(street: LoadedCheckpoint) -> None:
    fixed = header_of(street, "onnx", ExportSettings(img_size=300))
    assert (fixed.fixed_hw, fixed.input_hw, fixed.batch) == ((320, 320), (320, 320), 1)
    opened = header_of(street, "onnx", ExportSettings(img_size=(300, 200), dynamic=True, batch=4))
    assert (opened.fixed_hw, opened.input_hw, opened.batch) == (None, (320, 224), 4)
    traced = header_of(street, "torchscript", ExportSettings())
    assert (traced.fixed_hw, traced.batch) == (None, None)


def test_torchscript_of_any_size(street: LoadedCheckpoint, tmp_path: Path) -> None:
    header = header_of(street, "torchscript", ExportSettings(input="pixels"))
    write_torchscript(street.model, header, tmp_path / "x.torchscript")
    backend = TorchScriptBackend(tmp_path / "x.torchscript")
    assert backend.header == header
    assert backend.infer(torch.zeros(2, 64, 160, 3, dtype=torch.uint8)).shape == (2, 630, 11)  # type: ignore[union-attr]
    (tmp_path / "no.torchscript").write_bytes(b"hello")
    with pytest.raises(CheckpointError, match="wanted TorchScript"):
        TorchScriptBackend(tmp_path / "no.torchscript")
    with pytest.raises(BackendError, match="any size and batch"):
        write_torchscript(street.model, header.model_copy(update={"batch": 1}), tmp_path / "y.torchscript")


def test_int8_without_pictures(street: LoadedCheckpoint, tmp_path: Path) -> None:
    needs("onnx", "onnxruntime")
    with pytest.raises(BackendError, match="wanted pictures to measure the ranges on"):
        export_network(street, "onnx", tmp_path / "x.onnx", ExportSettings(precision="int8"), Material(lambda n: []))
    assert not list(tmp_path.iterdir())
