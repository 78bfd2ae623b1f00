"""Pictures of a data set: how many boxes of what, where, how large, and what they look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.data.chart import COLORS, chart_name, chart_names, new_figure, save_figure, say, whole_numbers
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.boxes import xyxy_to_cxcywh
from pipeline.core.errors import DatasetError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOTS = ("labels.png", "samples.jpg")
_SHEET = 4
"""Rows and columns of the contact sheet."""
_TILE_PX = 480
_NAME_SHARE = 0.05
"""Height of a name on the contact sheet, as a share of its image."""
_SEED = 0


def plot_dataset(dataset: TrainingSet, folder: Path) -> list[Path]:
    """Draw the pictures of `PLOTS` into a folder, which is made if need be.

    Args:
        dataset: with at least one image.
        folder: files of these names in it are replaced.

    Returns:
        the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DatasetError: an image cannot be opened.
        OSError: a file cannot be written.
    """
    paths = [folder / name for name in PLOTS]
    for draw, path in zip((plot_labels, plot_samples), paths, strict=True):
        draw(dataset, path)
    return paths


def plot_labels(training_set: TrainingSet, path: Path) -> None:
    """Draw what a data set holds: boxes by class, where they lie, how large they are, how many a picture has.

    Args:
        training_set: the data set; it may be empty.
        path: the PNG to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    figure = new_figure(14, 9.5)
    grid = figure.add_gridspec(2, 3)
    figure.suptitle(_in_words(training_set))
    _draw_classes(figure.add_subplot(grid[0, :]), training_set)
    centres, sizes, counts = (figure.add_subplot(grid[1, column]) for column in range(3))
    relative = np.concatenate(
        [np.zeros((0, 4))]
        + [xyxy_to_cxcywh(image.xyxy.astype(np.float64)) / (image.shape_hw[::-1] * 2) for image in training_set.images]
    )
    if len(relative):
        _draw_density(centres, relative[:, :2], np.linspace(0, 1, 51))
        # Boxes below a thousandth of the picture stand in the first bins.
        _draw_density(sizes, relative[:, 2:].clip(1e-3, 1), np.geomspace(1e-3, 1, 51))
        sizes.set(xscale="log", yscale="log")
        ticks = [0.001, 0.01, 0.1, 1]
        percent = ["0.1 %", "1 %", "10 %", "100 %"]
        sizes.set_xticks(ticks, percent)
        sizes.set_yticks(ticks, percent)
        centres.invert_yaxis()
    else:
        say(centres, "no boxes")
        say(sizes, "no boxes")
    centres.set(title="Centres of boxes", xlabel="x / width of picture", ylabel="y / height of picture")
    sizes.set(title="Sizes of boxes", xlabel="width / width of picture", ylabel="height / height of picture")
    _draw_counts(counts, training_set)
    for axes in (centres, sizes, counts):
        axes.set_box_aspect(1)
    save_figure(figure, path)


def plot_samples(dataset: TrainingSet, path: Path) -> None:
    """Draw sixteen images with their boxes, the same ones in every run; ignored places are hatched.

    Args:
        dataset: with at least one image.
        path: the picture to write.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DatasetError: an image cannot be opened.
        OSError: the file cannot be written.
    """
    count = min(_SHEET * _SHEET, len(dataset.images))
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(dataset.images), count, replace=False))
    figure = new_figure(14, 14)
    names = chart_names(dataset.class_names)
    for axes, number in zip(
        figure.subplots(_SHEET, _SHEET).flat, [*chosen, *[None] * (_SHEET**2 - count)], strict=True
    ):
        axes.set_axis_off()
        if number is not None:
            _draw_sample(axes, dataset.images[number], names, f"image {number + 1}")
    save_figure(figure, path)


