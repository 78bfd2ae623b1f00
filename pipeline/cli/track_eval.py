"""Verb `track-eval`: HOTA, MOTA and IDF1 of recorded tracks, as the MOT challenge scores them."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.errors import DatasetError, UsageError

if TYPE_CHECKING:
    from pipeline.evaluation.mot_metrics import Benchmark, MotReport

BENCHMARKS = ("MOT15", "MOT16", "MOT17", "MOT20")
PLACE = "{sequence}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `track-eval`."""
    parser.add_argument("--truth", required=True, metavar="FOLDER", help="a MOT sequence, or a folder of them")
    parser.add_argument(
        "--results",
        required=True,
        metavar="FILE",
        help="tracks as MOT text or .jsonl; {sequence} in it stands for the name of a sequence's folder",
    )
    parser.add_argument("--sequence", action="append", metavar="NAME", help="this sequence only; several times")
    parser.add_argument(
        "--benchmark", choices=BENCHMARKS, help="whose rules for what counts (default: by the truth's columns and name)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures here")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite what exists")
    parser.add_argument("--quiet", action="store_true", help="no table")


def run(args: argparse.Namespace) -> int:
    """Score, print a table, write the figures."""
    from pipeline.core.whole_file import write_whole
    from pipeline.evaluation.mot_metrics import MotSequence, evaluate_mot
    from pipeline.evaluation.mot_text import read_mot, read_seqinfo
    from pipeline.stream_eval.track_files import read_tracks
    from sinks.output_path import check_output

    if args.json:
        check_output(Path(args.json), exist_ok=args.exist_ok)
    folders = _folders(Path(args.truth), args.sequence or [])
    if len(folders) > 1 and PLACE not in args.results:
        raise UsageError(
            f"--results: wanted a file for each of {len(folders)} sequences ({PLACE} stands for the name), "
            f"found {args.results!r}; or choose one with --sequence"
        )
    sequences = {
        folder.name: MotSequence(
            read_mot(folder / "gt" / "gt.txt"),
            read_tracks(Path(args.results.replace(PLACE, folder.name))),
            read_seqinfo(folder / "seqinfo.ini").n_frames,
        )
        for folder in folders
    }
    benchmark = args.benchmark or _benchmark(folders)
    report = evaluate_mot(sequences, benchmark)
    if args.json:
        write_whole(Path(args.json), json.dumps(asdict(report) | {"benchmark": benchmark}, indent=2) + "\n")
    if not args.quiet:
        _print(report, benchmark)
    return 0


def _folders(truth: Path, names: list[str]) -> list[Path]:
    """The sequences' folders, in the order of their names."""
    truth = truth.resolve()
    found = [truth] if (truth / "gt" / "gt.txt").is_file() else sorted(p.parents[1] for p in truth.glob("*/gt/gt.txt"))
    if not found:
        raise DatasetError(f"{truth}: wanted a MOT sequence (gt/gt.txt, seqinfo.ini) or a folder of them, found none")
    missing = [name for name in names if name not in {folder.name for folder in found}]
    if missing:
        there = ", ".join(folder.name for folder in found[:8])
        raise UsageError(f"--sequence: wanted one that {truth} has, found {missing[0]!r}; there: {there}")
    return [folder for folder in found if not names or folder.name in names]


def _benchmark(folders: list[Path]) -> Benchmark:
    from pipeline.stream_eval.mot_truth import benchmark_of

    found = {benchmark_of(folder / "gt" / "gt.txt") for folder in folders}
    if len(found) > 1:
        raise UsageError(
            f"--benchmark: wanted sequences of one benchmark, found {', '.join(sorted(found))}; choose one"
        )
    return found.pop()


def _print(report: MotReport, benchmark: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"rules of {benchmark}", title_justify="left")
    table.add_column("sequence")
    for heading in ("HOTA", "DetA", "AssA", "MOTA", "IDF1", "ids", "true ids", "switches", "false", "missed"):
        table.add_column(heading, justify="right")
    rows = dict(report.per_sequence)
    if len(rows) > 1:
        rows["all together"] = report.combined
    for name, one in rows.items():
        shares = (one.hota, one.det_a, one.ass_a, one.mota, one.idf1)
        counts = (one.n_tracks, one.n_true_tracks, one.id_switches, one.false_positives, one.false_negatives)
        table.add_row(name, *(f"{100 * share:.1f}" for share in shares), *map(str, counts))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
