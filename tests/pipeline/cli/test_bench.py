"""Verb `bench`: what it writes, what it prints, what it refuses; and what `doctor` says of runtimes."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from pipeline.benchmark import campaign, worker
from pipeline.benchmark.configuration import DETECTOR_STAGES, SHARED_STAGES, Job
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.processes import run_job
from pipeline.cli import bench, main
from pipeline.core.cores import usable_cores
from pipeline.core.errors import CheckpointError, SourceError, UsageError


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return bench.run(parser.parse_args([str(argument) for argument in arguments]))


def result_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "bench.json").read_text()))


STAGES = {"shared": SHARED_STAGES, "detector": (*DETECTOR_STAGES, "detector"), "end to end": ("end to end",)}


def _first_in_a_process(job: Job) -> Measured:
    """A job as `bench` does it for the shared stages; in this process for the others, to save seconds."""
    return run_job(job) if job.what == "shared" else worker.do(job)


def test_a_whole_run(
    small_weights: Path,
    small_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--weights", small_weights, "--source", small_clip, "--project", tmp_path / "bench", "--device", "cpu"]
    axes = ["--backend", "eager", "--precision", "fp32", "int8", "--batch-size", "1", "3"]
    monkeypatch.setattr(campaign, "measure", partial(campaign.measure, do=_first_in_a_process))
    assert run(*options, *axes, "--repeats", "1", "--seconds", "0.1") == 0
    folder = tmp_path / "bench" / "exp"
    assert sorted(path.name for path in folder.iterdir()) == ["bench.json", "bench.png"]
    document = result_of(folder)
    measured = [(one["what"], (one["configuration"] or {}).get("batch")) for one in document["results"]]
    pairs = [(what, batch) for batch in (1, 3) for what in ("detector", "end to end")]
    assert measured == [("shared", None), *pairs]
    for result in document["results"]:
        assert tuple(result["stages"]) == STAGES[result["what"]]
        assert {figures["frames_per_s"]["n"] for figures in result["stages"].values()} == {1}
        if result["what"] == "detector":
            assert result["ran"] == {"backend": "eager", "precision": "fp32", "device": "cpu", "input_hw": [64, 64]}
    assert len(document["cannot_run"]) == 2
    assert all("int8" in entry["reason"] for entry in document["cannot_run"])
    shown = capsys.readouterr()
    assert "cannot run here: small.safetensors eager int8" in shown.out
    assert f"wrote {folder}" in shown.out
    assert "round 1 of 1: shared" in shown.err


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `measure` gives, without measuring; its `plan` is what was asked for."""
    figures = {name: {"median": 2.0, "low": 1.9, "high": 2.1, "n": 5} for name in ("p50_ms", "p95_ms", "p99_ms")}
    figures |= {name: {"median": 9.0, "low": 8.0, "high": 9.5, "n": 5} for name in ("frames_per_s", "cpu_s_per_frame")}
    machine = {"cpu": "CPU", "usable_cores": 2, "memory_gb": 8, "gpu": [], "cpu_features": [], "load_before": 0.0}
    stages = dict.fromkeys(("preprocess", "inference", "postprocess", "detector"), figures)
    configuration = {"weights": "w", "backend": "eager", "precision": "fp32", "img_size": None, "batch": 1}
    repeats = [{"stages": {name: {"frames_per_s": 9.0} for name in stages}}]
    result = {
        **{"what": "detector", "configuration": {**configuration, "device": "cpu"}, "ran": {}, "stages": stages},
        **{"peak_memory_mb": 100.0, "load_s": 1.0, "repeats": repeats},
    }
    document: dict[str, Any] = {
        **{"format": 1, "date": "2026-01-01", "machine": machine, "results": [result], "cannot_run": []},
        **{"clip": {"name": "c", "width_px": 1, "height_px": 1}, "settings": {"repeats": 5, "seconds": 2.0}},
    }
    kept: dict[str, Any] = {"document": document}

    def measure(plan: Any, say: Any) -> dict[str, Any]:
        kept["plan"] = plan
        return document

    monkeypatch.setattr("pipeline.benchmark.campaign.measure", measure)
    return kept


