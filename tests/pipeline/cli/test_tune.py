"""Verb `tune`: from a clip to a configuration that `run` takes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.cli import main
from pipeline.config.build import load_run_config
from pipeline.core.detections import Detections
from pipeline.tune import found, timing, tuning, worker
from pipeline.tune.clip import Clip
from pipeline.tune.found import Found


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measures with real runs, but in no process of their own and in half a second; a box walks through the clip."""
    monkeypatch.setattr(timing, "MIN_S", 0.2)
    monkeypatch.setattr(timing, "MAX_S", 0.5)
    monkeypatch.setattr(tuning, "tune", partial(tuning.tune, do=worker.do))
    monkeypatch.setattr(found, "find_in_clip", _find_a_box)


def _find_a_box(_configuration: object, clip: Clip) -> Found:
    frames = []
    for k, _ in enumerate(clip.frames()):
        xyxy = np.array([[k, 20, 30 + k, 70]], np.float32)
        frames.append(Detections(xyxy, np.array([0.9], np.float32), np.zeros(1, np.int64)))
    return Found(("cat", "dog"), tuple(frames))


def arguments(small_clip: Path, small_weights: Path, output: Path, *more: str) -> list[str]:
    tried = ["--weights", str(small_weights), "--sizes", "64", "--backends", "eager", "--precisions", "fp32"]
    tried += ["--device", "cpu"]
    return ["tune", "--source", str(small_clip), *tried, "-o", str(output), *more]


@pytest.mark.usefixtures("in_this_process")
def test_a_whole_tune_and_a_run_of_its_choice(
    small_clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "tuned.yaml"
    assert main(arguments(small_clip, small_weights, output)) == 0
    shown = capsys.readouterr()
    assert "small.mp4, 128x96: all 40 frames at 30 frames/s, 1.3 s" in shown.out
    assert "judged by: no labels: what small.safetensors at 64 px finds" in shown.out
    assert "classes that count: cat, dog" in shown.out
    assert "[1/2] timing small.safetensors eager fp32 64 px" in shown.err
    chosen = yaml.safe_load(output.read_text())
    assert chosen["detector"]["weights"] == str(small_weights)
    assert chosen["detector"] | {"weights": ""} == {
        **{"weights": "", "img_size": 64, "backend": "eager", "precision": "fp32", "device": "cpu"},
        "conf_thres": 0.1,
    }
    assert set(chosen["runtime"]) == {"scheduler", "compensate"}
    config = load_run_config(str(output), {}, [])
    assert (config.runtime.scheduler, config.runtime.compensate) == tuple(chosen["runtime"].values())
    document = json.loads(output.with_suffix(".json").read_text())
    assert len(document["rows"]) == 4 * 3
    assert document["best"]["sap"] == pytest.approx(max(row["sap"] for row in document["rows"]), abs=0.002)
    assert document["best"]["sap"] > 0.3

    # Nothing is measured again, and `run` takes what was written.
    assert main(arguments(small_clip, small_weights, output, "--exist-ok")) == 0
    assert "timing" not in capsys.readouterr().err
    tracks = tmp_path / "tracks.jsonl"
    told = ["run", "--config", str(output), "--source", str(small_clip), "-o", str(tracks), "--realtime", "--quiet"]
    assert main(told) == 0
    assert len(tracks.read_text().splitlines()) > 10


Prepared = Callable[..., tuple[list[str], str]]


def _no_clip(clip: Path, weights: Path, folder: Path) -> list[str]:
    (folder / "broken.mp4").write_bytes(b"no video")
    return arguments(folder / "broken.mp4", weights, folder / "t.yaml")


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("prepare", "code", "said"),
    [
        (lambda clip, weights, folder: ["tune"], 2, "wanted --source"),
        (_no_clip, 1, "broken.mp4: wanted a video file"),
        (
            lambda clip, weights, folder: [*arguments(clip, weights, folder / "t.yaml"), "--backends", "abacus"],
            2,
            "invalid choice: 'abacus'",
        ),
        (
            lambda clip, weights, folder: arguments(clip, weights, folder / "t.yaml", "--schedulers", "hurried"),
            2,
            "scheduler: wanted idle-free",
        ),
        (
            lambda clip, weights, folder: arguments(clip, weights, folder / "t.yaml", "--max-latency-ms", "0.001"),
            2,
            "wanted latency up to 0.001 ms (p95), found none that keeps to it; the nearest is",
        ),
        (
            lambda clip, weights, folder: arguments(clip, weights, folder / "t.yaml", "--precisions", "int8"),
            1,
            "wanted a configuration that can be measured here, found none",
        ),
        (
            lambda clip, weights, folder: arguments(clip, weights, folder / "t.json"),
            2,
            "--output: wanted a file for settings (.yaml)",
        ),
        (
            lambda clip, weights, folder: arguments(clip, "no-such-model", folder / "t.yaml"),
            1,
            "wanted a file or the name of a model",
        ),
        (
            lambda clip, weights, folder: arguments(clip, weights, folder / "t.yaml", "--max-cpu", "-1"),
            2,
            "wanted a number above 0",
        ),
    ],
)
def test_what_is_refused_in_one_line(
    prepare: Callable[..., list[str]],
    code: int,
    said: str,
    small_clip: Path,
    small_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = prepare(small_clip, small_weights, tmp_path)
    assert main([*told, "--quiet"] if len(told) > 1 else told) == code
    error = capsys.readouterr().err.strip()
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "t.yaml").exists()


def test_labels_without_a_common_class(
    in_this_process: None, small_clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [{"id": k, "width": 128, "height": 96, "video_id": 1, "frame_id": k, "file_name": ""} for k in range(40)]
    document: dict[str, Any] = {"images": images, "annotations": [], "videos": [{"id": 1, "name": "small", "fps": 30}]}
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({**document, "categories": [{"id": 1, "name": "horse"}]}))
    told = arguments(small_clip, small_weights, tmp_path / "t.yaml", "--truth", str(labels), "--quiet")
    assert main(told) == 2
    error = capsys.readouterr().err.strip()
    assert "wanted models and labels with a class in common, found none" in error
    assert "small.safetensors: cat, dog" in error
    assert len(error.splitlines()) == 1


def test_what_is_there_is_not_overwritten(small_clip: Path, small_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text("mine")
    assert main(arguments(small_clip, small_weights, tmp_path / "t.yaml")) == 2
    assert (tmp_path / "t.yaml").read_text() == "mine"


def test_ctrl_c_says_that_it_goes_on(
    small_clip: Path,
    small_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(_job: object) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "tune", partial(tuning.tune, do=stop))
    assert main(arguments(small_clip, small_weights, tmp_path / "t.yaml", "--fresh")) == 130
    assert "the same command goes on from here" in capsys.readouterr().err