def _draw_sample(axes: Axes, image: TrainingImage, class_names: Sequence[str], number: str) -> None:
    try:
        data = np.fromfile(image.path, np.uint8)
    except OSError as error:
        raise DatasetError(f"{image.path}: wanted an image, found: {error.strerror}") from error
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if pixels is None:
        raise DatasetError(f"{image.path}: wanted an image, found a file that cannot be decoded any more")
    scale = min(1.0, _TILE_PX / max(image.shape_hw))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = image.shape_hw
    axes.imshow(small, extent=(0, width, height, 0))
    axes.set_title(chart_name(image.path.name, number), fontsize=7)
    for xyxy, class_id in zip(image.ignore_xyxy.tolist(), image.ignore_class_id.tolist(), strict=True):
        _rectangle(axes, xyxy, class_id, hatch="////")
    for xyxy, class_id in zip(image.xyxy.tolist(), image.class_id.tolist(), strict=True):
        _rectangle(axes, xyxy, class_id, hatch=None)
        label = {"facecolor": _color(class_id), "edgecolor": "none", "pad": 0.8}
        # Above the box, or within it where that would be cut off.
        place = "bottom" if xyxy[1] > _NAME_SHARE * height else "top"
        axes.text(xyxy[0], xyxy[1], class_names[class_id], fontsize=6, va=place, clip_on=True, bbox=label)
    axes.set(xlim=(0, width), ylim=(height, 0))


def _rectangle(axes: Axes, xyxy: Sequence[float], class_id: int, hatch: str | None) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = xyxy
    style = {"hatch": hatch, "linewidth": 0.8, "linestyle": "--"} if hatch else {"linewidth": 1.6}
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=_color(class_id), **style))


def _color(class_id: int) -> Any:
    from matplotlib import colormaps

    # The second ten are paler, so they come last.
    return colormaps["tab10"](class_id) if class_id < 10 else colormaps["tab20"](2 * class_id % 20 + 1)


def _in_words(training_set: TrainingSet) -> str:
    images = training_set.images
    boxes = sum(len(image.class_id) for image in images)
    ignored = sum(len(image.ignore_xyxy) for image in images)
    empty = sum(not len(image.class_id) for image in images)
    partial_labels = sum(bool(image.unlabelled) for image in images)
    words = [f"{len(images):,} pictures", f"{boxes:,} boxes"]
    words += [f"{empty:,} pictures without boxes"] if empty else []
    words += [f"{ignored:,} ignored places"] if ignored else []
    words += [f"{partial_labels:,} pictures not labelled for every class"] if partial_labels else []
    return ", ".join(words)


def _draw_classes(axes: Axes, training_set: TrainingSet) -> None:
    n = len(training_set.class_names)
    class_id = np.concatenate([np.zeros(0, np.int64), *(image.class_id for image in training_set.images)])
    counts = np.bincount(class_id, minlength=n)
    axes.bar(range(n), counts, color=COLORS[0], width=0.7)
    many = n > 7
    size = max(6.5, 10 - n / 20)
    axes.set_xticks(range(n), chart_names(training_set.class_names), rotation=90 if many else 0, fontsize=size)
    for place, count in enumerate(counts.tolist()):
        axes.annotate(
            f"{count:,}",
            (place, count),
            (0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            rotation=90 if many else 0,
            fontsize=size,
        )
    axes.set(title="Boxes by class", xlim=(-0.7, n - 0.3), ylim=(0, max(1.0, 1.18 * counts.max(initial=0))))
    axes.spines[["top", "right"]].set_visible(False)
    whole_numbers(axes, x=False, y=True)


def _draw_density(axes: Axes, points: NDArray[np.float64], edges: NDArray[np.float64]) -> None:
    """How many points lie where, on a logarithmic scale; white where there are none."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import LogLocator

    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=(edges, edges))
    norm = LogNorm(1, max(2.0, counts.max()))
    drawn = axes.pcolormesh(edges, edges, np.ma.masked_equal(counts.T, 0), cmap="cividis_r", norm=norm)
    bar = axes.figure.colorbar(
        drawn, ax=axes, shrink=0.7, label="boxes", ticks=LogLocator(subs=(1, 2, 5)), format="{x:,.0f}"
    )
    bar.minorticks_off()


def _draw_counts(axes: Axes, training_set: TrainingSet) -> None:
    counts = np.array([len(image.class_id) for image in training_set.images], np.int64)
    most = int(counts.max(initial=0))
    if not len(counts):
        say(axes, "no pictures")
    axes.hist(counts, bins=np.linspace(-0.5, most + 0.5, min(most + 2, 61)).tolist(), color=COLORS[0])
    axes.set(title="Boxes in a picture", xlabel="boxes", ylabel="pictures")
    whole_numbers(axes, y=True)
