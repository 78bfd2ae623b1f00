"""Verb `train`: what its options refuse, where a run goes, what stops it and how it goes on."""

from __future__ import annotations

import csv
import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml

from detector.train.step import Stepper
from pipeline.cli.main import main
from pipeline.train_console import ConsoleObserver
from pipeline.train_stop import StoppableConsole

ROOT = Path(__file__).resolve().parents[3]
TINY = ("--weights", "none", "--model", "yolov7-nano", "--img-size", "64", "--workers", "0", "--epochs", "1")


def make_data(folder: Path) -> Path:
    """Four pictures with a red box each, for both splits."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(4):
        image = np.full((64, 64, 3), 90 + number, np.uint8)
        image[16:40, 8 + number : 40] = (0, 0, 255)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        x = (8 + number + 40) / 2 / 64
        (folder / "labels" / f"{number}.txt").write_text(f"0 {x} {28 / 64} {(32 - number) / 64} {24 / 64}\n")
    (folder / "data.yaml").write_text("names: [red]\ntrain: images\nval: images\n")
    return folder / "data.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_data(tmp_path_factory.mktemp("set"))


@pytest.fixture(autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder of its own, and what is known of the pictures in a cache for this file."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("TRACKLIGHT_CACHE", raising=False)
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of one epoch."""
    project = tmp_path_factory.mktemp("finished")
    assert main(["train", "--data", str(data), *TINY, "--quiet", "--project", str(project)]) == 0
    return project / "exp"


