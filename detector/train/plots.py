"""Charts of a training and of a validation, as PNG files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detector.data.chart import (
    COLORS,
    FAINT,
    MAX_TOLD_APART,
    MEAN_COLOR,
    chart_names,
    legend_beside,
    line_over,
    line_styles,
    new_figure,
    save_figure,
    say,
    unit_square,
    whole_numbers,
)
from detector.train.history import EpochRow
from pipeline.core.arrays import IntArray
from pipeline.core.errors import UsageError
from pipeline.evaluation.precision_recall import F64Array, PrecisionRecall

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_WITH_COUNTS = 12
_MAX_WITH_SHARES = 30
"""Classes up to which the cells of a confusion matrix hold figures that can be read."""


def plot_history(rows: Sequence[EpochRow], path: Path) -> None:
    """Draw AP, losses, learning rate and speed over the epochs.

    Args:
        rows: at least one, by rising epoch.
        path: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: no rows.
        OSError: the file cannot be written.
    """
    if not rows:
        raise UsageError("plot_history: wanted at least one epoch, found none")
    losses = dict.fromkeys(name for row in rows for name in (*row.losses, *row.val_losses))
    panels: list[Callable[[Axes, Sequence[EpochRow]], None]] = [_draw_ap]
    panels += [partial(_draw_loss, name=name) for name in losses]
    panels += [_draw_learning_rate, _draw_speed, _draw_wait]
    n_columns = 3 if len(panels) <= 6 else 4
    n_lines = math.ceil(len(panels) / n_columns)
    figure = new_figure(4.4 * n_columns, 3.2 * n_lines)
    margin = max(0.5, 0.02 * len(rows))
    for place, draw in enumerate(panels, start=1):
        axes = figure.add_subplot(n_lines, n_columns, place)
        draw(axes, rows)
        axes.set(xlabel="epoch", xlim=(rows[0].epoch - margin, rows[-1].epoch + margin))
        axes.grid(alpha=0.3)
        whole_numbers(axes)
    save_figure(figure, path)


def plot_precision_recall(curves: PrecisionRecall, names: Sequence[str], path: Path) -> None:
    """Draw precision against recall at IoU 0.5, by class and in the mean.

    Beyond a dozen classes the curves are grey, and bars beside them tell the classes' AP.

    Args:
        curves: from `precision_recall`.
        names: names by class_id.
        path: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    n = len(curves.class_id)
    many = n > MAX_TOLD_APART
    figure = new_figure(13 if many else 9, max(6.0, 0.15 * n) if many else 6)
    axes = figure.add_subplot(1, 2, 1) if many else figure.add_subplot()
    unit_square(axes, "recall", "precision")
    axes.set_title("Precision and recall at IoU 0.5, with AP50")
    if not n:
        say(axes, "no labels")
        save_figure(figure, path)
        return
    ap50 = curves.ap[:, 0]
    shown = _names_of(curves, names)
    lines = axes.plot(*_mean_curve(curves), color=MEAN_COLOR, linewidth=2.5, zorder=3)
    for recall, precision, style in zip(curves.recall_curve, curves.precision_curve, line_styles(n), strict=True):
        lines += axes.plot(recall, precision, **style)
    labels = [f"{name}  {value:.3f}" for name, value in zip(shown, ap50, strict=True)]
    labels.insert(0, f"all classes  {curves.map50:.3f}")
    if many:
        axes.legend(lines[:2], [labels[0], "each class"], loc="lower left")
        axes.set_box_aspect(1)
        axes.set_anchor("N")
        _draw_bars(figure.add_subplot(1, 2, 2), shown, ap50, "AP50 by class")
    else:
        legend_beside(axes, lines, labels)
    save_figure(figure, path)


