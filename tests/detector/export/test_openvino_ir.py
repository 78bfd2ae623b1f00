"""OpenVINO IR files: what stands in them, and what cannot be written."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from detector.checkpoint import LoadedCheckpoint
from detector.export.header import ExportHeader
from detector.export.openvino_ir import read_ir, write_openvino
from pipeline.core.errors import BackendError, CheckpointError

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("openvino", "onnx")), reason="openvino or onnx is not installed"
)


def test_the_header_comes_back(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    header = ExportHeader.of(nano_checkpoint, input="pixels", output="maps")
    header = header.model_copy(update={"precision": "bf16", "metrics": {"ap": 0.25}, "source_sha256": "ab"})
    path = tmp_path / "new" / "x.xml"
    write_openvino(nano_checkpoint.model, header, path)
    ir, metadata = read_ir(path)
    assert ExportHeader.from_json(metadata["tracklight"], "x") == header
    assert [port.any_name for port in ir.inputs + ir.outputs] == ["images", "maps_0", "maps_1", "maps_2"]
    assert str(ir.inputs[0].partial_shape) == "[?,?,?,3]"
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.bin", "x.xml"]


def test_sixteen_bits_halve_the_file(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "fp16"):
        header = ExportHeader.of(nano_checkpoint, input="planes", output="candidates").model_copy(
            update={"precision": precision}
        )
        write_openvino(nano_checkpoint.model, header, tmp_path / "x.xml")
        sizes[precision] = (tmp_path / "x.bin").stat().st_size
    assert sizes["fp16"] < 0.55 * sizes["fp32"]


def test_one_size_only(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    header = ExportHeader.of(nano_checkpoint, input="planes", output="candidates")
    write_openvino(
        nano_checkpoint.model, header.model_copy(update={"batch": 2, "fixed_hw": (64, 96)}), tmp_path / "x.xml"
    )
    ir, _ = read_ir(tmp_path / "x.xml")
    assert [list(port.shape) for port in (*ir.inputs, *ir.outputs)] == [[2, 3, 64, 96], [2, 126, 7]]


@pytest.mark.parametrize(
    ("name", "precision", "text"),
    [
        ("x.xml", "int8", "wanted fp32, bf16 or fp16, found int8, which quantise"),
        ("x.onnx", "fp32", r"wanted a name that ends in .xml for OpenVINO's IR, found '.onnx'"),
    ],
)
def test_what_cannot_be_written(
    nano_checkpoint: LoadedCheckpoint, tmp_path: Path, name: str, precision: str, text: str
) -> None:
    header = ExportHeader.of(nano_checkpoint, input="pixels", output="maps").model_copy(update={"precision": precision})
    with pytest.raises(BackendError, match=text):
        write_openvino(nano_checkpoint.model, header, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "<net", "<net name='x' version='99'></net>"])
def test_what_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.xml"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"x.xml: OpenVINO cannot read it \(.+\)") as caught:
        read_ir(path)
    assert "\n" not in str(caught.value)


def test_a_file_without_its_weights(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    write_openvino(nano_checkpoint.model, ExportHeader.of(nano_checkpoint, input="pixels", output="maps"), path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(CheckpointError, match=r"x.xml: OpenVINO cannot read it"):
        read_ir(path)
