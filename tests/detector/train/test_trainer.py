"""Whole runs on a tiny set: repeatable, resumable, shared by processes, and stopped by a loss that is no number."""

from __future__ import annotations

import dataclasses
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from detector.checkpoint import load_checkpoint
from detector.train.config import TrainConfig
from detector.train.history import EpochRow
from detector.train.observer import TrainObserver
from detector.train.run_state import load_state
from detector.train.step import Stepper
from detector.train.trainer import train
from pipeline.core.errors import CheckpointError, ConfigError, TrainingError

ROOT = Path(__file__).resolve().parents[3]


def _config(data: Path, **settings: Any) -> TrainConfig:
    values: dict[str, Any] = {
        "data": data,
        "weights": "none",
        "model": "yolov7-nano",
        "img_size": 64,
        "epochs": 3,
        "batch_size": 4,
        "workers": 0,
        "precision": "fp32",
        "schedule": {"nominal_batch": 4, "warmup": {"epochs": 1.0, "min_steps": 0}},
        "augment": {"scale": (0.8, 1.2), "translate": 0.05},
    }
    return TrainConfig(**{**values, **settings})


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def _without_times(row: EpochRow) -> dict[str, Any]:
    """All figures but the times, to the digits of results.csv."""
    values = {k: v for k, v in dataclasses.asdict(row).items() if k not in ("seconds", "images_per_s", "wait_share")}
    values |= {f"{kind} {k}": v for kind in ("losses", "val_losses") for k, v in values.pop(kind).items()}
    return {k: f"{v:.5g}" for k, v in values.items()}


