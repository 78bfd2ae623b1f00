"""Plots of a result, as SVG that stands in a page or a file of its own."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from detector.data.chart import COLORS, FAINT, new_figure
from pipeline.stream_eval.document import Document

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN, _HEIGHT_IN = 6.4, 3.9


def latency_plot(document: Document) -> str | None:
    """Average precision against latency as SVG, with the run itself as a point; None where there is nothing to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    points = [point for point in document["latency_curve"] if point["ap"] is not None]
    if not points:
        return None
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    axes = figure.subplots()
    at_ms = [point["latency_ms"] for point in points]
    forecast = points[0]["plain_ap"] is not None
    name = "as shown, with forecast" if forecast else "as shown"
    _line(axes, at_ms, [point["ap"] for point in points], name, COLORS[0])
    if forecast:
        _line(axes, at_ms, [point["plain_ap"] for point in points], "without forecast", COLORS[4])
    _line(axes, at_ms, [point["ap50"] for point in points], "as shown, AP50", COLORS[5], dashed=True)
    combined, latency = document["combined"], document["latency_ms"]
    offline = combined["offline"]["ap"]
    if offline is not None:
        axes.axhline(100 * offline, color=FAINT, linewidth=1)
        axes.annotate(
            "AP without latency",
            (1, 100 * offline),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 3),
            textcoords="offset points",
            ha="right",
            fontsize=8,
            color="#555555",
        )
    if latency is not None and combined["streaming"]["ap"] is not None:
        axes.plot(latency["mean"], 100 * combined["streaming"]["ap"], "o", color="black", label="this run", zorder=5)
    axes.set(xlabel="what every frame takes (ms)", ylabel="points", title="Accuracy against latency", ylim=(0, None))
    axes.set_xlim(0, None)
    _finish(axes)
    return _svg(figure)


def speed_plot(document: Document) -> str | None:
    """IoU lost against object speed as SVG; None where there is nothing to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    bins = document["error_by_speed"]
    if not bins:
        return None
    figure = new_figure(_WIDTH_IN, _HEIGHT_IN)
    axes = figure.subplots()
    middle = [one["median_speed"] for one in bins]
    axes.fill_between(
        middle,
        [one["iou_lost_p25"] for one in bins],
        [one["iou_lost_p75"] for one in bins],
        color=COLORS[0],
        alpha=0.18,
        linewidth=0,
        label="middle half of the objects",
    )
    axes.plot(middle, [one["iou_lost"] for one in bins], "o-", color=COLORS[0], label="IoU lost, mean")
    axes.plot(
        middle,
        [one["share_below_50"] for one in bins],
        "s--",
        color=COLORS[4],
        markersize=4,
        label="share shown off by more than half (IoU < 0.5)",
    )
    axes.set(xlabel="speed of the object (its own sizes per second)", title="Error against object speed")
    axes.set_xlim(0, None)
    low = min(0.0, *(one["iou_lost_p25"] for one in bins))
    axes.set_ylim(low, 1.02 if bins[-1]["share_below_50"] > 0.7 else None)
    _finish(axes)
    return _svg(figure)


def _line(
    axes: Axes, at_ms: Sequence[float], values: Sequence[float], name: str, color: str, *, dashed: bool = False
) -> None:
    style = "--" if dashed else "-"
    points = [100 * value for value in values]
    axes.plot(at_ms, points, style, color=color, label=name, marker="o", markersize=3, linewidth=1.4)


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    encoded = io.StringIO()
    # Without a date and with fixed ids, equal results give equal files.
    with rc_context({"svg.hashsalt": "tracklight"}):
        figure.savefig(encoded, format="svg", facecolor="white", metadata={"Date": None})
    text = encoded.getvalue()
    return text[text.index("<svg") :]
