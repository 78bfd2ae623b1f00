"""Verb `val` on every kind of data set."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from detector.checkpoint import save_checkpoint
from detector.models import build_model
from pipeline.cli import main

pytest.importorskip("faster_coco_eval")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def weights(path: Path, *names: str) -> Path:
    torch.manual_seed(0)
    save_checkpoint(path, build_model("yolox-nano", num_classes=len(names)), names, input_hw=(64, 64))
    return path


def val(folder: Path, *arguments: object) -> tuple[int, dict[str, Any]]:
    """Exit code and figures."""
    figures = folder / "figures.json"
    options = ["--json", figures, "--project", folder / "runs", "--quiet", "--device", "cpu"]
    code = main(["val", *map(str, [*arguments, *options])])
    return code, json.loads(figures.read_text()) if figures.exists() else {}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """data.yaml of two pictures; one label of three is of a class that does not exist."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for name, rows in {"a": "0 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.2 0.2\n", "b": "1 0.5 0.5 0.5 0.5\n"}.items():
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((48, 64, 3), 90, np.uint8))
        (tmp_path / "labels" / f"{name}.txt").write_text(rows)
    path = tmp_path / "data.yaml"
    path.write_text("names: [cat, dog]\nval: images\n")
    return path


def test_what_cannot_be_used_is_told_and_left_out(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, figures = val(tmp_path, "--data", made, "--weights", weights(tmp_path / "w.safetensors", "cat", "dog"))
    assert code == 0
    assert set(figures["per_class"]) == {"cat", "dog"}
    shown = capsys.readouterr()
    assert figures["n_images"] == 2
    assert [line for line in shown.err.splitlines() if "class out of range" in line] == [
        f"{made}, val: 1 x class out of range; `tracklight dataset check` tells which"
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--split", "test"], "wanted the split 'test', found: val"),
        (["--images", "."], "--images: wanted a COCO .json with it"),
    ],
)
def test_options_that_do_not_fit(
    made: Path, tmp_path: Path, extra: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = val(tmp_path, "--data", made, "--weights", weights(tmp_path / "w.safetensors", "cat", "dog"), *extra)
    assert code in (1, 2)
    assert message in capsys.readouterr().err


def config(name: str, root: Path, folder: Path) -> Path:
    """A file of configs/data with its root set to where the tests find the data."""
    document = yaml.safe_load((files("configs") / "data" / name).read_text(encoding="utf-8"))
    path = folder / name
    path.write_text(yaml.safe_dump(document | {"path": str(root)}), encoding="utf-8")
    return path


@pytest.mark.reference
def test_voc_labels_through_a_data_yaml(data_dir: Path, tmp_path: Path) -> None:
    made = weights(tmp_path / "w.safetensors", "RBC", "WBC", "Platelets")
    data = config("bccd.yaml", data_dir / "bccd" / "BCCD", tmp_path)
    code, figures = val(tmp_path, "--data", data, "--split", "test", "--weights", made)
    assert code == 0
    assert set(figures["per_class"]) == {"RBC", "WBC", "Platelets"}
    assert figures["n_images"] == 72


@pytest.mark.reference
def test_the_street_data(data_dir: Path, tmp_path: Path) -> None:
    """Weights of COCO's 80 classes on a data set of six, by data.yaml and by the file that it names.

    By data.yaml a detection of a class that nobody looked for in an image is no mistake; a COCO file is read as it is.
    """
    data = config("street.yaml", data_dir, tmp_path)
    published = data_dir / "weights" / "yolox_nano.pth"
    run = ("--weights", published, "--img-size", 224, "--exist-ok")
    code, figures = val(tmp_path, "--data", data, *run)
    assert code == 0
    assert 0.1 < figures["per_class"]["person"]["ap50"] < 1
    assert figures["per_class"]["bicycle"]["ap"] is None
    named = data_dir / "street" / "annotations" / "val.json"
    code, direct = val(tmp_path, "--data", named, "--images", data_dir / "street" / "val_images", *run)
    assert code == 0
    assert (figures["n_images"], figures["n_boxes"]) == (direct["n_images"], direct["n_boxes"])
    assert figures["ap_s"] == pytest.approx(direct["ap_s"], abs=1e-9)
    for name in ("ap", "ap50", "ap_l"):
        assert direct[name] < figures[name] < direct[name] + 0.03, name
