"""What `tune` prints: what was measured on what, the Pareto table, the choice."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.benchmark.table import is_busy
from pipeline.stream_eval.frame_rate import rate_text
from pipeline.tune.simulated import Row
from pipeline.tune.tuning import Tuned

_COLUMNS = (
    *("", "model", "px", "backend", "precision", "scheduler", "compensate"),
    *("sAP", "sAP50", "offline AP", "p50 ms", "p95 ms", "frames/s", "cores"),
)
_N_WORDS = 7


def print_tuned(tuned: Tuned, console: Console) -> None:
    """Everything but the choice; rows that exceed a limit are marked with `-`."""
    for line in about(tuned):
        console.print(Text(line), soft_wrap=True)
    console.print()
    table = Table(
        title="what nothing else beats in streaming AP, latency and CPU at once (simulated from measured runtimes)",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for k, name in enumerate(_COLUMNS):
        table.add_column(name, justify="left" if k < _N_WORDS and name != "px" else "right", overflow="fold")
    for row in tuned.front():
        table.add_row("" if tuned.limits.excess(row) <= 1 else "-", *_cells(row, tuned))
    console.print(table)
    for reason in dict.fromkeys(tuned.left_out.values()):
        label, *others = [label for label, why in tuned.left_out.items() if why == reason]
        more = f" and {len(others)} more" if others else ""
        console.print(Text(f"not measured: {label}{more}: {reason}"), soft_wrap=True)


def about(tuned: Tuned) -> Iterator[str]:
    """What the figures are of, a line each."""
    clip, machine, stream = tuned.clip, tuned.machine, tuned.clip.stream
    stretch = "all" if clip.is_whole else "the first"
    yield (
        f"{clip.name}, {clip.width_px}x{clip.height_px}: {stretch} {clip.n_frames} frames at {rate_text(stream.fps)}, "
        f"{clip.n_frames * stream.interval_s:.1f} s"
    )
    yield f"judged by: {tuned.judge.words}"
    yield f"classes that count: {', '.join(tuned.judge.truth.class_names)}"
    gpu = ", ".join(machine["gpu"]) or "no GPU"
    yield f"{machine['cpu']}, {machine['usable_cores']} cores, {gpu}"
    if is_busy(dict(machine)):
        yield (
            f"other programs were running (load {machine['load_before']} before the start): "
            "runtimes are too long; tune on a quiet machine"
        )


def _cells(row: Row, tuned: Tuned) -> tuple[str, ...]:
    model = tuned.labels[row.configuration].split()[0]
    size = str(row.configuration.img_size or "own")
    words = (model, size, row.backend, row.precision, row.scheduler, row.compensate)
    accuracies = (f"{100 * value:.1f}" for value in (row.sap, row.sap50, row.offline_ap))
    times = (f"{row.latency_p50_ms:.1f}", f"{row.latency_p95_ms:.1f}", f"{row.runs_per_s:.1f}", f"{row.cores:.2f}")
    return (*words, *accuracies, *times)
