"""What a file is when nothing is asked, and what is told because it would change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from detector.export.exporter import ExportSettings, Format, Material
from detector.export.header import ExportHeader
from pipeline import api_export
from pipeline.api_export import export
from pipeline.cli import main
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import ConfigError, UsageError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[ExportHeader, Material]]:
    """Header and material of each form that would have been written."""
    found: dict[str, tuple[ExportHeader, Material]] = {}

    def note(loaded: Any, form: Format, path: Path, settings: ExportSettings, material: Material, **_: Any) -> None:
        found[form] = api_export.header_of(loaded, form, settings), material

    monkeypatch.setattr(api_export, "export_network", note)
    return found


def form_of(header: ExportHeader) -> tuple[object, ...]:
    return header.input, header.output, header.fixed_hw, header.batch


def test_openvino_is_the_form_that_is_fastest_here_and_the_others_what_others_read(
    asked: dict[str, tuple[ExportHeader, Material]], tmp_path: Path
) -> None:
    export(formats=("onnx", "openvino"), output=tmp_path)
    assert form_of(asked["onnx"][0]) == ("planes", "candidates", (416, 416), 1)
    assert form_of(asked["openvino"][0]) == ("pixels", "maps", None, None)
    assert asked["openvino"][0].input_hw == (416, 416)


def test_what_is_asked_wins(asked: dict[str, tuple[ExportHeader, Material]], tmp_path: Path) -> None:
    options = {"input": "planes", "result": "candidates", "dynamic": False, "batch": 1, "img_size": (256, 416)}
    export(formats=("openvino",), output=tmp_path, **options)
    assert form_of(asked["openvino"][0]) == ("planes", "candidates", (256, 416), 1)
    export(formats=("openvino",), output=tmp_path, nms="onnx")
    assert form_of(asked["openvino"][0]) == ("pixels", "boxes", None, None)


@pytest.mark.parametrize(
    ("formats", "settings", "message"),
    [
        (["onnx"], {"conf_thres": 0.3}, "conf_thres: wanted suppression in the graph"),
        (["onnx"], {"nms": "none", "iou_thres": 0.3, "max_det": 9}, "iou_thres, max_det: wanted suppression"),
        (["onnx"], {"nms": "onnx", "result": "maps"}, "result: wanted a file without suppression in the graph"),
        (["openvino", "torchscript"], {"opset": 18}, "opset: wanted the format onnx"),
        (["onnx", "openvino"], {"device": "cuda"}, "device: wanted the format tensorrt"),
    ],
)
def test_what_would_change_nothing_is_refused(
    formats: list[Format], settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        export(formats=formats, output=tmp_path, **settings)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_files_are_compared_on_data_and_calibrated_on_calibrate(
    asked: dict[str, tuple[ExportHeader, Material]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(path: Path, count: int) -> Iterable[ImageArray]:
        return [path.name, count]  # type: ignore[list-item]

    monkeypatch.setattr(api_export, "read_calibration", named)
    export(output=tmp_path, data="a.mp4", calibrate="b.mp4", precision="int8")
    material = asked["onnx"][1]
    assert material.calibration is not None
    assert (material.pictures(8), material.calibration(128)) == (["a.mp4", 8], ["b.mp4", 128])
    export(output=tmp_path, calibrate="b.mp4", precision="int8")
    assert asked["onnx"][1].pictures(8) == ["b.mp4", 8]
    export(output=tmp_path, data="a.mp4", precision="int8")
    assert asked["onnx"][1].calibration is None


@pytest.mark.skipif(not find_spec("openvino") or not find_spec("onnx"), reason="needs the packages openvino and onnx")
def test_the_unasked_openvino_file_runs_at_the_shape_of_the_frames(tmp_path: Path) -> None:
    from detector.backends.openvino import OpenVinoBackend

    (made,) = export(formats=("openvino",), output=tmp_path / "x.xml")
    assert made.parity.problem is None
    backend = OpenVinoBackend(made.path)
    assert (backend.io_spec.fixed_hw, backend.io_spec.output, backend.head is None) == (None, "maps", False)
    backend.close()


@pytest.mark.parametrize(("form", "name"), [("openvino", "x.bin"), ("tensorrt", "x.engine.json")])
def test_what_stands_beside_is_not_overwritten_either(form: Format, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("somebody's")
    suffix = {"openvino": ".xml", "tensorrt": ".engine"}[form]
    with pytest.raises(UsageError, match=f"{name}: wanted a new file"):
        export(formats=(form,), output=tmp_path / f"x{suffix}")
    assert (tmp_path / name).read_text() == "somebody's"


@pytest.mark.parametrize("size", [0, -64, (0, 64), 100_000])
def test_sizes_that_cannot_be(size: int | tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="img_size: wanted 1 to 8192 px"):
        export(output=tmp_path / "x.onnx", img_size=size)


def test_a_comparison_of_nothing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The suppression's threshold is fixed in the file, and drawn pictures show nothing."""
    pytest.importorskip("onnx")
    assert main(["export", "--nms", "onnx", "--conf-thres", "0.99", "-o", str(tmp_path / "x.onnx")]) == 0
    assert "the network found nothing in these frames, so nothing was compared; name --data" in capsys.readouterr().out
