"""Verb `dataset split`: a data set divided anew, look-alikes never apart."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.data.place_images import Mode
    from detector.data.training_set import TrainingSet
    from pipeline.core.arrays import IntArray


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset split`."""
    parser.add_argument(
        "data", metavar="DATA", help="data.yaml, COCO .json or a folder in VOC's layout; all its splits are pooled"
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the new data set goes")
    parser.add_argument(
        "--parts", default="train=0.8,val=0.2", metavar="NAME=SHARE,…", help="parts and shares (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed gives another division (default: 0)")
    parser.add_argument(
        "--min-difference",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="images that differ in less than this share of the picture stay together (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=("yolo", "coco", "both"),
        default="both",
        help="YOLO has boxes only: ignored places and outlines are in COCO (default: both)",
    )
    parser.add_argument("--copy", action="store_true", help="copy the images instead of making hard links")
    parser.add_argument("--exist-ok", action="store_true", help="replace a data set that this program wrote there")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")


def run(args: argparse.Namespace) -> int:
    """Read, group, divide, write, and say what is where."""
    from detector.data.near_duplicates import group_look_alikes
    from detector.data.output_folder import check_apart, check_output_folder, clear_output_folder, write_manifest
    from detector.data.place_images import placed_names
    from detector.data.read_all_splits import read_all_splits
    from detector.data.split import parse_parts, split_stratified
    from detector.data.write_coco import write_coco
    from detector.data.write_yolo import write_yolo
    from pipeline.core.errors import DatasetError

    parts = parse_parts(args.parts)
    folder = Path(args.output)
    mode: Mode = "copy" if args.copy else "link"
    check_output_folder(folder, exist_ok=args.exist_ok)
    whole, reports = read_all_splits(Path(args.data))
    check_apart(folder, [Path(args.data), *(image.path for image in whole.images)])
    groups = group_look_alikes(_fingerprints(whole, quiet=args.quiet), args.min_difference)
    part_of = split_stratified(groups, _class_counts(whole), tuple(parts.values()), args.seed)
    by_split = _divided(whole, part_of, tuple(parts))
    try:
        clear_output_folder(folder)
        write_manifest(folder, "split", {"status": "running"})
        if args.format in ("yolo", "both"):
            write_yolo(by_split, folder, mode=mode)
        if args.format in ("coco", "both"):
            write_coco(by_split, folder, mode=mode)
        write_manifest(folder, "split", _manifest(args, whole, part_of, groups, placed_names(by_split)))
    except OSError as error:
        raise DatasetError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
    if not args.quiet:
        _print(by_split, groups, part_of, sum(len(report.bad) for report in reports), args)
    return 0


def _fingerprints(whole: TrainingSet, *, quiet: bool) -> Any:
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from detector.data.near_duplicates import fingerprint
    from sources.images import read_image

    console = Console(file=sys.stderr)
    images = track(
        whole.images,
        "comparing images",
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    return np.stack([fingerprint(read_image(image.path)) for image in images])


def _class_counts(whole: TrainingSet) -> Any:
    import numpy as np

    return np.stack([np.bincount(image.class_id, minlength=len(whole.class_names)) for image in whole.images])


def _divided(whole: TrainingSet, part_of: IntArray, names: tuple[str, ...]) -> dict[str, TrainingSet]:
    from dataclasses import replace

    by_split = {}
    for number, name in enumerate(names):
        images = tuple(image for image, part in zip(whole.images, part_of.tolist(), strict=True) if part == number)
        by_split[name] = replace(whole, images=images)
    return by_split


def _manifest(
    args: argparse.Namespace, whole: TrainingSet, part_of: IntArray, groups: IntArray, names: dict[str, list[str]]
) -> dict[str, Any]:
    splits = tuple(names)
    left = {split: iter(placed) for split, placed in names.items()}
    pictures = []
    for image, part, group in zip(whole.images, part_of.tolist(), groups.tolist(), strict=True):
        split = splits[part]
        file = f"images/{split}/{next(left[split])}"
        pictures.append({"file": file, "split": split, "original": str(image.path), "look_alikes": group})
    settings = {"parts": args.parts, "seed": args.seed, "min_difference": args.min_difference, "format": args.format}
    return {"status": "completed", "data": args.data, "settings": settings, "pictures": pictures}


def _print(
    by_split: dict[str, TrainingSet], groups: IntArray, part_of: IntArray, n_bad: int, args: argparse.Namespace
) -> None:
    import numpy as np

    sizes = np.unique(groups, return_counts=True)[1]
    print(f"{len(groups)} images, {int((sizes > 1).sum())} groups of look-alikes, largest {int(sizes.max())}")
    counts = [_class_counts(part).sum(axis=0) if part.images else None for part in by_split.values()]
    names = next(iter(by_split.values())).class_names
    print(f"{'':<20}" + "".join(f"{name:>10}" for name in by_split))
    print(f"{'images':<20}" + "".join(f"{len(part.images):>10}" for part in by_split.values()))
    for number, name in enumerate(names):
        row = [0 if count is None else int(count[number]) for count in counts]
        if any(row):
            print(f"{name[:19]:<20}" + "".join(f"{value:>10}" for value in row))
    n_ignored = sum(len(image.ignore_xyxy) for part in by_split.values() for image in part.images)
    if n_ignored and args.format != "coco":
        print(f"{n_ignored} places to ignore: in COCO only, YOLO's labels cannot tell them")
    if n_bad:
        print(f"{n_bad} images or boxes could not be used; `tracklight dataset check {args.data}` tells which")
    empty = [name for name, part in by_split.items() if not part.images]
    if empty:
        print(f"no image is left for {', '.join(empty)}: too few images, or too many of them look alike")
    print(f"written to {args.output}")
