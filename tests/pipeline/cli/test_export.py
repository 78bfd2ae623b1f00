"""Verb `export`: options, table, and what is refused before anything is built."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from detector.export.exporter import ExportSettings
from pipeline.api_export import _drawn, export
from pipeline.cli import export as verb
from pipeline.core.errors import ConfigError, DatasetError, UsageError

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "output.jpg"

needs_onnxruntime = pytest.mark.skipif(find_spec("onnxruntime") is None, reason="needs the package onnxruntime")


def parsed(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(arguments)


@needs_onnxruntime
def test_writes_files_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "made"
    arguments = (
        "--data",
        str(PICTURE),
        "-o",
        str(folder),
        "--img-size",
        "256",
        "416",
        "--format",
        "onnx",
        "torchscript",
    )
    assert verb.run(parsed(*arguments)) == 0
    out, err = capsys.readouterr()
    assert sorted(file.name for file in folder.iterdir()) == ["street.onnx", "street.torchscript"]
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["format", "precision", "MB", "s"]
    assert [line.split()[0] for line in lines[1:3]] == ["onnx", "torchscript"]
    assert lines[1].split()[5:7] == ["0", "0"]
    assert str(folder / "street.onnx") in out
    assert "torchscript: writing and checking" in err
    with pytest.raises(UsageError, match="found one that exists"):
        verb.run(parsed(*arguments))
    assert verb.run(parsed(*arguments, "--exist-ok", "--quiet")) == 0
    assert capsys.readouterr() == ("", "")


@needs_onnxruntime
def test_without_data_pictures_are_drawn(tmp_path: Path) -> None:
    (made,) = export(output=tmp_path / "x.onnx", img_size=128)
    assert made.parity.n_frames == 8
    assert made.path == tmp_path / "x.onnx"


def test_drawn_pictures_are_always_the_same() -> None:
    first, second = list(_drawn(2)), list(_drawn(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert first[0].shape == (480, 640, 3)
    assert first[0].std() > 20
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((), {}),
        (("--no-dynamic",), {"dynamic": False}),
        (("--dynamic",), {"dynamic": True, "batch": None}),
        (("--dynamic", "--batch", "4"), {"dynamic": True, "batch": 4}),
        (("--batch", "dynamic"), {"batch": None}),
        (("--img-size", "640"), {"img_size": 640}),
        (("--img", "384", "640", "--nms", "onnx"), {"img_size": (384, 640), "nms": "onnx"}),
        (("--result", "maps", "--input", "pixels"), {"result": "maps", "input": "pixels"}),
    ],
)
def test_options(arguments: tuple[str, ...], wanted: dict[str, object]) -> None:
    settings = verb._settings(parsed(*arguments))
    assert settings == wanted
    ExportSettings(**settings)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("--batch", "many"), UsageError, "--batch: wanted a number or dynamic, found 'many'"),
        (("--batch", "0"), ConfigError, "export.batch"),
        (("--precision", "fp8"), ConfigError, "export.precision"),
        (("--precision", "int8"), UsageError, "int8: wanted pictures"),
        (("--format", "onnx", "openvino", "-o", "x.onnx"), UsageError, "wanted a folder for 2 formats"),
        (("-o", "x.engine"), UsageError, "wanted a name that ends in .onnx for onnx"),
        (("--weights", "x.onnx"), UsageError, "wanted PyTorch weights to export, found an .onnx file"),
        (("--data", "nowhere.mp4", "-o", "x.onnx"), DatasetError, "found no such file"),
    ],
)
def test_refused(
    arguments: tuple[str, ...],
    error: type[Exception],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--weights" in arguments:
        (tmp_path / "x.onnx").touch()
    with pytest.raises(error, match=message) as caught:
        verb.run(parsed(*arguments))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("street*"))
