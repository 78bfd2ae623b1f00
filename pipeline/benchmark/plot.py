"""One picture of a result: what a frame costs in the detector, and the rate of the whole pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.data.chart import COLORS, new_figure, save_figure
from pipeline.benchmark.campaign import each_result
from pipeline.benchmark.configuration import DETECTOR, DETECTOR_STAGES, END_TO_END
from pipeline.benchmark.table import spread_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_IN = 0.34
_MAX_LABEL = 58


def plot_document(document: dict[str, Any], path: Path) -> None:
    """Write the picture.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    detectors = list(each_result(document, "detector"))
    whole = list(each_result(document, "end to end"))
    figure = new_figure(13, 1.9 + _ROW_IN * max(len(detectors), len(whole), 4))
    left, right = figure.subplots(1, 2, sharey=True)
    _detector_bars(left, detectors)
    _rate_bars(right, whole)
    if detectors:
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    machine = document["machine"]
    gpu = ", ".join(machine["gpu"])
    figure.suptitle(
        f"{machine['cpu']}, {machine['usable_cores']} cores{f', {gpu}' if gpu else ''} — {document['date'][:10]}",
        fontsize=11,
    )
    save_figure(figure, path)


def _detector_bars(axes: Axes, results: list[tuple[str, dict[str, Any]]]) -> None:
    """Median time a frame in each stage, one after another."""
    begins = [0.0] * len(results)
    for stage, color in zip(DETECTOR_STAGES, COLORS[1::-1] + COLORS[2:3], strict=True):
        widths = [
            result["stages"][stage]["p50_ms"]["median"] / result["configuration"]["batch"] for _, result in results
        ]
        axes.barh(range(len(results)), widths, left=begins, color=color, label=stage, height=0.7)
        begins = [begin + width for begin, width in zip(begins, widths, strict=True)]
    for row, end in enumerate(begins):
        axes.annotate(f"{end:.1f}", (end, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(results)), [_short(label) for label, _ in results], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="ms a frame (median call)", title=DETECTOR + " alone")
    axes.set_xlim(0, max(begins, default=1.0) * 1.12 or 1.0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _rate_bars(axes: Axes, results: list[tuple[str, dict[str, Any]]]) -> None:
    """Frames per second, with the range over the rounds."""
    rates = [spread_of(result["stages"][END_TO_END]["frames_per_s"]) for _, result in results]
    below = [rate.median - rate.low for rate in rates]
    above = [rate.high - rate.median for rate in rates]
    axes.barh(
        range(len(rates)),
        [rate.median for rate in rates],
        xerr=[below, above],
        color=COLORS[5],
        height=0.7,
        error_kw={"elinewidth": 1, "capsize": 3, "ecolor": "#444444"},
    )
    for row, rate in enumerate(rates):
        axes.annotate(
            f"{rate.median:.1f}", (rate.high, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8
        )
    axes.set(xlabel="frames/s (median and range of the rounds)", title=END_TO_END)
    axes.set_xlim(0, max((rate.high for rate in rates), default=1.0) * 1.12)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)


def _short(label: str) -> str:
    short = label if len(label) <= _MAX_LABEL else f"…{label[-_MAX_LABEL:]}"
    # A pair of dollar signs would be read as a formula.
    return short.replace("$", r"\$")
