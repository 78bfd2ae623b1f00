"""Training from Python; the command line does the same.

Fine-tune on one's own pictures, and look at a video with what came out::

    from pipeline.api import stream
    from pipeline.api_train import train

    result = train("my/data.yaml", epochs=30)
    for found in stream("street.mp4", weights=result.best):
        print(found.frame.index, found.tracks.track_id)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from detector.train.config import FROM_SCRATCH, TrainConfig
from detector.train.failures import told_plainly
from detector.train.run_settings import SETTINGS_FILE
from detector.train.trainer import TrainResult
from detector.train.trainer import train as train_as_told
from pipeline.config.registry import nearest
from pipeline.config.validate import validated
from pipeline.config.yaml_file import merge, read_yaml
from pipeline.core.errors import ConfigError, MissingExtraError, UsageError
from pipeline.run_folder import free_folder
from pipeline.train_console import ConsoleObserver

DEFAULT_FOLDER = Path("runs/train/exp")


def train(
    data: str | Path,
    *,
    weights: str | Path | None = None,
    hyp: str | Path | None = None,
    folder: str | Path = DEFAULT_FOLDER,
    quiet: bool = False,
    **settings: Any,
) -> TrainResult:
    """Train or fine-tune a detector.

    Args:
        data: a data.yaml (docs/data.md), or a folder in Pascal VOC's layout.
        weights: what to start from: a file, a name of `tracklight models`, or "none"; default: the model that ships
            with the project.
        hyp: settings below these: a name of configs/train or a YAML file; default: finetune, or from-scratch-small
            for weights "none".
        folder: where weights, figures and pictures go; a number is added where it is taken. `result.folder` tells.
        quiet: tell nothing on stderr but problems of the data.
        settings: fields of TrainConfig, such as `epochs=30`, `img_size=640`, `schedule={"lr": 0.005}`.

    Raises:
        ConfigError: an unknown setting, a wrong value, or settings that do not go together.
        DatasetError: the data cannot be read, or are not to be used as they are.
        CheckpointError: the weights cannot be had or read.
        MissingExtraError: faster-coco-eval, which measures, is not installed.
        TrainingError: the loss became infinite, or memory or disk is full.
    """
    values = {**settings, "data": str(data)}
    if weights is not None:
        values["weights"] = str(weights)
    config = train_config(values, hyp)
    free = free_folder(Path(folder).parent, Path(folder).name)
    return run_config(config, free, ConsoleObserver(free, quiet=quiet or not is_first_process()))


def resume(folder: str | Path, *, quiet: bool = False, **where: Any) -> TrainResult:
    """Go on with an interrupted run, as if it had never stopped; from the beginning, if no epoch was finished.

    Args:
        folder: of the run.
        quiet: tell nothing on stderr but problems of the data.
        where: `device` and `workers`, if they are to change.

    Raises:
        UsageError: the folder holds no run.
        CheckpointError: its state is damaged.
        TrainingError: as `train`.
    """
    path = Path(folder)
    console = ConsoleObserver(path, quiet=quiet or not is_first_process())
    return run_config(saved_config(path, where), path, console, is_resumed=True)


def train_config(values: Mapping[str, Any], hyp: str | Path | None = None) -> TrainConfig:
    """The settings of a new run: a settings file with `values` laid over it, checked.

    Raises:
        ConfigError: an unknown file, key or value; offers the nearest.
    """
    is_fresh = str(values.get("weights", "")).lower() == FROM_SCRATCH
    path = _settings_file(str(hyp or ("from-scratch-small" if is_fresh else "finetune")))
    merged = merge(read_yaml(path), values)
    if not merged.get("data"):
        raise UsageError("train: wanted --data, a data.yaml or a Pascal VOC folder; found none")
    config: TrainConfig = validated(TrainConfig, merged, "")
    return config


def saved_config(folder: Path, where: Mapping[str, Any]) -> TrainConfig:
    """The settings that the run in a folder began with; only where it runs may change."""
    if not (folder / SETTINGS_FILE).is_file():
        raise UsageError(f"--resume: wanted the folder of a training run, found no {SETTINGS_FILE} in {folder}")
    unknown = sorted(set(where) - {"device", "workers"})
    if unknown:
        raise UsageError(
            f"--resume: goes on with the settings of the run, found {', '.join(unknown)} too; only device and workers "
            "may change"
        )
    config: TrainConfig = validated(TrainConfig, {**read_yaml(folder / SETTINGS_FILE), **where}, "")
    return config


def run_config(config: TrainConfig, folder: Path, console: ConsoleObserver, *, is_resumed: bool = False) -> TrainResult:
    """One run, shown and drawn by `console`; raises as `train` does."""
    if find_spec("faster_coco_eval") is None:  # said now, and not after the first epoch
        raise MissingExtraError("faster-coco-eval", "train", "training")
    with console, told_plainly(folder):
        return train_as_told(config, folder, observer=console, resume=is_resumed)


def is_first_process() -> bool:
    """Whether this is the process of a torchrun that speaks and writes, or the only one."""
    return os.environ.get("RANK", "0") == "0"


def _settings_file(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    known = {Path(entry.name).stem: entry for entry in files("configs").joinpath("train").iterdir()}
    if name not in known:
        raise ConfigError(
            f"--hyp: wanted a YAML file or one of {', '.join(sorted(known))}, found {name!r}{nearest(name, known)}"
        )
    return Path(str(known[name]))
