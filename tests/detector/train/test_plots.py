from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.data.chart import chart_names
from detector.train import plots
from detector.train.history import EpochRow
from pipeline.core.errors import MissingExtraError, UsageError
from pipeline.evaluation.precision_recall import PrecisionRecall, precision_recall

pytest.importorskip("matplotlib")

NAN = float("nan")
HARD_NAMES = ("_hidden", "$x^{", "血小板", "two\nlines", "", "a name that is much too long for any chart", "%s {0}")
COUNTS = [1, 7, 12, 13, 80]


def class_names(n: int) -> list[str]:
    return [*HARD_NAMES, *(f"class of number {k}" for k in range(len(HARD_NAMES), n))][:n]


def made_curves(n: int, seed: int = 0) -> PrecisionRecall:
    rng = np.random.default_rng(seed)
    boxes = 40 * n
    right = rng.random((boxes, 1)) < np.linspace(0.9, 0.2, 10)
    confidence = rng.random(boxes).astype(np.float32)
    return precision_recall(right, confidence, rng.integers(0, n, boxes), np.repeat(np.arange(n), 30))


def nothing_labelled() -> PrecisionRecall:
    none = np.zeros(0, np.int64)
    return precision_recall(np.zeros((0, 10), np.bool_), np.zeros(0, np.float32), none, none)


def made_rows(n: int, every: int = 1) -> list[EpochRow]:
    return [
        EpochRow(
            epoch=e,
            seconds=1.0,
            images_per_s=10.0,
            wait_share=0.1,
            lr=0.01 / e,
            losses={"box": 1 / e, "object": 2 / e},
            val_losses={"box": 1.5 / e} if e % every == 0 else {},
            ap=0.5 - 0.4 / e if e % every == 0 else NAN,
            ap50=0.7 - 0.4 / e if e % every == 0 else NAN,
            ap75=0.4 - 0.3 / e if e % every == 0 else NAN,
            fitness=0.5 - 0.4 / e if e % every == 0 else NAN,
        )
        for e in range(1, n + 1)
    ]


def assert_apart(texts: list[Any]) -> None:
    boxes = [text.get_window_extent() for text in texts]
    for before, after in itertools.pairwise(boxes):
        assert not before.padded(-1).overlaps(after.padded(-1)), (before, after)


def titles(figure: Any) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


@pytest.mark.parametrize(("n", "every"), [(1, 1), (1, 2), (7, 3), (300, 10)])
def test_history(figure_of: Callable[..., Any], n: int, every: int) -> None:
    figure = figure_of(plots.plot_history, made_rows(n, every))
    assert titles(figure)[1:] == [
        "loss: box",
        "loss: object",
        "learning rate",
        "training images per second",
        "share of time waiting for data",
    ]
    last = n - n % every
    best = (
        f"AP of the validation set: best {0.5 - 0.4 / last:.3f}, epoch {last}" if last else "AP of the validation set"
    )
    assert titles(figure)[0] == best
    lines = figure.axes[0].get_lines()
    assert len(lines) == (4 if last else 0)
    if last:
        assert len(lines[0].get_xdata()) == n // every


def test_history_of_a_training_that_diverges(figure_of: Callable[..., Any]) -> None:
    row = made_rows(1)[0]
    lost = EpochRow(2, 1.0, 10.0, 0.1, 0.01, {"box": NAN, "object": float("inf")}, {}, NAN, NAN, NAN, NAN)
    figure_of(plots.plot_history, [lost])
    figure = figure_of(plots.plot_history, [row, lost])
    assert figure.axes[1].get_lines()[0].get_xdata().tolist() == [1]


def test_history_wants_rows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one epoch"):
        plots.plot_history([], tmp_path / "x.png")


