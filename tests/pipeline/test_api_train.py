"""Training from Python."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.train.config import TrainConfig
from detector.train.run_settings import SETTINGS_FILE
from pipeline.api_train import resume, train, train_config
from pipeline.config.validate import field_names
from pipeline.core.errors import ConfigError, DatasetError, UsageError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data.yaml of three pictures, in a working folder of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "labels"):
        (tmp_path / "my" / kind).mkdir(parents=True)
    for number in range(3):
        image = np.full((64, 64, 3), 90 + number, np.uint8)
        image[16:48, 16:48] = 255
        cv2.imwrite(str(tmp_path / f"my/images/{number}.png"), image)
        (tmp_path / f"my/labels/{number}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "my/data.yaml").write_text("names: [square]\ntrain: images\nval: images\n")
    return Path("my/data.yaml")


def test_train_and_resume(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tiny = {"weights": "none", "model": "yolov7-nano", "img_size": 64, "workers": 0, "epochs": 1}
    first = train(data, quiet=True, augment={"mosaic": 0.5}, **tiny)
    assert first.folder == Path("runs/train/exp")
    assert first.best.is_file()
    assert 0 <= first.ap50 <= 1
    second = train(str(data), hyp=first.folder / SETTINGS_FILE, folder=first.folder, quiet=True, seed=3)
    assert second.folder == Path("runs/train/exp2")
    assert train_config({}, second.folder / SETTINGS_FILE).augment.mosaic == 0.5
    assert capfd.readouterr() == ("", "")
    again = resume(second.folder, workers=0)
    assert [row.epoch for row in again.rows] == [1]
    assert "3 pictures to train on" in capfd.readouterr().err


def test_defaults() -> None:
    config = train_config({"data": "my/data.yaml"})
    assert (config.weights, config.model, config.epochs) == ("street", None, 60)
    fresh = train_config({"data": "my/data.yaml", "weights": "NONE", "model": "yolov7-tiny", "epochs": "3"})
    assert (fresh.epochs, fresh.schedule.nominal_batch) == (3, 32)


SETTINGS_FILES = sorted(Path(entry.name).stem for entry in files("configs").joinpath("train").iterdir())
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", SETTINGS_FILES)
def test_every_settings_file_works_and_is_in_the_table(name: str) -> None:
    config = train_config({"data": "my/data.yaml"}, name)
    [row] = [line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
    assert str(config.epochs) in row.split("|")[4]


def test_every_setting_that_the_page_names_is_one() -> None:
    names = set(re.findall(r"\b((?:schedule|loss|augment)\.[a-z_0-9.]*[a-z_0-9])", PAGE))
    assert {"schedule.lr", "schedule.warmup.bias_lr", "loss.anchor_ratio", "augment.flip_lr"} <= names
    for name in names:
        *section, field = name.split(".")
        assert field in field_names(TrainConfig, section), name


def test_mistakes(data: Path) -> None:
    with pytest.raises(ConfigError, match="epoch: unknown key; did you mean 'epochs'"):
        train(data, epoch=3)
    with pytest.raises(ConfigError, match=r"schedule\.lr0: unknown key; did you mean 'lr'"):
        train(data, schedule={"lr0": 0.1})
    with pytest.raises(ConfigError, match="did you mean 'finetune'"):
        train(data, hyp="fine-tune")
    with pytest.raises(DatasetError, match=r"did you mean 'my/data\.yaml'"):
        train("my/dta.yaml", weights="none", model="yolov7-nano")
    with pytest.raises(UsageError, match="wanted the folder of a training run"):
        resume("my")
    assert not Path("runs").exists()


def test_results_from_python_load_no_trainer() -> None:
    code = "import sys, pipeline.api; print([m for m in sys.modules if m == 'torch' or m.startswith('detector.train')])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
