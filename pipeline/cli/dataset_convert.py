"""Sub-verb `dataset convert`: write a data set in another layout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.data.place_images import Mode


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset convert`."""
    parser.add_argument("data", metavar="DATA", help="data.yaml, COCO .json, or folder in VOC's layout")
    parser.add_argument("--to", required=True, choices=("yolo", "coco", "voc"), help="the layout to write")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where to write")
    parser.add_argument("--split", metavar="NAME", help="this one only; for a COCO .json: what to call it")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--copy", action="store_true", help="copy the images")
    images.add_argument("--link", action="store_true", help="hard links, copies where there can be none (the default)")
    parser.add_argument("--exist-ok", action="store_true", help="replace a data set that this program wrote there")


def run(args: argparse.Namespace) -> int:
    """Read, write, and say what was left out and what the new layout cannot hold."""
    from detector.data.convert import convert
    from detector.data.output_folder import check_output_folder
    from detector.data.read import read_training_set, split_names

    data, folder = Path(args.data), Path(args.output)
    check_output_folder(folder, exist_ok=args.exist_ok)
    splits = {}
    for name in [args.split] if args.split else split_names(data):
        splits[name], report = read_training_set(data, name)
        if not report.clean:
            print(f"{name}: {report.counts_text()}; `tracklight dataset check` lists them", file=sys.stderr)
    mode: Mode = "copy" if args.copy else "link"
    written = convert(splits, args.to, folder, mode=mode, exist_ok=args.exist_ok)
    for loss in written.losses:
        print(f"lost: {loss}", file=sys.stderr)
    print(f"{written.images} images, {written.boxes} boxes: {written.path}")
    return 0
