"""Pictures of a data set: how many, how large, where, and what the boxes look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.errors import DatasetError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLOTS = ("classes.png", "box_sizes.png", "centres.png", "samples.jpg")
_SHEET = 4
"""Rows and columns of the contact sheet."""
_HEATMAP = 40
_TILE_PX = 480
_DPI = 120
_SEED = 0


def plot_dataset(dataset: TrainingSet, folder: Path) -> list[Path]:
    """Draw the pictures of `PLOTS` into a folder, which is made if need be.

    Args:
        dataset: with at least one box.
        folder: files of these names in it are replaced.

    Returns:
        the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
        DatasetError: an image cannot be opened.
    """
    _require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in zip(PLOTS, (_classes, _box_sizes, _centres, _samples), strict=True):
        draw(dataset).savefig(folder / name, dpi=_DPI)
    return [folder / name for name in PLOTS]


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train", "plots") from error


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _classes(dataset: TrainingSet) -> Figure:
    counts = np.bincount(_class_ids(dataset.images), minlength=len(dataset.class_names))
    figure = _figure(8, max(2.5, 0.28 * len(counts) + 1))
    axes = figure.subplots()
    bars = axes.barh(range(len(counts)), counts, color=[_color(number) for number in range(len(counts))])
    axes.bar_label(bars, padding=3)
    axes.set_yticks(range(len(counts)), dataset.class_names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set(xlabel="boxes", title=f"{len(dataset.images)} images, {counts.sum()} boxes")
    return figure


def _box_sizes(dataset: TrainingSet) -> Figure:
    from matplotlib.colors import LogNorm

    size = np.concatenate([_size(image) for image in dataset.images])
    figure = _figure(10, 4.5)
    left, right = figure.subplots(1, 2)
    width, height = 100 * size.T
    left.hist2d(width, height, bins=50, range=[[0, 100], [0, 100]], cmin=1, norm=LogNorm())
    left.set(xlabel="width, % of the image", ylabel="height, % of the image", title="box sizes")
    left.set_aspect("equal")
    right.hist(100 * np.sqrt(size.prod(axis=1)), bins=50, range=(0, 100), color=_color(0))
    right.set(xlabel="root of the area, % of the image", ylabel="boxes", title="box sides")
    return figure


def _centres(dataset: TrainingSet) -> Figure:
    centre = np.concatenate([_centre(image) for image in dataset.images])
    figure = _figure(6, 5.2)
    axes = figure.subplots()
    counts, _, _ = np.histogram2d(centre[:, 1], centre[:, 0], bins=_HEATMAP, range=[[0, 1], [0, 1]])
    shown = axes.imshow(counts, extent=(0, 100, 100, 0), cmap="magma")
    axes.set(xlabel="% of the width", ylabel="% of the height", title="centres of the boxes")
    figure.colorbar(shown, ax=axes, label="boxes")
    return figure


def _samples(dataset: TrainingSet) -> Figure:
    """Sixteen images, the same ones in every run. Ignored places are hatched."""
    count = min(_SHEET * _SHEET, len(dataset.images))
    chosen = np.sort(np.random.default_rng(_SEED).choice(len(dataset.images), count, replace=False))
    figure = _figure(14, 14)
    for axes, number in zip(
        figure.subplots(_SHEET, _SHEET).flat, [*chosen, *[None] * (_SHEET**2 - count)], strict=True
    ):
        axes.set_axis_off()
        if number is not None:
            _draw_sample(axes, dataset.images[number], dataset.class_names)
    return figure


def _draw_sample(axes: Axes, image: TrainingImage, class_names: tuple[str, ...]) -> None:
    data = np.fromfile(image.path, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if pixels is None:
        raise DatasetError(f"{image.path}: wanted an image, found a file that cannot be decoded any more")
    scale = min(1.0, _TILE_PX / max(image.shape_hw))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = image.shape_hw
    axes.imshow(small, extent=(0, width, height, 0))
    axes.set_title(image.path.name, fontsize=7)
    for xyxy, class_id in zip(image.ignore_xyxy.tolist(), image.ignore_class_id.tolist(), strict=True):
        _rectangle(axes, xyxy, class_id, hatch="////")
    for xyxy, class_id in zip(image.xyxy.tolist(), image.class_id.tolist(), strict=True):
        _rectangle(axes, xyxy, class_id, hatch=None)
        label = {"facecolor": _color(class_id), "edgecolor": "none", "pad": 0.8}
        axes.text(xyxy[0], xyxy[1], class_names[class_id], fontsize=6, va="bottom", clip_on=True, bbox=label)
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


def _class_ids(images: Sequence[TrainingImage]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.concatenate([image.class_id for image in images])


def _size(image: TrainingImage) -> np.ndarray[Any, np.dtype[np.float64]]:
    height, width = image.shape_hw
    return (image.xyxy[:, 2:] - image.xyxy[:, :2]) / (width, height)


def _centre(image: TrainingImage) -> np.ndarray[Any, np.dtype[np.float64]]:
    height, width = image.shape_hw
    return (image.xyxy[:, :2] + image.xyxy[:, 2:]) / 2 / (width, height)