def epochs_of(folder: Path) -> list[str]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def settings_of(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    return values


REFUSED = {
    "no data": ([], 2, r"train: wanted --data, a data\.yaml or a Pascal VOC folder; found none"),
    "data that is not there": (
        ["--data", "DATA/dta.yaml"],
        1,
        r"dta\.yaml: wanted a data set, .* did you mean '.*data",
    ),
    "one COCO file": (
        ["--data", "a.json"],
        1,
        r"a\.json: wanted a data\.yaml that names train and val, .* 'train: a\.j",
    ),
    "unknown hyp": (["--data", "DATA", "--hyp", "finetun"], 2, r"--hyp: .* found 'finetun'; did you mean 'finetune'\?"),
    "hyp file not there": (["--data", "DATA", "--hyp", "my.yaml"], 2, r"my\.yaml: no such configuration file"),
    "unknown section": (
        ["--data", "DATA", "--set", "shedule.lr=1"],
        2,
        r"shedule: unknown key; did you mean 'schedule'",
    ),
    "unknown key": (["--data", "DATA", "--set", "schedule.lrr=1"], 2, r"schedule\.lrr: unknown key; did you mean 'lr'"),
    "key deeper": (
        ["--data", "DATA", "--set", "schedule.warmup.epoch=1"],
        2,
        r"schedule\.warmup\.epoch: unknown key; did you mean 'epochs'",
    ),
    "no value": (["--data", "DATA", "--set", "schedule.lr"], 2, r"--set: wanted key\.path=value, found 'schedule\.lr'"),
    "too small": (
        ["--data", "DATA", "--epochs", "0"],
        2,
        r"epochs: input should be greater than or equal to 1, found 0",
    ),
    "no range": (["--data", "DATA", "--set", "augment.scale=0.5"], 2, r"augment\.scale: wanted a list, .*found 0\.5"),
    "weights not there": (
        ["--data", "DATA", "--weights", "mine.pt"],
        1,
        r"weights: wanted a file or the name .*mine\.pt",
    ),
    "fresh without network": (["--data", "DATA", "--weights", "none"], 2, r"model: wanted the name of a network"),
    "unknown network": (
        ["--data", "DATA", "--weights", "none", "--model", "yolov7-nan"],
        2,
        r"yolov7-nan.*yolov7-nano",
    ),
    "resume of nothing": (
        ["--resume", "nowhere"],
        2,
        r"--resume: wanted the folder of a training run, found no config",
    ),
    "resume with a setting": (["--resume", "begun", "--epochs", "9"], 2, r"--resume: .* found epochs too; only device"),
    "resume with --set": (["--resume", "begun", "--set", "seed=2"], 2, r"--resume: .* found seed too; only device"),
    "resume with --hyp": (["--resume", "begun", "--hyp", "p5"], 2, r"--resume: .* found --hyp too"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_said_in_one_line_and_leaves_nothing(
    case: str, data: Path, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments, code, wanted = REFUSED[case]
    Path("begun").mkdir()
    Path("begun/config.yaml").write_bytes((finished / "config.yaml").read_bytes())
    capfd.readouterr()
    named = [a.replace("DATA/dta", str(data.parent / "dta")).replace("DATA", str(data)) for a in arguments]
    assert main(["train", "--quiet", *named]) == code
    told = capfd.readouterr().err
    assert told.startswith("tracklight: ")
    assert told.count("\n") == 1
    assert re.search(wanted, told), told
    assert not Path("runs").exists()


def test_help_is_fast_and_loads_no_framework() -> None:
    code = "import sys; from pipeline.cli.main import main\ntry: main(['train', '--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('torch', 'cv2', 'matplotlib', 'numpy', 'pydantic') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout.strip().endswith("[]")
    assert "--resume FOLDER" in shown.stdout


def test_a_taken_name_gets_a_number_and_nothing_is_overwritten(data: Path, finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    again = ["train", "--data", str(data), *TINY, "--quiet", "--project", str(finished.parent)]
    assert main(again) == 0
    assert (finished.parent / "exp2/weights/best.safetensors").is_file()
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_exist_ok_replaces_a_run_once_its_data_could_be_read(data: Path, tmp_path: Path) -> None:
    common = ["train", *TINY, "--quiet", "--project", str(tmp_path), "--exist-ok"]
    assert main([*common, "--data", str(data)]) == 0
    folder = tmp_path / "exp"
    best = (folder / "weights/best.safetensors").read_bytes()
    assert main([*common, "--data", str(data.with_name("dta.yaml"))]) == 1
    assert (folder / "weights/best.safetensors").read_bytes() == best
    assert settings_of(folder)["seed"] == 0

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ConsoleObserver, "batch_done", stop)
        assert main([*common, "--data", str(data), "--seed", "5"]) == 130
    assert settings_of(folder)["seed"] == 5
    assert not (folder / "state.pt").exists(), "the state of another run must not be resumed"
    assert not (folder / "weights/best.safetensors").exists()


def test_an_interrupted_run_is_resumed_with_its_own_settings(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(self: ConsoleObserver, row: Any, *, is_best: bool) -> None:
        raise KeyboardInterrupt

    command = ["train", "--data", os.path.relpath(data), *TINY, "--epochs", "2", "--seed", "7", "--name", "my run"]
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleObserver, "epoch_done", stop)
        assert main(command) == 130
    last = capfd.readouterr().err.splitlines()[-1]
    assert last == (
        "tracklight: interrupted; all finished epochs are kept; go on with: "
        "tracklight train --resume 'runs/train/my run'"
    )
    folder = Path("runs/train/my run").resolve()
    assert epochs_of(folder) == ["1"]
    settings = (folder / "config.yaml").read_bytes()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")  # paths in the settings are whole
    assert main(["train", "--resume", str(folder), "--workers", "0"]) == 0
    assert epochs_of(folder) == ["1", "2"]
    assert (folder / "config.yaml").read_bytes() == settings
    assert settings_of(folder)["seed"] == 7
    assert "epoch 2 " in capfd.readouterr().err
    assert not Path("runs").exists()


def test_stopped_before_the_first_epoch_is_over(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ConsoleObserver, "labels_read", stop)
        assert main(["train", "--data", str(data), *TINY]) == 130
        assert capfd.readouterr().err == "tracklight: interrupted; nothing was trained yet\n"
        assert not Path("runs").exists()
    with monkeypatch.context() as patch:
        patch.setattr(ConsoleObserver, "batch_done", stop)
        assert main(["train", "--data", str(data), *TINY]) == 130
    assert capfd.readouterr().err.endswith("tracklight train --resume runs/train/exp\n")
    assert main(["train", "--resume", "runs/train/exp"]) == 0
    assert epochs_of(Path("runs/train/exp")) == ["1"]


def test_the_settings_of_a_run_are_settings_for_another(data: Path, finished: Path) -> None:
    changed = ["--set", "augment.mosaic=0.25", "--freeze", "2", "--set", "multi_scale=[0.9, 1.1]"]
    assert main(["train", "--hyp", str(finished / "config.yaml"), *changed, "--quiet"]) == 0
    first = Path("runs/train/exp")
    assert main(["train", "--hyp", str(first / "config.yaml"), "--quiet"]) == 0
    assert settings_of(Path("runs/train/exp2")) == settings_of(first)
    differing = {key for key, value in settings_of(first).items() if value != settings_of(finished)[key]}
    assert differing == {"augment", "freeze", "multi_scale"}


def test_a_whole_run_as_it_is_seen(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """With processes that read pictures, every drawing and TensorBoard; a warning of any library would be an error."""
    assert main(["train", "--data", str(data), *TINY, "--workers", "1"]) == 0
    lines = capfd.readouterr().err.splitlines()
    assert [line.split(":")[0].split("  ")[0] for line in lines] == [
        "4 pictures to train on, 4 to validate with, 1 classes",
        "yolov7-nano",
        "anchors",
        "epoch 1",
        *(line for line in lines if line.startswith("1 epochs in ")),
        "best weights",
        "use them",
    ]
    folder = Path("runs/train/exp")
    drawn = {"results.png", "labels.png", "pr_curve.png", "confidence.png", "confusion.png", "predictions.jpg"}
    there = {path.name for path in folder.iterdir()}
    assert {*drawn, "train_batch_1.jpg", "config.yaml", "results.csv", "state.pt", "weights"} <= there
    assert not [path for path in folder.rglob("*.part")]


def test_what_is_not_installed(data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Without matplotlib and TensorBoard a run has no pictures; what it cannot do without is asked for at once."""
    packages = ("matplotlib", "tensorboard", "torch.utils.tensorboard")
    loaded = [name for name in sys.modules if name.startswith(tuple(f"{package}." for package in packages))]
    for name in (*packages, *loaded):  # a part that an earlier test loaded would still be found
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["train", "--data", str(data), *TINY]) == 0
    told = capfd.readouterr().err
    assert told.count("no pictures: ") == 1
    assert "tracklight[train]" in told
    assert Path("runs/train/exp/weights/best.safetensors").is_file()
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert main(["train", "--data", str(data), *TINY]) == 1
    assert capfd.readouterr().err.startswith("tracklight: training needs the package 'faster-coco-eval'; install it")
    assert not Path("runs/train/exp2").exists()


def test_quiet(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--data", str(data), *TINY, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
            r"GPU's memory is full; take a smaller --batch",
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you"), r"the memory is full; take a"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."),
            r"reads pictures was killed.*--workers",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            r"runs/train/exp: wanted to write .* No space left on device$",
        ),
        (MemoryError(), r"out of memory; use a smaller --img-size"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_fails_beneath_is_one_line(
    error: Exception, wanted: str, data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Stepper, "step", fail)
    assert main(["train", "--data", str(data), *TINY, "--quiet"]) == 1
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert re.search(wanted, told), told


def test_what_a_signal_breaks_is_no_error(
    data: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A signal to all processes may end those that read pictures first."""

    def fail(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated.")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(Stepper, "step", fail)
    assert main(["train", "--data", str(data), *TINY, "--quiet"]) == 130
    first, second = capfd.readouterr().err.splitlines()
    assert first == "tracklight: stopping; once more to leave at once"
    assert second.endswith("go on with: tracklight train --resume runs/train/exp")
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_signal_leaves_at_once(tmp_path: Path) -> None:
    console = StoppableConsole(tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        console.stop()
    console._waits = True
    console.stop()
    with pytest.raises(KeyboardInterrupt):
        console.stop(at_once=True)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_interruption(data: Path, number: signal.Signals) -> None:
    """The signal reaches the processes that read pictures as well; none of them may speak, or stay."""
    arguments = ["train", "--data", str(data), *TINY, "--epochs", "1000", "--workers", "2"]
    command = [sys.executable, str(ROOT / "run_pipeline.py"), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        folder = Path("runs/train/exp")
        deadline = time.monotonic() + 60
        while not (folder / "state.pt").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(process.pid, number)
        told = process.communicate(timeout=30)[1].splitlines()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, told
    assert told[-1].endswith("go on with: tracklight train --resume runs/train/exp")
    assert all(
        line.startswith(("4 pict", "yolov7", "anchors", "epoch", "tracklight: stopping", "tracklight: inter"))
        for line in told
    ), told
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    assert int(epochs_of(folder)[-1]) >= 1
