"""Verb `val`: average precision of a detector on a labelled data set."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.cli.options import add_detector_options, add_settings_options, free_folder, given, image_size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `val`."""
    parser.add_argument("--data", required=True, metavar="FILE", help="COCO .json, data.yaml or Pascal VOC folder")
    parser.add_argument("--images", metavar="FOLDER", help="where a COCO file's images are, if not beside it")
    parser.add_argument("--split", default="val", help="split of a data.yaml or folder (default: %(default)s)")
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--predictions", metavar="FILE", help="write every box here, as COCO results")
    parser.add_argument("--project", default="runs/val", help="folder of runs (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of the run (default: %(default)s)")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    add_detector_options(parser)
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print a table, and write figures (and boxes) to a fresh folder."""
    from detector.detector import YoloDetector, network_for
    from detector.open_network import RUNS
    from detector.validation import published_settings, read_dataset, validate
    from pipeline.config.build import detector_config
    from pipeline.config.yaml_file import merge, parse_settings, read_yaml
    from pipeline.evaluation.coco_map import write_json
    from sinks.output_path import check_output

    folder = free_folder(Path(args.project), args.name, exist_ok=args.exist_ok)
    for path in (args.json, args.predictions, folder / "metrics.json"):
        if path:
            check_output(Path(path), exist_ok=args.exist_ok)
    settings = merge(read_yaml(Path(args.config)) if args.config else {}, parse_settings(args.set or []))
    asked = {**settings.get("detector", {}), **_flags(args)}
    config = detector_config(asked)
    if config.precision == "auto" and Path(config.weights).suffix not in RUNS:
        # Figures are compared to a tenth of a point, so nothing is rounded unless that is asked for.
        asked["precision"] = "fp32"
        config = detector_config(asked)
    dataset = read_dataset(Path(args.data), args.split, Path(args.images) if args.images else None)
    classes = [int(c) if c.isdecimal() else c for c in args.classes] if args.classes else None
    network = network_for(config)
    # What is not asked for is set as the publishers of the family set it, so that figures compare.
    section = {**published_settings(network.preprocess), **asked}
    detector = YoloDetector(detector_config(section), network=network)
    try:
        with _Progress(quiet=args.quiet) as progress:
            measured = validate(
                detector, dataset, classes=classes, batch_size=args.batch_size or 1, progress=progress.show
            )
    finally:
        detector.close()
    figures = measured.result.to_dict() | {"data": args.data, "detector": section}
    for path in (folder / "metrics.json", *([Path(args.json)] if args.json else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=2, default=str) + "\n", encoding="utf-8")
    for path in (folder / "predictions.json", *([Path(args.predictions)] if args.predictions else [])):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, measured.predictions)
    _print(measured.result)
    print(f"written to {folder}", file=sys.stderr)
    return 0


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    return given(
        weights=args.weights,
        img_size=image_size(args.img_size),
        conf_thres=args.conf_thres,
        iou_thres=args.iou_thres,
        device=args.device,
        backend=args.backend,
        precision=args.precision,
    )


def _print(result: Any) -> None:
    print(f"{'class':<20}{'AP':>8}{'AP50':>8}")
    for name, value in result.per_class.items():
        if value.ap is not None:
            print(f"{name:<20}{100 * value.ap:>8.1f}{100 * value.ap50:>8.1f}")
    rows = ("ap", "ap50", "ap75", "ap_s", "ap_m", "ap_l", "ar_100")
    print("  ".join(f"{row} {_percent(getattr(result, row))}" for row in rows))
    print(f"{result.n_images} images, {result.n_boxes} boxes")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


class _Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=sys.stderr)
        self._bars = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._bars.add_task("images", total=None)

    def __enter__(self) -> _Progress:
        """Begin."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the terminal is left clean."""
        self._bars.stop()

    def show(self, done: int, total: int) -> None:
        """So many images of so many."""
        self._bars.update(self._task, completed=done, total=total)
