"""The table of `bench --compare`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.benchmark.compare import Comparison
from pipeline.benchmark.figures import MIN_DIFFERENCE, Spread
from pipeline.benchmark.table import three_digits

_UNITS = {"frames_per_s": ("frames/s", 1.0), "p50_ms": ("p50 ms", 1.0), "p99_ms": ("p99 ms", 1.0)}
_CPU = ("CPU ms/frame", 1e3)


def print_comparison(rows: Sequence[Comparison], remarks: Sequence[str], console: Console) -> None:
    """One table for each configuration, what makes the comparison doubtful, and a count of the verdicts."""
    for line in remarks:
        console.print(Text(line), soft_wrap=True)
    for (what, label), group in groupby(rows, lambda row: (row.what, row.label)):
        title = what if what == label else f"{what}: {label}"
        table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
        for name in ("stage", "figure", "old", "±", "new", "±", "new/old", "verdict"):
            table.add_column(name, justify="left" if name in ("stage", "figure", "verdict") else "right")
        for row in group:
            unit, factor = _UNITS.get(row.figure, _CPU)
            table.add_row(
                row.stage, unit, *_cells(row.old, factor), *_cells(row.new, factor), f"{row.ratio:.3f}", row.verdict
            )
        console.print(table)
        console.print()
    counts = {name: sum(row.verdict == name for row in rows) for name in dict.fromkeys(row.verdict for row in rows)}
    console.print(
        Text(
            ", ".join(f"{n} {name}" for name, n in counts.items())
            + f" (better or worse: the ranges over the rounds do not meet, and the medians are more than "
            f"{MIN_DIFFERENCE:.0%} apart)"
        ),
        soft_wrap=True,
    )


def _cells(figure: Spread, factor: float) -> tuple[str, str]:
    return three_digits(figure.median * factor), f"{figure.relative / 2:.0%}"
