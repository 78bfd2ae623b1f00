"""Sub-verb `dataset import`: annotations that people corrected come back as a data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.cli.options import given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset import`."""
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="annotations of CVAT (video or images), MOT, COCO, Datumaro or FiftyOne: a file, or a folder of them",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the data set goes")
    parser.add_argument("--videos", metavar="FOLDER", help="where the videos are that the annotations speak of")
    parser.add_argument("--images", metavar="FOLDER", help="where the pictures are (default: around the annotations)")
    parser.add_argument(
        "--every", type=float, metavar="S", help="media time between pictures of a video; 0: every labelled frame (1.0)"
    )
    parser.add_argument("--val-share", type=float, metavar="P", help="share to validate with, by recordings (0.2)")
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="LABEL[=CLASS]",
        help="labels to keep, in the order of the classes; label=class renames, label= leaves out (default: all)",
    )
    parser.add_argument("--drop-occluded", action="store_true", help="leave out boxes of hidden objects")
    parser.add_argument("--exist-ok", action="store_true", help="replace a data set that this program wrote there")


def run(args: argparse.Namespace) -> int:
    """Read, take the pictures, and say what came of it."""
    from pipeline.archive.corrected.import_labels import import_annotations
    from pipeline.archive.corrected.settings import ImportSettings
    from pipeline.config.validate import validated

    settings = validated(
        ImportSettings,
        given(
            every_s=args.every,
            val_share=args.val_share,
            classes=args.classes,
            drop_occluded=args.drop_occluded or None,
        ),
        "import",
    )
    imported = import_annotations(
        Path(args.source),
        Path(args.output),
        settings,
        videos=None if args.videos is None else Path(args.videos),
        images=None if args.images is None else Path(args.images),
        exist_ok=args.exist_ok,
    )
    for kind, count in imported.left_out.items():
        print(f"left out: {count} x {kind}", file=sys.stderr)
    splits = ", ".join(f"{count} {split}" for split, count in imported.pictures.items())
    print(f"{sum(imported.pictures.values())} pictures ({splits}), {imported.boxes} boxes: {imported.path}")
    return 0
