"""Training that is killed (kill -9) and resumed ends as if nothing had happened."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from detector.checkpoint import load_checkpoint
from detector.train.history import History
from detector.train.run_state import load_state

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes through /proc"),
]

EPOCHS = 12
SETTINGS = [
    "--weights", "none", "--model", "yolov7-nano", "--img-size", 64, "--epochs", EPOCHS, "--batch-size", 4,
    "--precision", "fp32", "--device", "cpu", "--quiet",
    "--set", "schedule.nominal_batch=4", "--set", "schedule.lr=0.02", "--set", "schedule.warmup.epochs=1",
    "--set", "schedule.warmup.min_steps=0", "--set", "ema_decay=0.9",
]  # fmt: skip

FORKS = """
import json, os, sys
from pipeline.cli import main
import detector.train.plots, detector.train.summary, pipeline.api_train
import faster_coco_eval, matplotlib.figure, torch.utils.tensorboard
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        sys.stdin.close()
        sys.exit(main(json.loads(line)))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Runs the program once per line, each time in a process of its own that has its imports from the start."""


class Forks:
    """The program, again and again."""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        self._file = errors.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=Path(__file__).resolve().parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._file,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, *arguments: object) -> int:
        """Begins a run; gives the number of its process."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        self._process.stdin.flush()
        return self._line()

    def result(self) -> int:
        """Waits for its end; gives its exit code, -9 for one that was killed."""
        return self._line()

    def errors(self) -> str:
        return self._errors.read_text()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._file.close()

    def _line(self) -> int:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self.errors()
        return int(line)


@pytest.fixture
def forks(tmp_path: Path) -> Iterator[Forks]:
    started = Forks(tmp_path / "stderr.txt")
    yield started
    started.close()


def _wait_for(condition: Callable[[], bool], process: int, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert _is_alive(process), f"the run ended before {what}"
        assert time.monotonic() < deadline, f"no {what} within a minute"
        time.sleep(0.0005)


def _is_alive(process: int) -> bool:
    """False for one that is over, though nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _is_new(path: Path) -> Callable[[], bool]:
    """Whether a file was made, or replaced, since now."""

    def number() -> int | None:
        try:
            return path.stat().st_ino
        except FileNotFoundError:
            return None

    before = number()
    return lambda: number() not in (None, before)


def _kill(process: int, forks: Forks) -> list[int]:
    """Gives the processes that it leaves behind."""
    children = _children(process)
    os.kill(process, signal.SIGKILL)
    assert forks.result() == -signal.SIGKILL
    return children


def _without_times(results: Path) -> list[dict[str, str]]:
    """The table to five digits, less what no two runs share."""
    timed = ("seconds", "images per second", "share of time waiting for data")
    with results.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{key: f"{float(cell):.5g}" for key, cell in row.items() if key not in timed} for row in rows]


def _same_weights(a: Path, b: Path) -> bool:
    first, second = (load_checkpoint(path).model.state_dict() for path in (a, b))
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def _check_files(folder: Path) -> int:
    """Holds what every reader must find after a kill at any moment; gives the number of finished epochs."""
    left = list(folder.rglob(".*.part"))
    assert len(left) <= 1, left
    state = load_state(folder)
    done = state["epoch"] if state is not None else 0
    for name in ("last", "best"):
        weights = folder / "weights" / f"{name}.safetensors"
        if done or weights.exists():
            of_epoch = int(load_checkpoint(weights).header.provenance["epoch"].split()[0])
            assert of_epoch in (done, done + 1) if name == "last" else of_epoch <= done + 1
    epochs = [row.epoch for row in History(folder / "results.csv").rows]
    assert epochs in (list(range(1, done + 1)), list(range(1, done + 2)))
    return done


def test_five_kills_change_nothing(tiny_training_data: Path, tmp_path: Path, forks: Forks) -> None:
    pytest.importorskip("faster_coco_eval")
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train = ("train", "--data", tiny_training_data, *SETTINGS, "--workers", 0, "--project", tmp_path)
    forks.start(*train, "--name", whole.name)
    assert forks.result() == 0, forks.errors()

    dice = random.Random(7)
    resume = ("train", "--resume", killed, "--quiet")
    state, best, table = (killed / name for name in ("state.pt", "weights/best.safetensors", "results.csv"))

    process = forks.start(*train, "--name", killed.name)
    _wait_for((killed / "train_batch_1.jpg").exists, process, "the first batch")
    _kill(process, forks)
    done = [_check_files(killed)]

    process = forks.start(*resume)
    _wait_for(state.exists, process, "an epoch")
    _wait_for((killed / ".state.pt.part").exists, process, "writing the state again")
    _kill(process, forks)
    done.append(_check_files(killed))

    process = forks.start(*resume, "--workers", 2)
    _wait_for(_is_new(state), process, "an epoch")
    time.sleep(dice.uniform(0, 0.5))
    helpers = _kill(process, forks)
    done.append(_check_files(killed))

    process = forks.start(*resume, "--workers", 0)
    _wait_for(_is_new(best), process, "a better epoch")
    _kill(process, forks)
    done.append(_check_files(killed))

    process = forks.start(*resume)
    _wait_for(_is_new(table), process, "an epoch")
    time.sleep(dice.uniform(0, 0.5))
    _kill(process, forks)
    done.append(_check_files(killed))

    process = forks.start(*resume)
    assert forks.result() == 0, forks.errors()
    assert forks.errors().count("it begins again") == (done[0] == 0)
    assert "Traceback" not in forks.errors()
    assert sorted(done) == done
    assert 0 < done[-1] < EPOCHS

    rows = _without_times(table)
    assert [int(row["epoch"]) for row in rows] == list(range(1, EPOCHS + 1))
    assert rows == _without_times(whole / "results.csv")
    for name in ("best", "last"):
        assert _same_weights(*(run / "weights" / f"{name}.safetensors" for run in (whole, killed))), name
    ends = [load_state(run) for run in (whole, killed)]
    assert ends[0] is not None
    assert ends[1] is not None
    for key in ("epoch", "best", "best_epoch"):
        assert ends[0][key] == ends[1][key], key
    assert not list(killed.rglob(".*.part"))
    assert len(helpers) >= 2
    assert not [helper for helper in helpers if _is_alive(helper)], "processes that decode pictures are still there"