@pytest.mark.parametrize("model", ["yolov7-nano", "yolox-nano"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_weights(tiny_data: Path, tmp_path: Path, model: str, precision: str) -> None:
    config = _config(tiny_data, model=model, precision=precision, plain_epochs=1)
    first, second = (train(config, tmp_path / name) for name in ("a", "b"))
    states = [load_state(tmp_path / name) for name in ("a", "b")]
    assert _same(states[0]["model"], states[1]["model"])
    assert _same(*(state["stepper"]["ema"]["model"] for state in states))
    assert [_without_times(row) for row in first.rows] == [_without_times(row) for row in second.rows]
    other = train(dataclasses.replace(config, seed=1), tmp_path / "c")
    assert other.rows[-1].losses != first.rows[-1].losses


class _StopAfter(TrainObserver):
    """Ends the run as a kill would: between the writing of one epoch and the next, or in the middle of one."""

    def __init__(self, epoch: int, batch: int | None = None) -> None:
        self.epoch, self.batch = epoch, batch

    def epoch_done(self, row: EpochRow, *, is_best: bool) -> None:
        if self.batch is None and row.epoch == self.epoch:
            raise KeyboardInterrupt

    def batch_done(self, news: Any) -> None:
        if news.epoch == self.epoch and news.batch == self.batch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "stop", [_StopAfter(1), _StopAfter(2), _StopAfter(1, 1)], ids=["after 1", "after 2", "within 2"]
)
def test_a_resumed_run_is_the_same_run(tiny_data: Path, tmp_path: Path, stop: _StopAfter) -> None:
    config = _config(tiny_data, epochs=4)
    whole = train(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", observer=stop)
    parts = train(config, tmp_path / "parts", resume=True)
    assert [_without_times(row) for row in parts.rows] == [_without_times(row) for row in whole.rows]
    a, b = load_state(tmp_path / "whole"), load_state(tmp_path / "parts")
    assert _same(a["model"], b["model"])
    assert _same(a["stepper"]["ema"]["model"], b["stepper"]["ema"]["model"])
    assert (a["epoch"], a["best"], a["best_epoch"]) == (b["epoch"], b["best"], b["best_epoch"])
    best = [load_checkpoint(run.best).model.state_dict() for run in (whole, parts)]
    assert _same(*best)


def test_a_finished_run_that_is_resumed_changes_nothing(tiny_data: Path, tmp_path: Path) -> None:
    config = _config(tiny_data, epochs=1)
    train(config, tmp_path / "run")
    before = (tmp_path / "run" / "state.pt").read_bytes()
    train(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "state.pt").read_bytes() == before


def test_a_run_goes_on_without_the_weights_it_started_from(tiny_data: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    train(_config(tiny_data, epochs=1), tmp_path / "first").best.rename(start)
    config = _config(tiny_data, epochs=2, weights=str(start), model=None, img_size=None)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", observer=_StopAfter(1))
    start.unlink()
    assert [row.epoch for row in train(config, tmp_path / "run", resume=True).rows] == [1, 2]


def test_what_a_run_leaves(tiny_data: Path, tmp_path: Path) -> None:
    result = train(_config(tiny_data, epochs=2), tmp_path / "run")
    best = load_checkpoint(result.best)
    assert best.class_names == ("red", "blue")
    assert best.input_hw == (64, 64)
    assert best.header.form == "training"
    assert best.header.provenance["started_from"] == "none"
    assert [row.epoch for row in result.rows] == [1, 2]
    assert all(0 <= row.wait_share <= 1 for row in result.rows)
    assert all(math.isfinite(value) for row in result.rows for value in row.val_losses.values())
    assert (tmp_path / "run" / "results.csv").read_text(encoding="utf-8").count("\n") == 3


def test_it_learns(make_data_set: Callable[..., Path], tmp_path: Path) -> None:
    """From nothing, in 200 steps. AP50 by seed and number of threads: 0.70 to 0.93 (12 runs)."""
    config = _config(
        make_data_set(tmp_path / "set", count=32),
        epochs=25,
        val_every=25,
        optimiser="adamw",
        schedule={"lr": 0.004, "nominal_batch": 4, "momentum": 0.9, "warmup": {"epochs": 2.0, "min_steps": 0}},
        ema_decay=0.9,
        ema_ramp=10,
        plain_epochs=10,
        loss={"cls": 8.0, "obj": 80.0},  # they are scaled down by 2 of 80 classes and 64 of 640 px
        augment={"mosaic": 0.3, "scale": (0.95, 1.05), "translate": 0.05, "hsv_h": 0, "hsv_s": 0.2, "hsv_v": 0.2},
    )
    result = train(config, tmp_path / "run")
    assert result.rows[-1].losses["box"] < 0.7 * result.rows[0].losses["box"]
    assert result.ap50 > 0.5


def test_a_teacher_is_imitated_and_left_out_of_the_weights(tiny_data: Path, tmp_path: Path) -> None:
    first = train(_config(tiny_data, epochs=1, model="yolox-nano"), tmp_path / "teacher")
    config = _config(tiny_data, epochs=6, teacher=str(first.best), teacher_weight=2.0, augment={"mosaic": 0})
    whole = train(config, tmp_path / "whole")
    losses = [row.losses["teacher"] for row in whole.rows]
    assert losses[-1] < 0.8 * losses[0]
    assert load_checkpoint(whole.best).header.model == "yolov7-nano"
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "parts", observer=_StopAfter(2))
    parts = train(config, tmp_path / "parts", resume=True)
    assert [_without_times(row) for row in parts.rows] == [_without_times(row) for row in whole.rows]


def test_a_teacher_with_other_levels_is_refused(tiny_data: Path, tmp_path: Path) -> None:
    first = train(_config(tiny_data, epochs=1), tmp_path / "teacher")
    config = _config(tiny_data, epochs=1, model="yolov7-w6", teacher=str(first.best))
    with pytest.raises(ConfigError, match=r"teacher: wanted a network with the student's strides \(8, 16, 32, 64\)"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize("model", ["yolov7-nano", "yolox-nano"])
def test_batches_without_any_object_train(tiny_data: Path, tmp_path: Path, model: str) -> None:
    first, *others = sorted((tiny_data.parent / "labels").iterdir())
    for label in others:
        label.write_text("", encoding="utf-8")
    assert first.read_text(encoding="utf-8")
    config = _config(tiny_data, epochs=1, batch_size=1, model=model, augment={"mosaic": 0})
    result = train(config, tmp_path / "run")
    assert math.isfinite(result.rows[0].losses["obj"])
    assert result.best.is_file()


def test_patience(tiny_data: Path, tmp_path: Path) -> None:
    # The warm-up has a rate of its own for biases.
    schedule = {"lr": 1e-9, "nominal_batch": 4, "warmup": {"epochs": 0.0, "min_steps": 0}}
    config = _config(tiny_data, epochs=30, patience=2, schedule=schedule)
    result = train(config, tmp_path / "run")
    assert len(result.rows) == 3


@pytest.mark.parametrize(
    "settings",
    [{"rect": True}, {"multi_scale": (0.5, 1.5)}, {"freeze": 5}, {"optimiser": "adamw", "clip_grad_norm": 1.0}],
    ids=str,
)
def test_settings_of_a_run(tiny_data: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    result = train(_config(tiny_data, epochs=1, **settings), tmp_path / "run")
    assert math.isfinite(result.rows[0].losses["obj"])
    if "freeze" in settings:
        fresh = train(_config(tiny_data, epochs=1), tmp_path / "free")
        key = "model.0.conv.weight"
        frozen, free = (load_state(run.folder)["model"][key] for run in (result, fresh))
        start = _start_weights(key)
        assert torch.equal(frozen, start)
        assert not torch.equal(free, start)


def _start_weights(key: str) -> torch.Tensor:
    from detector.models import build_model

    torch.manual_seed(0)
    return build_model("yolov7-nano", num_classes=2, form="training").state_dict()[key]


def test_a_loss_that_is_no_number_stops_the_run_and_saves_the_batch(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Stepper.step

    def broken(self: Stepper, batch: Any, *args: Any, **kwargs: Any) -> Any:
        if self.ema.updates == 3:
            with torch.no_grad():
                self.network.detection_head.m[0].weight.fill_(math.nan)  # type: ignore[union-attr, operator]
        return original(self, batch, *args, **kwargs)

    monkeypatch.setattr(Stepper, "step", broken)
    with pytest.raises(TrainingError, match=r"epoch 2, batch 2: wanted a finite loss, found .*nan.*schedule\.lr"):
        train(_config(tiny_data), tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "non_finite_batch_0.pt", weights_only=True)
    assert saved["images"].shape == (4, 3, 64, 64)
    assert all(Path(file).is_file() for file in saved["files"])
    assert load_state(tmp_path / "run")["epoch"] == 1
    assert load_checkpoint(tmp_path / "run" / "weights" / "last.safetensors")


def test_a_run_without_a_finished_epoch_begins_again_when_resumed(
    tiny_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _config(tiny_data, epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run", observer=_StopAfter(0, 1))
    (tmp_path / "run" / "weights").mkdir()
    (tmp_path / "run" / "weights" / ".last.safetensors.part").write_bytes(b"half a file")
    resumed = train(config, tmp_path / "run", resume=True)
    whole = train(config, tmp_path / "whole")
    assert [_without_times(row) for row in resumed.rows] == [_without_times(row) for row in whole.rows]
    assert [record.getMessage() for record in caplog.records if "begins again" in record.message] == [
        f"{tmp_path / 'run'}: no epoch of this run was finished; it begins again"
    ]
    assert not list((tmp_path / "run").rglob(".*"))


def test_resuming_a_damaged_state_says_so(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match=r"damaged"):
        train(_config(tiny_data), tmp_path, resume=True)


def test_resuming_another_network_says_so(tiny_data: Path, tmp_path: Path) -> None:
    train(_config(tiny_data, epochs=1), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"wanted the network yolov7-nano .* found yolox-nano"):
        train(_config(tiny_data, epochs=2, model="yolox-nano"), tmp_path / "run", resume=True)


@pytest.mark.slow
def test_two_processes_equal_one(tiny_data: Path, tmp_path: Path) -> None:
    """Two processes with four pictures each, against one that sums up two batches of four: the same gradients."""
    settings = ["schedule.nominal_batch=8", "schedule.warmup.epochs=0", "augment.scale=[0.9, 1.1]", "plain_epochs=0"]
    common = ["train", "--data", tiny_data, "--weights", "none", "--model", "yolov7-nano", "--img-size", "64"]
    common += ["--epochs", "4", "--workers", "0", "--precision", "fp32", "--quiet", "--project", tmp_path]
    common += [part for setting in settings for part in ("--set", setting)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    program = [str(ROOT / "run_pipeline.py"), *map(str, common)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, start, batch in (("two", torchrun, 8), ("one", [sys.executable], 4)):
        command = [*start, *program, "--name", name, "--batch-size", str(batch)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=110, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]
    two, one = (load_state(tmp_path / name) for name in ("two", "one"))
    trained = [
        name for name in one["model"] if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    ]
    assert len(trained) > 100
    for name in trained:
        assert torch.allclose(two["model"][name], one["model"][name], rtol=1e-4, atol=2e-6), name
    assert (tmp_path / "two" / "results.csv").read_text(encoding="utf-8").count("\n") == 5