def test_defaults_ask_for_everything(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    assert run("--source", small_clip, "--weights", small_weights, "--project", tmp_path) == 0
    plan = measured["plan"]
    assert len(plan.configurations) == 16
    assert {one.img_size for one in plan.configurations} == {None}
    assert (plan.repeats, plan.seconds) == (5, 2.0)


def test_axes(measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path) -> None:
    chosen = ["--backend", "eager", "openvino", "--precision", "bf16", "--img-size", "320", "640", "--batch-size", "4"]
    assert run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, *chosen, "--quiet") == 0
    axes = [(one.backend, one.precision, one.img_size, one.batch) for one in measured["plan"].configurations]
    assert axes == [(b, "bf16", side, 4) for b in ("eager", "openvino") for side in (320, 640)]


def test_every_run_has_a_folder_of_its_own(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    for _ in range(2):
        run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, "--quiet")
    run(
        "--source",
        small_clip,
        "--weights",
        small_weights,
        "--project",
        tmp_path,
        "--name",
        "exp",
        "--exist-ok",
        "--quiet",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exp", "exp2"]


def test_without_matplotlib_there_is_one_line(
    measured: dict[str, Any],
    small_clip: Path,
    small_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, "--quiet") == 0
    assert [path.name for path in (tmp_path / "exp").iterdir()] == ["bench.json"]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert "no bench.png" in shown.err
    assert "matplotlib" in shown.err


def test_nothing_that_can_run_is_an_error(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path
) -> None:
    measured["document"]["results"] = []
    with pytest.raises(UsageError, match="none; the reasons stand above"):
        run("--source", small_clip, "--weights", small_weights, "--project", tmp_path)


def test_the_reasons_are_told_where_no_table_is(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (result,) = measured["document"]["results"]
    measured["document"]["results"] = []
    measured["document"]["cannot_run"] = [{"configuration": result["configuration"], "reason": "no such thing"}]
    with pytest.raises(UsageError, match="none; the reasons stand above"):
        run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, "--quiet")
    assert capsys.readouterr() == (
        "",
        "tracklight: cannot run here: w eager fp32 own size batch 1 on cpu: no such thing\n",
    )


def test_after_ctrl_c_what_was_measured_is_written(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured["document"]["interrupted"] = "in round 2 of 5"
    assert run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, "--quiet") == 130
    assert len(result_of(tmp_path / "exp")["results"]) == 1
    shown = capsys.readouterr()
    assert f"tracklight: interrupted in round 2 of 5; what was measured is in {tmp_path / 'exp'}" in shown.err


def test_two_results_are_compared(
    measured: dict[str, Any], small_clip: Path, small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--source", small_clip, "--weights", small_weights, "--project", tmp_path, "--quiet")
    old = tmp_path / "exp" / "bench.json"
    document = result_of(tmp_path / "exp")
    for key in ("median", "low", "high"):
        document["results"][0]["stages"]["detector"]["p50_ms"][key] *= 2
    new = tmp_path / "new.json"
    new.write_text(json.dumps(document))
    assert run("--compare", old, new) == 0
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "worse" in line and line.startswith("detector")]
    assert "2.000" in line
    assert "1 worse" in shown


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--source", "no.mp4"], SourceError, "no.mp4: wanted a video file, found nothing there"),
        (["--weights", "no-such-model"], CheckpointError, "no-such-model"),
        (["--compare", "no.json", "no.json"], UsageError, "no.json: wanted a result"),
    ],
)
def test_bad_input_is_told_in_one_line(arguments: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        run(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["--batch-size", "0"], ["--seconds", "-1"], ["--repeats", "x"], ["--backend", "caffe"]]
)
def test_bad_options(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(*arguments)
    assert arguments[1] in capsys.readouterr().err


def test_doctor_tells_runtimes_and_what_the_cpu_can(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:22].strip(): line[24:] for line in lines}
    assert {"CPU features", "memory"} <= rows.keys()
    assert int(rows["usable cores"].split()[0]) == usable_cores()
    packages = {"eager": "torch", **{name: name for name in ("onnxruntime", "openvino", "tensorrt")}}
    for backend, package in packages.items():
        extra = {"onnxruntime": "export"}.get(backend, backend)
        wanted = f"not installed: pip install 'tracklight[{extra}]'"
        if find_spec(package):
            wanted = f"{package} {version(package)}"
        assert rows[f"backend {backend}"].startswith(wanted), backend