@pytest.mark.parametrize("n", COUNTS)
def test_precision_and_recall(figure_of: Callable[..., Any], n: int) -> None:
    curves = made_curves(n)
    figure = figure_of(plots.plot_precision_recall, curves, class_names(n))
    axes = figure.axes[0]
    assert len(axes.get_lines()) == n + 1
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries[0] == f"all classes  {curves.map50:.3f}"
    assert_apart(axes.get_legend().get_texts())
    if n > 12:
        assert_apart(figure.axes[1].get_yticklabels())
        assert figure.axes[1].patches[-1].get_width() == pytest.approx(curves.ap[:, 0].max())
    else:
        assert entries[1:] == [
            f"{name}  {ap:.3f}" for name, ap in zip(chart_names(class_names(n)), curves.ap[:, 0], strict=True)
        ]


def test_the_mean_curve_encloses_the_mean_ap(figure_of: Callable[..., Any]) -> None:
    curves = made_curves(5)
    figure = figure_of(plots.plot_precision_recall, curves, class_names(5))
    recall, precision = figure.axes[0].get_lines()[0].get_data()
    assert np.all(np.diff(precision) <= 1e-12)
    assert np.trapezoid(precision, recall) == pytest.approx(curves.map50, abs=0.02)


@pytest.mark.parametrize("n", COUNTS)
def test_confidence(figure_of: Callable[..., Any], n: int) -> None:
    curves = made_curves(n)
    figure = figure_of(plots.plot_confidence, curves, class_names(n))
    assert titles(figure)[0] == f"F1 {curves.f1.mean():.3f} at confidence {curves.best_confidence:.3f}"
    assert titles(figure)[1].startswith(f"precision {curves.precision.mean():.3f}")
    assert titles(figure)[2].startswith(f"recall {curves.recall.mean():.3f}")
    entries = figure.axes[2].get_legend().get_texts()
    assert len(entries) == (n + 1 if n <= 12 else 2)
    assert_apart(entries)


def test_curves_without_labels(figure_of: Callable[..., Any]) -> None:
    for plot in (plots.plot_precision_recall, plots.plot_confidence):
        figure = figure_of(plot, nothing_labelled(), ["a"])
        assert figure.axes[0].texts[0].get_text() == "no labels"
        assert not any(axes.get_legend() for axes in figure.axes)


def test_classes_without_labels_are_left_out(figure_of: Callable[..., Any]) -> None:
    right = np.ones((2, 10), np.bool_)
    curves = precision_recall(right, np.array([0.9, 0.8], np.float32), np.array([0, 2]), np.array([2]))
    figure = figure_of(plots.plot_precision_recall, curves, ["a", "b", "c"])
    assert [text.get_text().split()[0] for text in figure.axes[0].get_legend().get_texts()] == ["all", "c"]


@pytest.mark.parametrize("n", COUNTS)
def test_confusion(figure_of: Callable[..., Any], n: int) -> None:
    matrix = np.zeros((n + 1, n + 1), np.int64)
    np.fill_diagonal(matrix, 3)
    matrix[-1] = 1
    matrix[-1, -1] = 0
    figure = figure_of(plots.plot_confusion, matrix, class_names(n))
    axes = figure.axes[0]
    assert axes.get_xticklabels()[-1].get_text() == "nothing"
    assert axes.get_yticklabels()[-1].get_text() == "not found"
    assert_apart(axes.get_xticklabels())
    assert_apart(axes.get_yticklabels())
    cells = [text.get_text() for text in axes.texts]
    assert cells.count("0.75\n3") == (n if n <= 12 else 0)
    assert cells.count("0.75") == (n if n == 13 else 0)
    assert axes.images[0].get_array()[0, 0] == pytest.approx(0.75**0.5)


def test_confusion_of_nothing(figure_of: Callable[..., Any]) -> None:
    figure = figure_of(plots.plot_confusion, np.zeros((3, 3), np.int64), ["a", "b"])
    assert not figure.axes[0].texts


def test_confusion_wants_as_many_names_as_classes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"3 x 3 for 2 names, found \(5, 5\)"):
        plots.plot_confusion(np.zeros((5, 5), np.int64), ["a", "b"], tmp_path / "x.png")


def test_pyplot_stays_away(tmp_path: Path) -> None:
    plots.plot_history(made_rows(2), tmp_path / "x.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"plots needs .*matplotlib.*tracklight\[train\]"):
        plots.plot_history(made_rows(2), tmp_path / "x.png")
