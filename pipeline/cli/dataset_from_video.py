"""Verb `dataset from-video`: footage in, pictures with a first try at their labels out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import add_settings_options, given, image_size
from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from pipeline.footage.collect import Collected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset from-video`."""
    parser.add_argument(
        "source", nargs="+", metavar="SOURCE", help="file, glob, folder, camera number, URL or .streams list"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the data set goes")
    group = parser.add_argument_group("pictures")
    group.add_argument("--every", type=float, metavar="S", help="media time between pictures; 0: scenes only (1.0)")
    group.add_argument("--scenes", action="store_true", help="also take a frame near the beginning of every scene")
    group.add_argument("--max-per-source", type=int, metavar="N", help="stop after N pictures of each source")
    group.add_argument(
        "--min-difference",
        type=float,
        metavar="SHARE",
        help="share of the picture in which it differs from all taken before; 0 keeps all (0.02)",
    )
    group.add_argument("--picture", choices=("jpg", "png"), help="jpg (quality 95) or png without loss (jpg)")
    group.add_argument("--max-frames", type=int, metavar="N", help="read N frames of each source")
    group.add_argument("--duration", type=float, metavar="S", help="read S seconds of each source")
    group = parser.add_argument_group("labels")
    group.add_argument("--weights", metavar="FILE|NAME", help="label with this model; without: pictures only")
    group.add_argument("--conf", "--conf-thres", type=float, metavar="P", help="boxes from here on are labels (0.35)")
    group.add_argument(
        "--unsure", type=float, metavar="P", help="boxes from here on are places to ignore, in COCO only (0.15)"
    )
    group.add_argument("--classes", nargs="+", metavar="CLASS", help="these classes only; without a model: their names")
    group.add_argument(
        "--tracker",
        metavar="NAME",
        help="looks at every frame and keeps what lasts: bytetrack (the default), a name in configs/trackers, a .yaml "
        "file; none looks at the pictures only",
    )
    group.add_argument("--img-size", "--img", type=int, nargs="+", metavar="PX", help="input size: one side, or H W")
    group.add_argument("--device", metavar="DEVICE", help="cpu, cuda, cuda:N or auto")
    group = parser.add_argument_group("data set")
    group.add_argument("--format", choices=("yolo", "coco", "both"), help="of the labels (both)")
    group.add_argument("--split", metavar="SHARES", help="of train,val or train,val,test (0.8,0.2)")
    parser.add_argument("--exist-ok", action="store_true", help="replace a data set that this program wrote there")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Collect pictures and labels, and say what came of it."""
    from pipeline.cli.progress import RunProgress
    from pipeline.cli.signals import stop_on_signals
    from pipeline.config.build import load_run_config
    from pipeline.config.validate import validated
    from pipeline.footage.collect import Collection
    from pipeline.footage.settings import FootageSettings

    config = load_run_config(args.config, _flags(args), args.set or [])
    settings = validated(FootageSettings, _settings(args), "from-video")
    collection = Collection(config, settings, Path(args.output), exist_ok=args.exist_ok)
    with stop_on_signals(collection) as signalled:
        collected = collection.run(lambda runner: RunProgress(runner, quiet=args.quiet))
    if not args.quiet:
        _print(collected, args.output, labels_in=settings.format, labelled="weights" in config.detector)
    for text in collected.errors:
        print(f"tracklight: {text}", file=sys.stderr)
    if signalled:
        print("tracklight: interrupted; what was written is complete up to here", file=sys.stderr)
        return 130
    return 1 if collected.errors else 0


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    flags: dict[str, Any] = {
        **given(max_frames=args.max_frames),
        "sources": args.source,
        "detector": given(
            weights=args.weights, classes=args.classes, img_size=image_size(args.img_size), device=args.device
        ),
    }
    if args.tracker is not None:
        from pipeline.config.build import tracker_section

        flags["tracker"] = tracker_section(args.tracker)
    return flags


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    return given(
        every_s=args.every,
        scenes=args.scenes or None,
        max_per_source=args.max_per_source,
        duration_s=args.duration,
        min_difference=args.min_difference,
        conf=args.conf,
        unsure=args.unsure,
        picture=args.picture,
        format=args.format,
        split=_shares(args.split),
    )


def _shares(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(share) for share in text.split(","))
    except ValueError:
        raise UsageError(f"--split: wanted shares such as 0.8,0.2; found {text!r}") from None


def _print(collected: Collected, folder: str, *, labels_in: str, labelled: bool) -> None:
    counts = collected.sources.values()
    frames, pictures = sum(c.frames for c in counts), sum(c.pictures for c in counts)
    look_alikes = sum(c.look_alikes for c in counts)
    splits = ", ".join(f"{n} {split}" for split, n in collected.pictures.items())
    print(f"{pictures} pictures ({splits}) of {frames} frames; {look_alikes} look-alikes left out")
    if labelled:
        print(
            f"{sum(c.boxes for c in counts)} boxes to check, {_unsure_text(sum(c.unsure for c in counts), labels_in)}"
        )
    elif not collected.class_names and labels_in != "coco":
        print("no data.yaml: nothing says which classes there are; name them with --classes, or give --weights")
    empty = [split for split, n in collected.pictures.items() if not n]
    if empty and pictures:
        print(f"no picture is left for {', '.join(empty)}: too few pictures, or all look alike")
    print(f"written to {folder}")


def _unsure_text(n: int, labels_in: str) -> str:
    where = {"yolo": "left out", "coco": "marked to ignore", "both": "marked to ignore in COCO, left out of YOLO"}
    return f"{n} unsure ones {where[labels_in]}"
