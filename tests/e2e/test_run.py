"""The main job, as a person starts it."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

Program = Callable[..., subprocess.CompletedProcess[str]]
Started = Callable[..., "subprocess.Popen[str]"]


def _frames(path: Path) -> list[float]:
    """Media times of all frames that can be decoded."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.05)


def test_every_output_of_a_run_tells_the_same(
    program: Program, clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / name for name in ("out.mp4", "out.mkv", "out.jsonl", "out.csv", "out.txt", "out.json")]
    report = tmp_path / "report.json"
    arguments = ["run", "--source", clip, "--weights", small_weights, "--report", report]
    for output in outputs:
        arguments += ["-o", output]
    done = program(*arguments)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr

    lines = _lines(tmp_path / "out.jsonl")
    assert [line["frame"] for line in lines] == list(range(30))
    objects = sum(len(line["objects"]) for line in lines)
    assert objects > 0
    with (tmp_path / "out.csv").open() as file:
        assert len(list(csv.DictReader(file))) == objects
    assert len((tmp_path / "out.txt").read_text().splitlines()) == objects
    assert len(json.loads((tmp_path / "out.json").read_text())) == objects
    for name in ("out.mp4", "out.mkv"):
        assert _frames(tmp_path / name) == pytest.approx([i / 25 for i in range(30)], abs=2e-3)
    told = json.loads(report.read_text())
    assert told["status"] == "completed"
    assert told["sources"]["square"] | {"latency": 0} == {
        "produced": 30, "emitted": 30, "dropped": {}, "counters": told["sources"]["square"]["counters"],
        "latency": 0, "error": None, "streaming": told["sources"]["square"]["streaming"],
    }  # fmt: skip
    nothing = {"age_at_display": None, "emission": None, "display": None}
    assert told["sources"]["square"]["streaming"] | {"note": ""} == {"note": "", **nothing}, "it has no latency"
    assert {"detect", "track", "read:square"} <= told["stages"].keys()
    assert told["environment"]["versions"]["torch"]


def test_the_first_argument_may_be_an_option_and_a_run_without_outputs_gets_a_folder(
    program: Program, clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    for expected in ("exp", "exp2"):
        done = program("--source", clip, "--weights", small_weights, "--max-frames", 3, "--project", tmp_path / "runs")
        assert done.returncode == 0, done.stderr
        folder = tmp_path / "runs" / expected
        assert {path.name for path in folder.iterdir()} == {"video.mp4", "tracks.jsonl", "report.json"}
        assert len(_lines(folder / "tracks.jsonl")) == 3


def test_several_sources_share_lines_and_have_a_video_each(
    program: Program, clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(clip.read_bytes())
    done = program(
        "--source", clip, "--source", other, "--weights", small_weights, "--max-frames", 5, "--batch-size", 2,
        "-o", tmp_path / "out.mp4", "-o", tmp_path / "out.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    counts = Counter(line["source"] for line in _lines(tmp_path / "out.jsonl"))
    assert counts == {"square": 5, "other": 5}
    assert len(_frames(tmp_path / "out.square.mp4")) == len(_frames(tmp_path / "out.other.mp4")) == 5


def test_one_broken_source_of_two_ends_alone_and_the_exit_code_says_so(
    program: Program, clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    arguments = ["--source", clip, "--source", empty, "--weights", small_weights, "-o", tmp_path / "o.jsonl"]
    done = program(*arguments, "--report", tmp_path / "r.json")
    assert done.returncode == 1
    assert len(_lines(tmp_path / "o.jsonl")) == 30
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["status"] == "partial"
    assert "empty" in report["sources"]["empty"]["error"]


@pytest.mark.slow
def test_ctrl_c_leaves_everything_complete(
    started: Started, long_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    video, lines, report = tmp_path / "o.mp4", tmp_path / "o.jsonl", tmp_path / "r.json"
    process = started(
        "run", "--source", long_clip, "--realtime", "--weights", small_weights, "-o", video, "-o", lines,
        "--report", report,
    )  # fmt: skip
    _wait_for(lambda: lines.exists() and lines.read_text().count("\n") > 20, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    told = json.loads(report.read_text())
    assert told["status"] == "interrupted"
    account = told["sources"]["long"]
    assert account["produced"] == account["emitted"] + sum(account["dropped"].values())
    assert len(_lines(lines)) == account["emitted"] == len(_frames(video))


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_whole_files_and_a_report(
    started: Started, long_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    video, lines, report = tmp_path / "o.mp4", tmp_path / "o.jsonl", tmp_path / "r.json"
    process = started(
        "run",
        "--source",
        long_clip,
        "--weights",
        small_weights,
        "-o",
        video,
        "-o",
        lines,
        "--report",
        report,
        "--quiet",
    )
    _wait_for(lambda: lines.exists() and lines.read_text().count("\n") > 20, process)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "once more to leave at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    told = json.loads(report.read_text())
    assert told["status"] == "interrupted"
    account = told["sources"]["long"]
    assert account["produced"] == account["emitted"] + sum(account["dropped"].values())
    assert len(_lines(lines)) >= 20
    assert _frames(video)


@pytest.mark.slow
def test_kill_9_leaves_a_playable_file_up_to_the_last_seconds(
    started: Started, long_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    video, lines = tmp_path / "o.mp4", tmp_path / "o.jsonl"
    process = started("run", "--source", long_clip, "--realtime", "--weights", small_weights, "-o", video, "-o", lines)
    _wait_for(lambda: lines.exists() and lines.read_text().count("\n") > 150, process)
    process.kill()
    process.communicate()
    whole = [json.loads(line) for line in lines.read_text().split("\n")[:-1]]
    assert len(whole) > 140
    assert _frames(video)[-1] > whole[-1]["pts_s"] - 3.0


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from pipeline.cli import main
try:
    main(["--help"])
    main(["run", "--help"])
except SystemExit as end:
    assert end.code == 0
heavy = [name for name in ("torch", "cv2", "av", "pydantic") if name in sys.modules]
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--conf-thres" in done.stdout
