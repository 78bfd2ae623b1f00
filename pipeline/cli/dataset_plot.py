"""Sub-verb `dataset plot`: pictures of a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset plot`."""
    parser.add_argument("data", metavar="DATA", help="data.yaml, COCO .json, or folder in VOC's layout")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--split", default="train", metavar="NAME", help="train, val or test (default: %(default)s)")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")


def run(args: argparse.Namespace) -> int:
    """Read, draw, and say where the pictures are."""
    from detector.data.plots import PLOTS, plot_dataset
    from detector.data.read import read_training_set
    from sinks.output_path import check_output

    folder = Path(args.output)
    for name in PLOTS:
        check_output(folder / name, exist_ok=args.exist_ok)
    dataset, report = read_training_set(Path(args.data), args.split)
    if not report.clean:
        print(f"left out or changed: {report.counts_text()}", file=sys.stderr)
    for path in plot_dataset(dataset, folder):
        print(path)
    return 0
