from __future__ import annotations

import json
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from detector import box_kernels
from pipeline.analytics import kernels as rule_kernels
from pipeline.cli import doctor, main
from pipeline.cli.main import VERBS
from tracker import kernels as tracker_kernels

ROOT = Path(__file__).resolve().parents[3]


def test_the_overview_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in VERBS:
        assert verb in shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert f"tracklight {verb}" in capsys.readouterr().out


def test_without_arguments_the_overview_and_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tracklight ")


def test_models_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    names = {row["name"] for row in rows}
    assert {"yolov7", "yolov7-tiny", "yolov7-e6e", "yolox-nano", "yolox-darknet53"} <= names
    for row in rows:
        assert row["name"] in table
        assert row["licence"]


def test_doctor_tells_versions_devices_and_extras(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in ("torch", "FFmpeg libavcodec", "encode h264", "compiled code", "[eval]", "screen"):
        assert word in shown
    rows = {line[:24].strip(): line[24:] for line in shown.splitlines() if line.startswith("  ")}
    assert rows["boxes of networks"].split()[0] == box_kernels.BACKEND
    assert rows["tracker"].split()[0] == tracker_kernels.BACKEND
    assert rows["analytics"].split()[0] == rule_kernels.BACKEND


def test_check_prints_no_secret(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM_SECRET", "canary-9Xw4")
    settings = ["--set", "sink.display.title=${CAM_SECRET}", "--set", "sources=['rtsp://u:${CAM_SECRET}@cam/1']"]
    assert main(["check", *settings]) == 0
    shown = "".join(capsys.readouterr())
    assert "rtsp://***@cam/1" in shown
    assert "canary-9Xw4" not in shown


def test_val_tells_before_measuring_what_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["val", "--data", "any.json", "--weights", "any.pt", "--json", str(tmp_path / "file" / "m.json")]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err


def test_check_prints_every_setting_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("tracker: {buffer_s: 3}\n")
    assert main(["check", "--config", str(file), "--set", "detector.conf_thres=0.3"]) == 0
    full = yaml.safe_load(capsys.readouterr().out)
    assert full["tracker"]["buffer_s"] == 3
    assert full["tracker"]["kind"] == "bytetrack"
    assert full["detector"]["conf_thres"] == 0.3
    assert full["source"]["network"]["transport"] == "tcp"
    assert full["sink"]["video_file"]["codec"] == "h264"


@pytest.fixture
def tiny_dataset(tmp_path: Path) -> Path:
    """Two pictures with one labelled box each, as a YOLO data set."""
    rng = np.random.default_rng(0)
    for i in range(2):
        for folder in ("images/val", "labels/val"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f"images/val/{i}.png"), rng.integers(0, 255, (96, 128, 3), np.uint8))
        (tmp_path / f"labels/val/{i}.txt").write_text("0 0.5 0.5 0.25 0.25\n")
    data = tmp_path / "data.yaml"
    data.write_text("path: .\nval: images/val\nnames: [person, car]\n")
    return data


def test_val_writes_figures_and_boxes(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from detector.checkpoint import save_checkpoint
    from detector.models import build_model

    torch.manual_seed(0)
    weights = tmp_path / "w.safetensors"
    save_checkpoint(
        weights, build_model("yolox-nano", num_classes=2), class_names=("person", "car"), input_hw=(96, 128)
    )
    monkeypatch.chdir(tmp_path)
    arguments = ["val", "--data", str(tiny_dataset), "--weights", str(weights), "--quiet", "--conf-thres", "0.00001"]
    assert main([*arguments, "--json", "m.json", "--predictions", "p.json", "--classes", "person"]) == 0
    figures = json.loads(Path("m.json").read_text())
    assert 0 <= figures["ap"] <= 1
    assert set(figures["per_class"]) == {"person"}
    assert figures["n_images"] == 2
    boxes = json.loads(Path("p.json").read_text())
    assert {"image_id", "category_id", "bbox", "score"} <= boxes[0].keys()
    assert json.loads(Path("runs/val/exp/metrics.json").read_text()) == figures
    assert main([*arguments, "--json", "m.json"]) == 2
    assert "--exist-ok" in capsys.readouterr().err


def test_doctor_knows_every_extra() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(doctor.EXTRAS) == set(settings["project"]["optional-dependencies"]) - {"dev"}