def plot_confidence(curves: PrecisionRecall, names: Sequence[str], path: Path) -> None:
    """Draw F1, precision and recall at IoU 0.5 against the confidence above which boxes count.

    Args:
        curves: from `precision_recall`.
        names: names by class_id.
        path: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    precision, recall = curves.precision_curve, curves.recall_curve
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    n = len(curves.class_id)
    figure = new_figure(16, 5)
    for place, (heading, by_class) in enumerate((("F1", f1), ("precision", precision), ("recall", recall)), start=1):
        axes = figure.add_subplot(1, 3, place)
        unit_square(axes, "confidence", heading)
        if not n:
            say(axes, "no labels")
            continue
        confidence = np.linspace(0, 1, by_class.shape[1])
        mean = by_class.mean(axis=0)
        lines = axes.plot(confidence, mean, color=MEAN_COLOR, linewidth=2.5, zorder=3)
        for values, style in zip(by_class, line_styles(n), strict=True):
            lines += axes.plot(confidence, values, **style)
        axes.axvline(curves.best_confidence, color=MEAN_COLOR, linewidth=1, linestyle=":")
        at_best = np.interp(curves.best_confidence, confidence, mean)
        axes.set_title(f"{heading} {at_best:.3f} at confidence {curves.best_confidence:.3f}")
        if place == 3:
            labels = ["each class"] if n > MAX_TOLD_APART else _names_of(curves, names)
            legend_beside(axes, lines[: len(labels) + 1], ["all classes", *labels])
    save_figure(figure, path)


def plot_confusion(matrix: IntArray, names: Sequence[str], path: Path) -> None:
    """Draw what was taken for what, as shares of each column.

    Args:
        matrix: int64 (nc + 1, nc + 1); row: predicted class, column: labelled class, the last of each: nothing.
        names: nc names.
        path: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: the matrix has another size.
        OSError: the file cannot be written.
    """
    n = len(names) + 1
    if matrix.shape != (n, n):
        raise UsageError(f"plot_confusion: wanted a matrix of {n} x {n} for {n - 1} names, found {matrix.shape}")
    in_column = matrix.sum(axis=0)
    share = np.divide(matrix, in_column, out=np.zeros(matrix.shape), where=in_column > 0)
    side_in = min(4.5 + 0.5 * n, 16.0)
    figure = new_figure(side_in + 1, side_in)
    axes = figure.add_subplot()
    # The root lets rare confusions show beside the diagonal.
    drawn = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    shown = chart_names(names)
    size = min(10.0, 0.65 * 72 * side_in / n)
    lying = n <= 5 and max(map(len, shown), default=0) <= 12
    axes.set_xticks(range(n), [*shown, "nothing"], rotation=0 if lying else 90, fontsize=size)
    axes.set_yticks(range(n), [*shown, "not found"], fontsize=size)
    axes.set(xlabel="labelled", ylabel="predicted")
    axes.set_title("Confusion: share of each column" + (", and boxes" if n <= _MAX_WITH_COUNTS + 1 else ""))
    axes.axvline(n - 1.5, color=FAINT, linewidth=1)
    axes.axhline(n - 1.5, color=FAINT, linewidth=1)
    if n <= _MAX_WITH_SHARES + 1:
        _write_cells(axes, matrix, share)
    bar = figure.colorbar(drawn, ax=axes, shrink=0.6)
    ticks = np.array([0, 0.02, 0.1, 0.25, 0.5, 0.75, 1])
    bar.set_ticks(np.sqrt(ticks).tolist(), labels=[f"{tick:g}" for tick in ticks])
    save_figure(figure, path)


def _draw_ap(axes: Axes, rows: Sequence[EpochRow]) -> None:
    epochs = [row.epoch for row in rows]
    styles = (("-", 2.0), ("--", 1.2), (":", 1.2))
    values = {"AP": [r.ap for r in rows], "AP50": [r.ap50 for r in rows], "AP75": [r.ap75 for r in rows]}
    drawn = False
    for (label, series), color, (line, width) in zip(values.items(), COLORS, styles, strict=False):
        drawn |= line_over(axes, epochs, series, color=color, linestyle=line, linewidth=width, label=label)
    axes.set_title("AP of the validation set")
    if not drawn:
        say(axes, "not measured")
        return
    axes.set_ylim(bottom=0)
    measured = [row for row in rows if math.isfinite(row.fitness)]
    if measured:
        best = max(measured, key=lambda row: row.fitness)
        axes.axvline(best.epoch, color=FAINT, linewidth=1, zorder=0)
        axes.set_title(f"AP of the validation set: best {best.ap:.3f}, epoch {best.epoch}")
    axes.legend(fontsize=9)


def _draw_loss(axes: Axes, rows: Sequence[EpochRow], name: str) -> None:
    epochs = [row.epoch for row in rows]
    nan = float("nan")
    train = [row.losses.get(name, nan) for row in rows]
    validation = [row.val_losses.get(name, nan) for row in rows]
    drawn = line_over(axes, epochs, train, color=COLORS[0], linewidth=1.5, label="training")
    drawn |= line_over(axes, epochs, validation, color=COLORS[1], linestyle="--", linewidth=1.5, label="validation")
    axes.set_title(f"loss: {name}")
    if drawn:
        axes.legend(fontsize=9)
    else:
        say(axes, "no finite value")


def _draw_learning_rate(axes: Axes, rows: Sequence[EpochRow]) -> None:
    line_over(axes, [row.epoch for row in rows], [row.lr for row in rows], color=COLORS[2], linewidth=1.5)
    axes.set_title("learning rate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.set_ylim(bottom=0)


def _draw_speed(axes: Axes, rows: Sequence[EpochRow]) -> None:
    line_over(axes, [row.epoch for row in rows], [row.images_per_s for row in rows], color=COLORS[2], linewidth=1.5)
    axes.set_title("training images per second")
    axes.set_ylim(bottom=0)


def _draw_wait(axes: Axes, rows: Sequence[EpochRow]) -> None:
    line_over(axes, [row.epoch for row in rows], [row.wait_share for row in rows], color=COLORS[2], linewidth=1.5)
    axes.set_title("share of time waiting for data")
    axes.set_ylim(0, 1)


def _names_of(curves: PrecisionRecall, names: Sequence[str]) -> list[str]:
    shown = chart_names(names)
    return [shown[class_id] for class_id in curves.class_id.tolist()]


def _mean_curve(curves: PrecisionRecall) -> tuple[F64Array, F64Array]:
    """Recall, and at it the precision in the mean over the classes; 0 for a class that never reaches that recall."""
    recall = np.linspace(0, 1, 201)
    precision = [
        np.interp(recall, r[::-1], np.maximum.accumulate(p)[::-1], right=0)
        for r, p in zip(curves.recall_curve, curves.precision_curve, strict=True)
    ]
    return recall, np.mean(precision, axis=0)


def _draw_bars(axes: Axes, names: Sequence[str], values: F64Array, heading: str) -> None:
    """One bar per class, the best on top."""
    order = np.argsort(values, kind="stable")
    place = np.arange(len(names))
    axes.barh(place, values[order], color=COLORS[0], height=0.7)
    axes.set_yticks(place, [names[k] for k in order], fontsize=8)
    axes.set(xlim=(0, 1.08), ylim=(-0.7, len(names) - 0.3), title=heading)
    for y, value in enumerate(values[order].tolist()):
        axes.text(value + 0.01, y, f"{value:.2f}", va="center", fontsize=7)
    axes.spines[["top", "right"]].set_visible(False)


def _write_cells(axes: Axes, matrix: IntArray, share: F64Array) -> None:
    n = len(matrix)
    with_counts = n <= _MAX_WITH_COUNTS + 1
    for row, column in np.argwhere(matrix > 0):
        part = share[row, column]
        text = f"{part:.2f}" + (f"\n{matrix[row, column]}" if with_counts else "")
        color = "white" if part > 0.4 else "black"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9 if with_counts else 6.5)
