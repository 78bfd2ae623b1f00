"""`dataset check`, `dataset convert` and `dataset plot` from the command line."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.cli import dataset
from pipeline.core.errors import DatasetError, SinkError, UsageError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKLIGHT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    dataset.add_arguments(parser)
    return dataset.run(parser.parse_args([str(argument) for argument in arguments]))


def make(root: Path, rows: str = "0 0.5 0.5 0.5 0.25\n1 0.2 0.2 0.1 0.1\n") -> Path:
    for split in ("train", "val"):
        for kind in ("images", "labels"):
            (root / kind / split).mkdir(parents=True)
        cv2.imwrite(str(root / "images" / split / f"{split}.png"), np.full((400, 800, 3), 90, np.uint8))
        (root / "labels" / split / f"{split}.txt").write_text(rows)
    (root / "data.yaml").write_text("names: [cat, dog]\ntrain: images/train\nval: images/val\n")
    return root / "data.yaml"


def test_a_clean_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "in")
    assert run("check", path, "--json", tmp_path / "new" / "r.json") == 0
    shown = capsys.readouterr().out
    assert f"{path}, train: 1 of 1 images, 2 boxes" in shown
    assert f"{path}, val: 1 of 1 images" in shown
    report = json.loads((tmp_path / "new" / "r.json").read_text())
    assert report["clean"] is True
    assert list(report["splits"]) == ["train", "val"]
    assert report["splits"]["val"]["boxes_per_class"] == {"cat": 1, "dog": 1}
    with pytest.raises(UsageError, match="--exist-ok"):
        run("check", path, "--json", tmp_path / "new" / "r.json")
    assert list((tmp_path / "cache" / "tracklight" / "scans").iterdir())


def test_problems_give_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "in", "0 0.5 0.5 0.5 0.25\n" + "9 0.5 0.5 0.5 0.5\n" * 4)
    assert run("check", path, "--split", "val", "--examples", "2", "--no-cache") == 1
    shown = capsys.readouterr().out
    assert shown.count("class out of range: wanted a class from 0 to 1, found 9") == 2
    assert "... and 2 more: class out of range" in shown
    assert ", train:" not in shown
    assert not (tmp_path / "cache").exists()


def test_a_set_of_which_nothing_is_left_is_reported_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", make(tmp_path / "in", "")) == 1
    assert "0 boxes" in capsys.readouterr().out


def test_converting_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "in")
    for to in ("voc", "coco", "yolo"):
        assert run("convert", path, "--to", to, "-o", tmp_path / to) == 0
        path = tmp_path / to / "data.yaml"
        assert f"2 images, 4 boxes: {path}" in capsys.readouterr().out
    for split in ("train", "val"):
        old, new = (root / "labels" / split / f"{split}.txt" for root in (tmp_path / "in", tmp_path / "yolo"))
        assert np.allclose(np.loadtxt(new), np.loadtxt(old), atol=2e-5)
    with pytest.raises(UsageError, match="wanted a new or empty folder"):
        run("convert", path, "--to", "coco", "-o", tmp_path / "voc")
    assert run("convert", path, "--to", "coco", "-o", tmp_path / "voc", "--exist-ok", "--split", "val", "--copy") == 0


def test_a_coco_file_is_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("convert", make(tmp_path / "in"), "--to", "coco", "-o", tmp_path / "coco")
    json_file = tmp_path / "coco" / "annotations" / "instances_val.json"
    assert run("convert", json_file, "--to", "voc", "-o", tmp_path / "voc", "--split", "val") == 0
    assert (tmp_path / "voc" / "ImageSets" / "Main" / "val.txt").read_text() == "val\n"
    assert run("check", json_file) == 0


def test_what_is_lost_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make(tmp_path / "in", "0 0.5 0.5 0.5 0.25\n0 0.2 0.2 0.4 0.2 0.4 0.4\n5 0.5 0.5 0.5 0.5\n")
    run("convert", path, "--to", "yolo", "-o", tmp_path / "out")
    told = capsys.readouterr().err
    assert "train: 1 x class out of range, 1 x class without a box" in told
    assert "lost: 2 outlines: only their boxes are written" in told


def test_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = make(tmp_path / "in")
    assert run("plot", path, "-o", tmp_path / "plots", "--split", "val") == 0
    shown = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [file.name for file in shown] == ["labels.png", "samples.jpg"]
    assert all(file.stat().st_size > 1000 for file in shown)
    with pytest.raises((UsageError, SinkError), match="--exist-ok"):
        run("plot", path, "-o", tmp_path / "plots")
    assert run("plot", path, "-o", tmp_path / "plots", "--exist-ok") == 0


@pytest.mark.parametrize("sub_verb", ["check", "convert", "plot"])
def test_what_is_not_there(tmp_path: Path, sub_verb: str) -> None:
    more = {"check": (), "convert": ("--to", "yolo", "-o", tmp_path / "o"), "plot": ("-o", tmp_path / "o")}[sub_verb]
    make(tmp_path / "in")
    with pytest.raises(DatasetError, match=r"did you mean '.*data\.yaml'"):
        run(sub_verb, tmp_path / "in" / "dta.yaml", *more)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("sub_verb", dataset.SUB_VERBS)
def test_help_loads_no_framework(sub_verb: str) -> None:
    code = (
        "import argparse, sys\nfrom pipeline.cli import dataset\nparser = argparse.ArgumentParser()\n"
        "dataset.add_arguments(parser)\n"
        f"try: parser.parse_args([{sub_verb!r}, '--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'cv2', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")
