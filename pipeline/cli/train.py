"""Verb `train`: train or fine-tune a detector."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.options import free_folder, given
from pipeline.core.errors import ConfigError, UsageError

CONFIG_FILE = "config.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`; names as YOLOv7's users know them."""
    parser.add_argument("--data", metavar="FILE", help="data.yaml, COCO .json, or Pascal VOC folder")
    parser.add_argument("--weights", metavar="FILE|NAME", help="start from these; none = fresh (default: street)")
    parser.add_argument("--model", "--cfg", metavar="NAME", help="network (default: that of the weights)")
    parser.add_argument("--hyp", metavar="NAME|FILE", help="settings: a name of configs/train or a YAML file")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures per step")
    parser.add_argument("--img-size", "--img", type=int, metavar="PX", help="side of the input")
    parser.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:N or auto")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], help="of the arithmetic")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that decode pictures")
    parser.add_argument("--freeze", type=int, metavar="N", help="first layers that stay as they are")
    parser.add_argument("--patience", type=int, metavar="N", help="stop after so many epochs without a better one")
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random")
    parser.add_argument("--rect", action="store_true", default=None, help="rectangular batches")
    parser.add_argument("--bad-items", choices=["drop", "stop"], help="what to do about wrong pictures and labels")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="one setting, such as schedule.lr=0.005")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with an interrupted run")
    parser.add_argument("--project", default="runs/train", help="folder of runs (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of the run (default: %(default)s)")
    parser.add_argument("--exist-ok", action="store_true", help="write into a folder that exists")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Train, and leave weights, figures and pictures in a fresh folder."""
    from detector.train.trainer import train
    from pipeline.cli.train_console import ConsoleObserver

    if args.resume:
        folder = Path(args.resume)
        values = _saved_settings(folder, args)
    else:
        folder = free_folder(Path(args.project), args.name, exist_ok=args.exist_ok)
        values = _settings(args)
    config = _typed(values)
    is_first = _is_first_process()
    if is_first and not args.resume:
        _write_settings(folder, config)
    observer = ConsoleObserver(folder, quiet=args.quiet or not is_first)
    with observer:
        result = train(config, folder, observer=observer, resume=bool(args.resume))
    if is_first:
        print(f"best weights: {result.best}  AP50 {100 * result.ap50:.1f}", file=sys.stderr)
        print(f"use them: tracklight run --source VIDEO --weights {result.best} -o out.mp4", file=sys.stderr)
    return 0


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings file, the options over it, and single settings over those."""
    from pipeline.config.yaml_file import merge, parse_settings, read_yaml

    flags = given(
        data=args.data,
        weights=args.weights,
        model=args.model,
        epochs=args.epochs,
        batch_size=args.batch_size,
        img_size=args.img_size,
        device=args.device,
        precision=args.precision,
        workers=args.workers,
        freeze=args.freeze,
        patience=args.patience,
        seed=args.seed,
        rect=args.rect,
        bad_items=args.bad_items,
    )
    name = args.hyp or ("from-scratch-small" if (args.weights or "").lower() == "none" else "finetune")
    values = merge(merge(read_yaml(_settings_file(name)), flags), parse_settings(args.set or []))
    if not values.get("data"):
        raise UsageError("train: wanted --data, a data.yaml, COCO .json or Pascal VOC folder; found none")
    return values


def _saved_settings(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Those that the run began with; only where it runs may change."""
    from pipeline.config.yaml_file import read_yaml

    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(f"--resume: wanted the folder of a training run, found no {CONFIG_FILE} in {folder}")
    return {**read_yaml(folder / CONFIG_FILE), **given(device=args.device, workers=args.workers)}


def _settings_file(name: str) -> Path:
    from importlib.resources import files

    from pipeline.config.registry import nearest

    if name.endswith((".yaml", ".yml")) or "/" in name:
        return Path(name)
    known = {Path(entry.name).stem: entry for entry in files("configs").joinpath("train").iterdir()}
    if name not in known:
        raise ConfigError(
            f"--hyp: wanted a YAML file or one of {', '.join(sorted(known))}, found {name!r}{nearest(name, known)}"
        )
    return Path(str(known[name]))


def _typed(values: dict[str, Any]) -> Any:
    from detector.train.config import TrainConfig
    from pipeline.config.validate import validated

    return validated(TrainConfig, values, "")


def _write_settings(folder: Path, config: Any) -> None:
    from dataclasses import asdict

    import yaml

    from detector.train.run_state import write_whole
    from detector.train.trainer import plain_values

    folder.mkdir(parents=True, exist_ok=True)
    values = plain_values(asdict(config))
    values["data"] = str(config.data.resolve())
    write_whole(folder / CONFIG_FILE, yaml.safe_dump(values, sort_keys=False).encode())


def _is_first_process() -> bool:
    import os

    return os.environ.get("RANK", "0") == "0"
