"""Streaming accuracy as a person measures it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.main import main

FPS = 25
FAST = ("--backend", "eager", "--set", "detector.max_det=5")
"""The untrained network sees something everywhere."""


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The bright square of the clip, as a person, in COCO's video form."""
    size = {"width": 128, "height": 96}
    document = {
        "categories": [{"id": 1, "name": "person"}],
        "videos": [{"id": 1, "name": "square", "fps": FPS}],
        "images": [{"id": i, "video_id": 1, "frame_id": i, **size} for i in range(30)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "track_id": 1, "bbox": [4 + i, 30, 30, 30]} for i in range(30)
        ],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(document))
    return path


def test_a_recorded_run_is_scored(
    labels: Path, clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, report = tmp_path / "out.jsonl", tmp_path / "report.json"
    run = ["run", "--source", clip, "--weights", small_weights, "--realtime", "--tracker", "none", *FAST]
    assert main([str(word) for word in [*run, "-o", results, "--quiet"]]) == 0
    score = ["stream-eval", "--truth", labels, "--results", results, "--report", report, "--video", tmp_path / "v.mp4"]
    assert main([str(word) for word in [*score, "--source", clip]]) == 0
    told = json.loads(report.read_text())
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert told["settings"]["mode"] == "recorded"
    assert told["sequences"]["square"]["n_outputs"] == len(lines)
    latency_ms = sorted((line["emitted_ns"] - line["captured_ns"]) / 1e6 for line in lines)
    assert told["latency_ms"]["max"] == pytest.approx(latency_ms[-1], abs=0.01)
    assert (tmp_path / "v.mp4").stat().st_size > 1000
    assert "as shown (streaming)" in capsys.readouterr().out


def test_real_time_measures_what_a_simulation_needs(
    labels: Path, clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    def evaluate(name: str, *options: object) -> dict[str, Any]:
        report = tmp_path / name
        words = ["stream-eval", "--truth", labels, "--source", clip, "--weights", small_weights, *FAST]
        assert main([str(word) for word in [*words, "--report", report, "--quiet", *options]]) == 0
        told: dict[str, Any] = json.loads(report.read_text())
        return told

    runtimes = tmp_path / "runtimes.json"
    real = evaluate("real.json", "--save-runtimes", runtimes, "--html", tmp_path / "page.html")
    assert real["settings"]["mode"] == "real time"
    assert real["device"]["runtime_ms"]["n"] == real["sequences"]["square"]["n_outputs"]
    assert "<svg" in (tmp_path / "page.html").read_text()
    options = ("--simulate", "--runtimes", runtimes, "--seed", "3", "--scheduler", "shrinking-tail")
    simulated = evaluate("simulated.json", *options)
    assert simulated["settings"] | {"seed": 3, "scheduler": "shrinking-tail"} == simulated["settings"]
    assert simulated["combined"]["offline"] == real["combined"]["offline"]
    slow = evaluate("slow.json", "--simulate", "--runtime-ms", 200, "--dump", tmp_path / "frames.jsonl")
    assert slow["combined"]["misses"] == 5
    dumped = [json.loads(line) for line in (tmp_path / "frames.jsonl").read_text().splitlines()]
    assert [line["output"] for line in dumped[:10]] == [None] * 5 + [0] * 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--results", "x", "--simulate"], "--results: wanted a recorded run alone"),
        (["--results", "x", "--video", "v.mp4"], "--source: wanted with --results"),
        (["--runtime-ms", "50"], "add --simulate"),
        (["--simulate", "--runtime-ms", "0"], "milliseconds above 0"),
        (["--simulate", "--runtime-ms", "50", "--runtimes", "x"], "found both"),
        (["--simulate", "--runtime-ms", "50", "--decode", "included"], "--decode included: wanted a run here"),
        (["--detections", "x"], "how long they take"),
        (["--set", "runtime.compensate=emit"], "runtime.compensate"),
        (["--eta", "soon"], "--eta: wanted frames"),
        (["--scheduler", "clever"], "scheduler: wanted"),
        (["--fps", "0"], "frame rate: wanted"),
        (["--fps", "30"], "the rate that --fps says, 30 frames/s, found 25 frames/s"),
        (["--sequence", "other"], "found 'other'; there: square"),
        (["--source", "none.mp4"], "none.mp4"),
        ([], "name a video or folder with --source"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_scored_is_told_in_one_line(
    options: list[str], said: str, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stream-eval", "--truth", str(labels), *options]) in (1, 2)
    told = capsys.readouterr().err.strip()
    assert said in told
    assert "\n" not in told
    assert "internal error" not in told


Program = Callable[..., Any]


def test_the_program_knows_the_verb(program: Program) -> None:
    done = program("stream-eval", "--help")
    assert done.returncode == 0
    assert "--truth" in done.stdout
