"""Verb `bench`: what stages and the whole pipeline take here, per backend, precision, size and batch."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.cli.options import free_folder
from pipeline.core.errors import MissingExtraError, UsageError

BACKENDS = ("eager", "onnxruntime", "openvino", "tensorrt", "auto")
PRECISIONS = ("fp32", "bf16", "fp16", "int8", "auto")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    parser.add_argument(
        "--weights", nargs="+", metavar="FILE|NAME", help="weights, or exported files; default: the default model"
    )
    parser.add_argument("--source", type=Path, metavar="VIDEO", help="a video file; default: one that is made")
    parser.add_argument(
        "--backend",
        nargs="+",
        choices=BACKENDS,
        default=BACKENDS[:-1],
        help="each is measured in each precision; pairs that cannot run are left out and told (default: all but auto)",
    )
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS[:-1], help="default: all but auto"
    )
    parser.add_argument(
        "--img-size",
        "--img",
        type=_positive,
        nargs="+",
        metavar="PX",
        help="input sizes to measure, each one side; frames keep their shape within it (default: the weights' own)",
    )
    parser.add_argument(
        "--batch-size", type=_positive, nargs="+", default=[1], metavar="N", help="frames in one call (default: 1)"
    )
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="cpu, cuda, cuda:N or auto")
    parser.add_argument("--repeats", type=_positive, default=5, metavar="N", help="rounds (default: %(default)s)")
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="of each measurement; of the whole pipeline at most to the end of the video, which is repeated to 1,800 "
        "frames (default: %(default)s)",
    )
    parser.add_argument("--project", default="runs/bench", help="folder of all results (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of this one (default: %(default)s)")
    parser.add_argument("--exist-ok", action="store_true", help="write into a folder that exists")
    parser.add_argument("--quiet", action="store_true", help="no progress and no tables")
    parser.add_argument(
        "--compare", nargs=2, type=Path, metavar=("OLD.json", "NEW.json"), help="measure nothing; compare two results"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, or compare what was measured. After Ctrl-C what was measured is written, and the exit code is 130."""
    if args.compare:
        _compare(*args.compare)
        return 0
    folder = free_folder(Path(args.project), args.name, exist_ok=args.exist_ok)
    document = _measure(args)
    _write(document, folder, quiet=args.quiet)
    if document.get("interrupted"):
        print(f"tracklight: interrupted {document['interrupted']}; what was measured is in {folder}", file=sys.stderr)
        return 130
    if not any(result["configuration"] for result in document["results"]):
        if args.quiet:
            _tell_reasons(document)
        raise UsageError("bench: wanted a configuration that can run here, found none; the reasons stand above")
    return 0


def _measure(args: argparse.Namespace) -> dict[str, Any]:
    from detector.zoo import DEFAULT_WEIGHTS, resolve_weights
    from pipeline.benchmark.campaign import Plan, measure
    from pipeline.benchmark.clip import prepare_clip
    from pipeline.benchmark.configuration import configurations

    weights = args.weights or [DEFAULT_WEIGHTS]
    for name in weights:
        resolve_weights(name, None)
    chosen = configurations(
        weights=weights,
        backends=args.backend,
        precisions=args.precision,
        img_sizes=args.img_size or [None],
        batches=args.batch_size,
        device=args.device,
    )
    with tempfile.TemporaryDirectory() as scratch:
        clip = prepare_clip(args.source, Path(scratch))
        plan = Plan(list(chosen), clip, args.repeats, args.seconds)
        return measure(plan, lambda text: _say(text, quiet=args.quiet))


def _write(document: dict[str, Any], folder: Path, *, quiet: bool) -> None:
    from pipeline.benchmark.plot import plot_document
    from pipeline.core.whole_file import write_whole

    try:
        write_whole(folder / "bench.json", json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise UsageError(f"{folder}: wanted to write the result there: {error.strerror or error}") from error
    if not quiet:
        from rich.console import Console

        from pipeline.benchmark.table import print_document

        print_document(document, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    try:
        plot_document(document, folder / "bench.png")
    except MissingExtraError as error:
        print(f"tracklight: no bench.png: {error}", file=sys.stderr)
    if not quiet:
        print(f"wrote {folder}")


def _tell_reasons(document: dict[str, Any]) -> None:
    from pipeline.benchmark.campaign import cannot_run

    for line in cannot_run(document):
        print(f"tracklight: {line}", file=sys.stderr)


def _compare(old_path: Path, new_path: Path) -> None:
    from rich.console import Console

    from pipeline.benchmark.compare import compare, differences, left_out, read_document
    from pipeline.benchmark.comparison_table import print_comparison

    old, new = read_document(old_path), read_document(new_path)
    rows = compare(old, new)
    if not rows:
        raise UsageError(f"--compare: wanted results that have something in common, found none: {old_path}, {new_path}")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    print_comparison(rows, [*differences(old, new), *left_out(old, new)], console)


def _say(text: str, *, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def _positive(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number of 1 or more, found {text!r}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"wanted seconds, above 0 and at most 3600, found {text!r}")
    return value
