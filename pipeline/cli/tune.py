"""Verb `tune`: which model, size, backend, precision, scheduler and compensation show most of a clip in real time."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import free_folder, given
from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from pipeline.tune.tuning import Tuned, Wanted

BACKENDS = ("openvino", "onnxruntime", "tensorrt", "eager")
PRECISIONS = ("fp32", "bf16", "fp16", "int8")
COMPENSATIONS = ("off", "emit", "display")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `tune`."""
    parser.add_argument("--source", metavar="CLIP", help="a recording of your place: a video, or a folder of pictures")
    parser.add_argument(
        "--truth",
        type=Path,
        metavar="LABELS",
        help="labels of the clip: a COCO .json of video, or a MOT folder; without, the most trusted configuration's "
        "own offline results are the measure",
    )
    parser.add_argument(
        "--trust",
        metavar="FILE|NAME",
        help="without labels, the one of --weights whose offline results are the measure",
    )
    parser.add_argument("--fps", type=_positive, metavar="F", help="frames per second of a folder of pictures")
    parser.add_argument(
        "--seconds", type=_positive, default=20.0, metavar="S", help="stretch from the beginning (default: %(default)g)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE.yaml",
        help="the choice, for `run --config`, and all figures beside it as .json (default: in a fresh folder)",
    )
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")
    parser.add_argument("--project", default="runs/tune", help="folder of results without -o (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of a result without -o (default: %(default)s)")
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured before")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    group = parser.add_argument_group("what is tried")
    group.add_argument(
        "--weights",
        nargs="+",
        action="extend",
        metavar="FILE|NAME",
        help="default: the default model and those of `tracklight models` that are on disk",
    )
    group.add_argument(
        "--sizes", "--img-size", nargs="+", type=_size, metavar="PX", help="sides of the input (320 416 640)"
    )
    group.add_argument(
        "--backends",
        nargs="+",
        choices=BACKENDS,
        metavar="NAME",
        help=f"{', '.join(BACKENDS)} (those that are there; slow ones are given up)",
    )
    group.add_argument(
        "--precisions",
        nargs="+",
        choices=PRECISIONS,
        metavar="P",
        help=f"{', '.join(PRECISIONS)} (each backend's best in floats)",
    )
    group.add_argument(
        "--schedulers", nargs="+", metavar="NAME", help="idle-free, shrinking-tail, planned, stride-2 … (these four)"
    )
    group.add_argument("--compensate", nargs="+", choices=COMPENSATIONS, metavar="TO", help="off, emit, display (all)")
    group.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, cuda:N or auto")
    group = parser.add_argument_group("limits")
    group.add_argument(
        "--max-latency-ms", type=_positive, metavar="MS", help="from a frame's arrival to its result, 95th percentile"
    )
    group.add_argument("--max-cpu", type=_positive, metavar="CORES", help="CPU cores that the whole run keeps busy")
    group.add_argument(
        "--time-limit",
        type=_positive,
        default=600.0,
        metavar="S",
        help="of tuning itself; what does not fit in is left out (default: %(default)g)",
    )


def run(args: argparse.Namespace) -> int:
    """Tune, print the table and write the choice. After Ctrl-C the exit code is 130, and the next call goes on."""
    if args.source is None:
        raise UsageError("tune: wanted --source (a video, or a folder of pictures), found none")
    output = args.output or free_folder(Path(args.project), args.name, exist_ok=args.exist_ok) / "tuned.yaml"
    _check_output(output, exist_ok=args.exist_ok)

    from detector.zoo import cache_dir
    from pipeline.tune.store import Store
    from pipeline.tune.tuning import tune

    store = Store(cache_dir() / "tune", use_kept=not args.fresh)
    try:
        tuned = tune(_wanted(args), store, lambda text: _say(text, quiet=args.quiet))
    except KeyboardInterrupt:
        _say("tracklight: interrupted; what was measured is kept, and the same command goes on from here", quiet=False)
        return 130
    if not args.quiet:
        from rich.console import Console

        from pipeline.tune.table import print_tuned

        print_tuned(tuned, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    _write(tuned, output, quiet=args.quiet)
    return 0


def _wanted(args: argparse.Namespace) -> Wanted:
    from pipeline.tune.choice import Limits
    from pipeline.tune.clip import open_clip
    from pipeline.tune.space import DEFAULT_SIZES, Space, usual_device, usual_weights
    from pipeline.tune.tuning import Wanted

    space = Space(
        weights=args.weights or usual_weights(),
        img_sizes=args.sizes or DEFAULT_SIZES,
        backends=args.backends,
        precisions=args.precisions,
        device=usual_device() if args.device == "auto" else args.device,
    )
    options: dict[str, Any] = given(schedulers=args.schedulers, compensations=args.compensate)
    return Wanted(
        clip=open_clip(args.source, seconds=args.seconds, fps=args.fps),
        space=space,
        truth=args.truth,
        trust=args.trust,
        limits=Limits(args.max_latency_ms, args.max_cpu),
        time_limit_s=args.time_limit,
        **options,
    )


def _write(tuned: Tuned, output: Path, *, quiet: bool) -> None:
    from pipeline.core.whole_file import write_whole
    from pipeline.tune.choice import described
    from pipeline.tune.settings import as_yaml
    from pipeline.tune.table import about

    best = tuned.best()
    document = tuned.to_json()
    remarks = [f"Made by `tracklight tune` at {document['date']}.", described(best), *about(tuned)]
    try:
        write_whole(output.with_suffix(".json"), json.dumps(document, indent=1) + "\n")
        write_whole(output, as_yaml(best, remarks))
    except OSError as error:
        raise UsageError(f"{output}: wanted to write the choice there: {error.strerror or error}") from error
    if not quiet:
        print(f"best: {described(best)}")
        print(f"wrote {output}; run it: tracklight run --config {output} --source …")


def _check_output(output: Path, *, exist_ok: bool) -> None:
    if output.suffix not in (".yaml", ".yml"):
        raise UsageError(f"--output: wanted a file for settings (.yaml), found {str(output)!r}")
    for path in (output, output.with_suffix(".json")):
        if path.exists() and not exist_ok:
            raise UsageError(f"{path}: exists; name another file, or add --exist-ok")


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"wanted a number above 0, found {text!r}")
    return value


def _size(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, found {text!r}")
    return value
