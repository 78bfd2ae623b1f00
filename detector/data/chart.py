"""What all charts share: figures, colours, names of classes, legends."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.errors import MissingExtraError
from pipeline.core.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
"""Okabe and Ito, "Color universal design" (2008), without black and without yellow, which is faint on white."""
MAX_TOLD_APART = 2 * len(COLORS)
"""Lines that one chart tells apart: each colour as a full and as a dashed line."""
MEAN_COLOR = "black"
FAINT = "#9a9a9a"

_DPI = 120
_MAX_NAME = 24


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure of its own: pyplot would keep it for ever, and choose a window system.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", "plots") from error
    return Figure(figsize=(width_in, height_in), layout="constrained")


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure as its suffix says; who looks while a training goes on never sees half of it."""
    encoded = io.BytesIO()
    figure.savefig(encoded, format=path.suffix.removeprefix("."), dpi=_DPI, facecolor="white")
    write_whole(path, encoded.getvalue())


def line_styles(n: int) -> list[dict[str, Any]]:
    """How to draw n lines of classes: each its own way, or all grey where they are too many for that."""
    if n > MAX_TOLD_APART:
        return [{"color": FAINT, "linewidth": 0.6, "alpha": 0.7}] * n
    return [
        {"color": COLORS[k % len(COLORS)], "linestyle": "-" if k < len(COLORS) else "--", "linewidth": 1.2}
        for k in range(n)
    ]


def chart_names(names: Sequence[str]) -> list[str]:
    """Names of classes as a chart can write them: short, and numbers in place of letters that its font lacks."""
    return [chart_name(name, f"class {number}") for number, name in enumerate(names)]


def chart_name(name: str, instead: str) -> str:
    """A name as a chart can write it: short, or `instead` where the font lacks its letters."""
    return _short(name) if _can_write(name) else instead


def _can_write(name: str) -> bool:
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return bool(name.strip()) and name.isprintable() and all(font.get_char_index(ord(letter)) for letter in name)


def _short(name: str) -> str:
    short = name if len(name) <= _MAX_NAME else name[: _MAX_NAME - 1] + "…"
    # A pair of dollar signs would be read as a formula.
    return short.replace("$", r"\$")


def legend_beside(axes: Axes, lines: Sequence[Line2D], labels: Sequence[str]) -> None:
    """A legend to the right of the chart, where it covers nothing."""
    axes.legend(lines, labels, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False, fontsize=9)


def unit_square(axes: Axes, x: str, y: str) -> None:
    """Both axes from 0 to 1."""
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)


def whole_numbers(axes: Axes, *, x: bool = True, y: bool = False) -> None:
    """Ticks at whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    for axis, wanted in ((axes.xaxis, x), (axes.yaxis, y)):
        if wanted:
            axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))


def line_over(axes: Axes, x: Sequence[float], y: Sequence[float], **style: Any) -> bool:
    """A line through the finite values, with dots where they are few. False: there are none, and nothing is drawn."""
    values = np.asarray(y, np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return False
    marker = "o" if finite.sum() <= 20 else None
    axes.plot(np.asarray(x)[finite], values[finite], marker=marker, markersize=3.5, **style)
    return True


def say(axes: Axes, text: str) -> None:
    """A word in the middle of an empty chart."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=FAINT, fontsize=14)
