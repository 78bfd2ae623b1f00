"""Verb `train`: train or fine-tune a detector."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.options import given
from pipeline.cli.signals import stop_on_signals
from pipeline.core.errors import UsageError
from pipeline.run_folder import free_folder

INTERRUPTED = 130
"""Exit code."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `train`; names as YOLOv7's users know them."""
    parser.add_argument("--data", metavar="FILE", help="data.yaml (docs/data.md), or Pascal VOC folder")
    parser.add_argument("--weights", metavar="FILE|NAME", help="start from these; none = fresh (default: street)")
    parser.add_argument("--model", "--cfg", metavar="NAME", help="network (default: that of the weights)")
    parser.add_argument("--hyp", metavar="NAME|FILE", help="settings: a name of configs/train or a YAML file")
    parser.add_argument("--epochs", type=int, metavar="N", help="passes over the data")
    parser.add_argument("--batch-size", type=int, metavar="N", help="pictures per step, all GPUs together")
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
    parser.add_argument("--resume", metavar="FOLDER", help="go on with an interrupted run, with its own settings")
    parser.add_argument("--project", default="runs/train", help="folder of runs (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of the run (default: %(default)s)")
    parser.add_argument("--exist-ok", action="store_true", help="replace the run in a folder that exists")
    parser.add_argument("--quiet", action="store_true", help="tell nothing but problems of the data, and errors")


def run(args: argparse.Namespace) -> int:
    """Train, and leave weights, figures and pictures in a fresh folder."""
    # Threads that wait for each other must not spin: the processes that read pictures need the cores too. OpenMP looks
    # at this once, when PyTorch loads it. Measured on two cores beside another program: 14 images/s spinning, 96 so.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from pipeline.api_train import is_first_process, run_config, saved_config, train_config
    from pipeline.train_stop import StoppableConsole

    values = _values(args)
    if args.resume:
        folder = Path(args.resume)
        config = saved_config(folder, values)
    else:
        config = train_config(values, args.hyp)
        folder = free_folder(Path(args.project), args.name, exist_ok=args.exist_ok)
    console = StoppableConsole(folder, quiet=args.quiet or not is_first_process())
    with stop_on_signals(console) as signalled:
        try:
            result = run_config(config, folder, console, is_resumed=bool(args.resume))
        except (KeyboardInterrupt, RuntimeError) as error:
            # A signal may have ended the processes that read pictures, or that train with this one, before this one.
            if not signalled and not isinstance(error, KeyboardInterrupt):
                raise
            if is_first_process():
                _say_how_to_go_on(folder)
            return INTERRUPTED
    if is_first_process() and not args.quiet:
        weights = shlex.quote(str(result.best))
        print(f"best weights: {weights}  AP50 {100 * result.ap50:.1f}", file=sys.stderr)
        print(f"use them: tracklight run --source VIDEO --weights {weights} -o out.mp4", file=sys.stderr)
    return 0


def _values(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say about the settings; --set wins."""
    from pipeline.config.yaml_file import merge, parse_settings

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
    if args.resume and args.hyp:
        raise UsageError("--resume: goes on with the settings of the run, found --hyp too; leave one of them out")
    return merge(flags, parse_settings(args.set or []))


def _say_how_to_go_on(folder: Path) -> None:
    from detector.train.run_settings import SETTINGS_FILE

    if (folder / SETTINGS_FILE).is_file():
        go_on = f"tracklight train --resume {shlex.quote(str(folder))}"
        text = f"all finished epochs are kept; go on with: {go_on}"
    else:
        text = "nothing was trained yet"
    print(f"tracklight: interrupted; {text}", file=sys.stderr)
