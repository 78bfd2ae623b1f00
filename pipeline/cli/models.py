"""Verb `models`: the zoo."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `models`."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print one row per published weight file."""
    from detector.zoo import cache_dir, list_models

    rows = list_models()
    if args.json:
        records = [asdict(row.weights) | {"on_disk": str(row.on_disk) if row.on_disk else None} for row in rows]
        json.dump(records, sys.stdout, indent=2)
        print()
        return 0
    header = ("name", "params M", "GFLOPs", "input", "AP", "at px", "licence", "digest", "on disk")
    table = [header]
    for row in rows:
        w = row.weights
        ap = "-" if w.ap is None else f"{100 * w.ap:.1f}"
        pinned = "shipped" if not w.url else "pinned" if w.sha256 else "on trust"
        numbers = (f"{w.params_m:.1f}", f"{w.gflops:.1f}", str(w.size_px), ap, str(w.ap_size_px))
        table.append((w.name, *numbers, w.licence, pinned, "yes" if row.on_disk else "no"))
    widths = [max(len(line[i]) for line in table) for i in range(len(header))]
    for line in table:
        cells = [c.rjust(n) if 1 <= i <= 5 else c.ljust(n) for i, (c, n) in enumerate(zip(line, widths, strict=True))]
        print("  ".join(cells).rstrip())
    print(f"\nAP: published, COCO val2017, test size in the column beside it. Downloads are kept in {cache_dir()}.")
    print("A name of this table can be given to --weights; so can a path to a .safetensors, .pt, .pth or .onnx file.")
    return 0
