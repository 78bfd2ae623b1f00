from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from detector.data.training_set import TrainingImage, TrainingSet
from detector.train import plots
from detector.train.chart import chart_names
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


def made_set(n_classes: int, n_images: int, boxes: int) -> TrainingSet:
    rng = np.random.default_rng(1)
    images = []
    for _ in range(n_images):
        left_top = rng.random((boxes, 2)) * (300, 200)
        size = rng.random((boxes, 2)) * (300, 200)
        xyxy = np.concatenate([left_top, left_top + size], axis=1).astype(np.float32)
        images.append(TrainingImage(Path("x.jpg"), (400, 600), xyxy, rng.integers(0, n_classes, boxes)))
    return TrainingSet(Path("set.yaml"), tuple(class_names(n_classes)), tuple(images), tuple(range(n_classes)))


@pytest.fixture
def figure_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Draws, checks the file and that no text is cut off, and gives the figure back."""
    kept: list[Any] = []
    save = plots.save_png

    def keep(figure: Any, path: Path) -> None:
        save(figure, path)
        kept.append(figure)

    monkeypatch.setattr(plots, "save_png", keep)

    def draw(plot: Callable[..., None], *arguments: Any) -> Any:
        path = tmp_path / "chart.png"
        plot(*arguments, path)
        assert [p.name for p in tmp_path.iterdir()] == ["chart.png"]
        image = cv2.imread(str(path))
        assert image is not None
        assert max(image.shape) <= 2400
        assert_nothing_is_cut(kept[-1])
        return kept[-1]

    return draw


def assert_nothing_is_cut(figure: Any) -> None:
    used, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert used.x0 > -0.02
    assert used.y0 > -0.02
    assert used.x1 < width + 0.02
    assert used.y1 < height + 0.02


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


@pytest.mark.parametrize("n", COUNTS)
def test_labels(figure_of: Callable[..., Any], n: int) -> None:
    made = made_set(n, 20, 7)
    figure = figure_of(plots.plot_labels, made)
    assert figure.get_suptitle() == "20 pictures, 140 boxes"
    bars = [patch.get_height() for patch in figure.axes[0].patches]
    wanted = np.bincount(np.concatenate([image.class_id for image in made.images]), minlength=n)
    assert bars == wanted.tolist()
    assert_apart(figure.axes[0].get_xticklabels())
    assert_apart(figure.axes[0].texts)
    for axes in figure.axes[1:3]:
        assert axes.collections[0].get_array().sum() == 140


def test_labels_say_what_they_do_not_tell(figure_of: Callable[..., Any]) -> None:
    image = TrainingImage(
        Path("x.jpg"),
        (10, 10),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        ignore_xyxy=np.array([[0, 0, 5, 5]], np.float32),
        ignore_class_id=np.array([0]),
        unlabelled=frozenset({0}),
    )
    figure = figure_of(plots.plot_labels, TrainingSet(Path("x"), ("a",), (image,), (1,)))
    assert figure.get_suptitle() == (
        "1 pictures, 0 boxes, 1 pictures without boxes, 1 ignored places, 1 pictures not labelled for every class"
    )


def test_labels_of_an_empty_set(figure_of: Callable[..., Any]) -> None:
    figure = figure_of(plots.plot_labels, made_set(2, 0, 0))
    assert [axes.texts[0].get_text() for axes in figure.axes[1:]] == ["no boxes", "no boxes", "no pictures"]


def test_a_box_of_no_size_counts(figure_of: Callable[..., Any]) -> None:
    image = TrainingImage(Path("x.jpg"), (10, 10), np.array([[2, 2, 2, 2]], np.float32), np.zeros(1, np.int64))
    figure = figure_of(plots.plot_labels, TrainingSet(Path("x"), ("a",), (image,), (1,)))
    assert figure.axes[2].collections[0].get_array().sum() == 1


def test_names_that_a_chart_cannot_write() -> None:
    assert chart_names(HARD_NAMES) == [
        "_hidden",
        r"\$x^{",
        "class 2",
        "class 3",
        "class 4",
        "a name that is much too…",
        "%s {0}",
    ]


def test_pyplot_stays_away(tmp_path: Path) -> None:
    plots.plot_history(made_rows(2), tmp_path / "x.png")
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"plots needs .*matplotlib.*tracklight\[train\]"):
        plots.plot_history(made_rows(2), tmp_path / "x.png")
