"""Plots as SVG that fits any width: shapes stretch, letters and lines do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.report.markup import Markup, joined, tag
from pipeline.report.wording import number_text

_HEIGHT = 150
_MOST_TIPS = 120
"""Narrower bars cannot be pointed at."""
_NICE = (1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of one colour.

    Attributes:
        name: what they are of.
        color: number of its colour in the style sheet.
        values: one for each bar, 0 or more; None where nothing is known.
    """

    name: str
    color: int
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Axis:
    """What the bars stand for.

    Attributes:
        tips: for each bar, a text when it is pointed at.
        labels: a short text below some bars, by their number.
        centred: labels stand below the middle of their bars, not at their beginning.
    """

    tips: Sequence[str]
    labels: Mapping[int, str]
    centred: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """What a plot shows.

    Attributes:
        title: told to those who cannot see it.
        axis: what the bars stand for.
        up: stacked upwards.
        down: stacked downwards.
        peaks: a mark over each bar, or nothing.
        peak_name: what the marks are.
    """

    title: str
    axis: Axis
    up: Sequence[Series]
    down: Sequence[Series] = ()
    peaks: Sequence[float] = ()
    peak_name: str = ""


def bar_plot(bars: Bars) -> Markup:
    """Bars over an axis of time or of intervals."""
    n = len(bars.axis.tips)
    top = _nice(max([1.0 if _is_whole(bars) else 0.0, *_stacked(bars.up, n), *bars.peaks]))
    low = _nice(max(_stacked(bars.down, n), default=0.0)) if bars.down else 0.0
    scale = _HEIGHT / (top + low)
    zero = top * scale
    shapes = [_stack(bars.up, n, lambda value: (zero, -value * scale))]
    shapes.append(_stack(bars.down, n, lambda value: (zero, value * scale)))
    if bars.peaks:
        marks = "".join(f"M{i} {_short(zero - v * scale)}h1v1.6h-1z" for i, v in enumerate(bars.peaks) if v)
        shapes.append(tag("path", class_="peak", d=marks))
    shapes += _tips(bars, n)
    field = tag("svg", *shapes, viewBox=f"0 0 {n} {_HEIGHT}", preserveAspectRatio="none", width="100%", height=_HEIGHT)
    levels = _levels(top, low)
    lines = [
        tag(
            "line",
            x1="0",
            x2="100%",
            y1=_short(zero - level * scale),
            y2=_short(zero - level * scale),
            class_="zero" if level == 0 else "grid",
        )
        for level in levels
    ]
    body = tag(
        "svg",
        tag("title", bars.title),
        *lines,
        field,
        *_labels(bars.axis),
        role="img",
        class_="field",
        width="100%",
        height=_HEIGHT + 24,
    )
    return tag("div", _axis(levels, zero, scale), body, class_="plot")


def legend(entries: Sequence[tuple[str, int]]) -> Markup:
    """Which colour is what; nothing for a single one."""
    items = [tag("li", tag("i", class_=f"c{color}"), name) for name, color in entries]
    return tag("ul", *items, class_="legend")


def _axis(levels: Sequence[float], zero: float, scale: float) -> Markup:
    texts = [
        tag("text", number_text(abs(level)), x="100%", y=_short(zero - level * scale), dy="0.32em", text_anchor="end")
        for level in levels
    ]
    width = 8 * max(len(number_text(abs(level))) for level in levels) + 4
    return tag("svg", *texts, class_="axis", width=width, height=_HEIGHT + 24, aria_hidden="true")


def _stack(series: Sequence[Series], n: int, place: Callable[[float], tuple[float, float]]) -> Markup:
    """One path for each colour."""
    gap = 0.12 if n <= _MOST_TIPS else 0.0
    width = _short(1 - gap)
    below = [0.0] * n
    paths = []
    for one in series:
        steps = []
        for number, value in enumerate(one.values):
            if value:
                zero, height = place(value)
                y = zero + place(below[number])[1]
                steps.append(f"M{_short(number + gap / 2)} {_short(y)}h{width}v{_short(height)}h-{width}z")
                below[number] += value
        if steps:
            paths.append(tag("path", class_=f"c{one.color}", d="".join(steps)))
    return joined(*paths)


def _tips(bars: Bars, n: int) -> list[Markup]:
    """What a bar says when it is pointed at."""
    if n > _MOST_TIPS:
        return []
    tips = []
    for number, span in enumerate(bars.axis.tips):
        parts = [
            f"{one.name} {number_text(round(value, 2))}"
            for one in (*bars.up, *bars.down)
            if (value := one.values[number])
        ]
        if bars.peaks and bars.peaks[number]:
            parts.append(f"{bars.peak_name} {number_text(bars.peaks[number])}")
        if parts:
            text = tag("title", f"{span}: {', '.join(parts)}")
            tips.append(tag("rect", text, class_="tip", x=number, width=1, height=_HEIGHT))
    return tips


def _labels(axis: Axis) -> list[Markup]:
    """Every second one is marked, so that a phone can leave it out."""
    n, labels = len(axis.tips), []
    for number, (index, text) in enumerate(axis.labels.items()):
        x = f"{100 * (index + axis.centred / 2) / n:.2f}%"
        kind = "minor" if number % 2 and len(axis.labels) > 3 else None
        labels.append(tag("text", text, x=x, y=_HEIGHT + 17, text_anchor="middle", class_=kind))
    return labels


def _levels(top: float, low: float) -> list[float]:
    """Where the axis has labels: at zero, the ends, and half way where that is a round number."""
    levels = [0.0, top]
    if low:
        levels.append(-low)
    if top >= 2 and (top / 2).is_integer() and not low:
        levels.append(top / 2)
    return levels


def _stacked(series: Sequence[Series], n: int) -> list[float]:
    return [sum(one.values[number] or 0 for one in series) for number in range(n)]


def _is_whole(bars: Bars) -> bool:
    return all(value is None or float(value).is_integer() for one in (*bars.up, *bars.down) for value in one.values)


def _nice(value: float) -> float:
    """The next round number."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _NICE if step * power >= value * (1 - 1e-9))


def _short(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
