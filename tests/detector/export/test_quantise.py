"""Rounding to 8 bits: what stays in floats, what is measured, and what it costs on real pictures."""

from __future__ import annotations

import logging
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from detector.backends.openvino import OpenVinoBackend
from detector.checkpoint import LoadedCheckpoint, load_checkpoint
from detector.detector import DetectorConfig
from detector.export import quantise as module
from detector.export.calibration import calibration_canvases, read_calibration
from detector.export.header import ExportHeader
from detector.export.openvino_ir import read_ir
from detector.export.quantise import PLANS, ApCheck, QuantiseSettings, quantise
from detector.validation import read_dataset, reference_settings
from detector.zoo import resolve_weights
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import BackendError, DatasetError, UsageError
from pipeline.evaluation.dataset import LabelledImages

needs_nncf = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("openvino", "onnx", "nncf")), reason="openvino, onnx or nncf is missing"
)


def canvases(count: int) -> list[ImageArray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, 64, 96 - 32 * (i % 2), 3), dtype=np.uint8) for i in range(count)]


@needs_nncf
def test_an_int8_file(nano_checkpoint: LoadedCheckpoint, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.xml"
    header = ExportHeader.of(nano_checkpoint, input="pixels", output="maps")
    made = quantise(nano_checkpoint.model, header, canvases(3), path)
    assert made.plan == PLANS[0]
    ir, metadata = read_ir(path)
    assert ExportHeader.from_json(metadata["tracklight"], "x") == made.header
    assert (made.header.precision, made.header.metrics) == ("int8", {})
    assert "3 pictures" in made.header.provenance["int8"]
    kinds = Counter(_kind(node) for node in ir.get_ops() if "Convolution" in node.get_type_name())
    # 30 depthwise ones and the three that end each of the three levels stay in floats.
    assert kinds == {
        ("GroupConvolution", "float"): 30,
        ("Convolution", "float"): 9,
        ("Convolution", "int8"): 74,
    }
    found = OpenVinoBackend(path).infer(torch.from_numpy(canvases(1)[0]))
    assert [level.shape for level in found] == [(1, 7, 8, 12), (1, 7, 4, 6), (1, 7, 2, 3)]
    assert capfd.readouterr().out == ""
    assert logging.getLoggerClass() is logging.Logger


def _kind(node: Any) -> tuple[str, str]:
    source = node.input(1).get_source_output().get_node().get_type_name()
    return node.get_type_name(), "float" if source == "Constant" else "int8"


@needs_nncf
def test_decoding_stays_in_floats(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    path = tmp_path / "x.xml"
    quantise(
        nano_checkpoint.model, ExportHeader.of(nano_checkpoint, input="planes", output="candidates"), canvases(2), path
    )
    images = torch.from_numpy(canvases(1)[0])
    found = OpenVinoBackend(path).infer(images)
    with torch.inference_mode():
        wanted = nano_checkpoint.model(images.permute(0, 3, 1, 2).float())
    # A box may move by what its logits do, but places are whole cells: nothing is off by a step of 8 bits.
    torch.testing.assert_close(found[..., :4], wanted[..., :4], atol=3.0, rtol=0.1)


class _Falling:
    """Stands for AP measurements: the first is the float network's, then one per plan."""

    def __init__(self, *ap: float) -> None:
        self._ap = list(ap)

    def __call__(self, *_: object) -> dict[str, float]:
        return {"ap": self._ap.pop(0), "ap50": 0.5}


@needs_nncf
def test_plans_are_tried_until_one_loses_little_enough(
    nano_checkpoint: LoadedCheckpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded: list[Any] = []
    monkeypatch.setattr(module, "_round", lambda nncf, ir, fed, plan, preset: rounded.append(plan) or ir)
    monkeypatch.setattr(module, "_measure", _Falling(0.3, 0.28, 0.297, 0.3))
    header = ExportHeader.of(nano_checkpoint, input="pixels", output="maps")
    check = ApCheck(LabelledImages(Path("x"), (), (), ()), DetectorConfig())
    made = quantise(nano_checkpoint.model, header, canvases(1), tmp_path / "x.xml", check=check)
    assert (made.plan, tuple(rounded)) == (PLANS[1], PLANS[:2])
    assert made.header.metrics == {"ap": 0.297, "ap50": 0.5, "ap_fp32": 0.3, "ap50_fp32": 0.5}
    monkeypatch.setattr(module, "_measure", _Falling(0.3, 0.28, 0.281, 0.27))
    with pytest.raises(BackendError, match=r"wanted int8 at a loss of 0.0050 AP or less, found 0.0190 at best"):
        quantise(nano_checkpoint.model, header, canvases(1), tmp_path / "y.xml", check=check)
    assert not (tmp_path / "y.xml").exists()


def test_no_pictures(nano_checkpoint: LoadedCheckpoint, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="int8: wanted pictures to calibrate with, found none"):
        quantise(
            nano_checkpoint.model,
            ExportHeader.of(nano_checkpoint, input="pixels", output="maps"),
            [],
            tmp_path / "x.xml",
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    for number in range(10):
        place = "deep" if number % 2 else "."
        image = np.full((40, 60 + number, 3), 20 * number, np.uint8)
        assert cv2.imwrite(str(tmp_path / "pictures" / place / f"{number}.png"), image)
    return tmp_path / "pictures"


def test_pictures_of_a_folder_are_spread_evenly(folder: Path) -> None:
    widths = [picture.shape[1] for picture in read_calibration(folder, 100)]
    assert sorted(widths) == list(range(60, 70))
    assert [picture.shape[1] for picture in read_calibration(folder, 5)] == widths[::2]
    (only,) = read_calibration(folder / "4.png", 3)
    assert only.shape == (40, 64, 3)


def test_frames_of_a_video_are_spread_evenly(tmp_path: Path) -> None:
    path = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for number in range(20):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    levels = [float(frame.mean()) / 10 for frame in read_calibration(path, 5)]
    np.testing.assert_allclose(levels, [0, 4, 8, 12, 16], atol=0.5)
    assert len(list(read_calibration(path, 100))) == 20


def test_canvases_are_those_of_a_running_detector(folder: Path) -> None:
    pictures = read_calibration(folder, 2)
    shapes = [c.shape for c in calibration_canvases(pictures, (100, 100), "yolov7", 32)]
    assert shapes == [(1, 96, 128, 3)] * 2


def test_what_cannot_be_calibrated_with(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("no video")
    (folder / "bad.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    for path, text in [
        (tmp_path / "none", "found no such file"),
        (tmp_path / "notes.md", "found a file without frames that can be read"),
        (folder, "bad.png: wanted a picture to calibrate with, found a file that cannot be decoded"),
        (tmp_path / "empty", "wanted images, found none"),
    ]:
        with pytest.raises(DatasetError, match=text):
            list(read_calibration(path, 100))
    with pytest.raises(UsageError, match="wanted 1 picture or more, found 0"):
        read_calibration(folder, 0)


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_nncf
@pytest.mark.parametrize(("weights", "ap"), [("yolox_nano.pth", 0.278), ("street", 0.3487)])
def test_int8_loses_half_a_point_at_most(data_dir: Path, weights: str, ap: float, tmp_path: Path) -> None:
    """YOLOX-nano on COCO pictures, the default model on its own validation part."""
    if weights == "street":
        dataset = read_dataset(data_dir / "street" / "annotations" / "val.json")
    else:
        weights = str(data_dir / "weights" / weights)
        dataset = read_dataset(data_dir / "coco" / "annotations" / "instances_val188.json")
    checkpoint = load_checkpoint(resolve_weights(weights))
    model = checkpoint.model
    pictures = read_calibration(data_dir / "street" / "annotations" / "train.json", 128)
    calibrated = calibration_canvases(pictures, checkpoint.input_hw, model.preprocess, model.max_stride)
    check = ApCheck(dataset, DetectorConfig(weights=weights, **reference_settings(weights)))
    header = ExportHeader.of(checkpoint, input="pixels", output="maps")
    settings = QuantiseSettings(max_loss=0.005)
    made = quantise(model, header, calibrated, tmp_path / "x.xml", check=check, settings=settings)
    print(made.plan.text, made.header.metrics)
    assert made.header.metrics["ap_fp32"] == pytest.approx(ap, abs=0.003)
    assert ap - made.header.metrics["ap"] <= 0.005
