"""Sub-verb `dataset check`: what is in a data set and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

CLEAN, PROBLEMS = 0, 1
"""Exit codes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `dataset check`."""
    parser.add_argument("data", metavar="DATA", help="data.yaml, COCO .json, or folder in VOC's layout")
    parser.add_argument("--split", metavar="NAME", help="train, val or test (default: every one there is)")
    parser.add_argument("--json", metavar="FILE", help="write the whole report here")
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="problems of a kind shown (default: 3)")
    parser.add_argument("--no-cache", action="store_true", help="look at every image again")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")


def run(args: argparse.Namespace) -> int:
    """Print one report per split. Returns 1 if anything is left out or changed; warnings alone give 0."""
    from detector.data.read import examine, split_names
    from pipeline.core.errors import SinkError
    from pipeline.core.whole_file import write_whole
    from sinks.output_path import check_output, write_failure

    if args.json:
        check_output(Path(args.json), exist_ok=args.exist_ok)
    data = Path(args.data)
    splits = [args.split] if args.split else split_names(data)
    reports = [examine(data, split, cache=not args.no_cache)[1] for split in splits]
    print("\n\n".join(report.table(examples=args.examples) for report in reports))
    clean = all(report.clean and report.boxes for report in reports)
    if args.json:
        document = {"clean": clean, "splits": {report.split: report.to_dict() for report in reports}}
        try:
            write_whole(Path(args.json), json.dumps(document, indent=2) + "\n")
        except OSError as error:
            raise SinkError(write_failure(Path(args.json), error)) from error
    return CLEAN if clean else PROBLEMS
