"""Contact sheets for people: what the network is shown in training, and what it finds in validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch

from detector.train.targets import Targets
from pipeline.core.arrays import ImageArray, IntArray
from pipeline.core.boxes import Boxes, cxcywh_to_xyxy
from pipeline.core.detections import Detections
from pipeline.core.errors import ShapeError, UsageError
from pipeline.core.whole_file import write_whole

Bgr = tuple[int, int, int]
Corners = tuple[int, int, int, int]

_SHEET_PX = 1920
"""Width of a sheet; pictures are shrunk to fit, and text is written afterwards, so that it stays readable."""
_LEAST_TILE_PX = 320
_GAP_PX = 6
_PAPER: Bgr = (235, 235, 235)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE = 0.45
_LINE_PX = 2
_CAPTION_PX = 24
_HATCH_PX = 12
_MAX_NAMES = 3
_SMALLEST_NAMED_PX = 14
"""A box that is smaller on the sheet gets no name: its colour must do."""
_COLORS: tuple[Bgr, ...] = (
    (233, 180, 86),
    (0, 159, 230),
    (115, 158, 0),
    (66, 228, 240),
    (167, 121, 204),
    (0, 94, 213),
    (178, 114, 0),
)
"""Okabe and Ito, "Color universal design" (2008), without black."""


class Compared(NamedTuple):
    """One picture, what it holds, and what was found.

    Attributes:
        image: uint8 (h, w, 3), BGR.
        xyxy: float (n, 4), px, the labels.
        class_id: int64 (n,), the labels' classes.
        detections: px of the same picture.
    """

    image: ImageArray
    xyxy: Boxes
    class_id: IntArray
    detections: Detections


def draw_batch(images: torch.Tensor, targets: Targets, names: Sequence[str], path: Path, limit: int = 16) -> None:
    """Write a sheet of training pictures as the network sees them, with the boxes that they are trained on.

    Places where nothing is trained as background are hatched; where only some classes are left out, their outline and
    names are drawn.

    Args:
        images: uint8 (b, 3, h, w), BGR.
        targets: of the same batch.
        names: names by class.
        path: the picture to write, .jpg or .png.
        limit: most pictures on the sheet.

    Raises:
        ShapeError: the images have another shape or dtype.
        UsageError: no images.
        OSError: the file cannot be written.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ShapeError(f"draw_batch: wanted uint8 (b, 3, h, w), found {images.dtype} {tuple(images.shape)}")
    pictures = images[:limit].permute(0, 2, 3, 1).cpu().numpy()
    if not len(pictures):
        raise UsageError("draw_batch: wanted at least one picture, found none")
    columns = math.ceil(math.sqrt(len(pictures)))
    boxes, regions = targets.boxes.cpu().numpy(), targets.regions.cpu().numpy()
    region_classes = targets.region_classes.cpu().numpy()
    tiles = []
    for number, picture in enumerate(pictures):
        tile, scale = _fit(picture, _tile_px(columns))
        here = regions[:, 0] == number
        places = [
            (_corners(tile, xyxy * scale), np.flatnonzero(classes[:-1]).tolist(), bool(classes[-1]))
            for xyxy, classes in zip(regions[here, 1:], region_classes[here], strict=True)
        ]
        for corners, _, ignored in places:
            _draw_region(tile, corners, hatched=ignored)
        mine = boxes[boxes[:, 0] == number]
        class_id = mine[:, 1].astype(np.int64)
        xyxy = cxcywh_to_xyxy(mine[:, 2:]) * scale
        _outline(tile, xyxy, class_id)
        for corners, classes, ignored in places:
            _name_region(tile, corners, "ignored" if ignored else _not_labelled(names, classes))
        _name_boxes(tile, xyxy, class_id, [_name(names, k) for k in class_id.tolist()])
        tiles.append(tile)
    _write(_sheet(tiles, columns), path)


def draw_predictions(
    compared: Sequence[Compared | tuple[ImageArray, Boxes, IntArray, Detections]],
    names: Sequence[str],
    path: Path,
    limit: int = 16,
    conf_thres: float = 0.25,
) -> None:
    """Write a sheet of validation pictures: labels on the left, what was found on the right.

    Args:
        compared: pictures with labels and detections.
        names: names by class_id.
        path: the picture to write, .jpg or .png.
        limit: most pictures on the sheet.
        conf_thres: detections above this confidence are drawn.

    Raises:
        UsageError: no pictures.
        OSError: the file cannot be written.
    """
    if not compared or limit < 1:
        raise UsageError("draw_predictions: wanted at least one picture, found none")
    columns = 1 if min(len(compared), limit) <= 2 else 2
    side_px = _tile_px(2 * columns)
    tiles = []
    for image, xyxy, class_id, detections in compared[:limit]:
        found = detections.select(detections.confidence > conf_thres)
        left, scale = _fit(image, side_px)
        right = left.copy()
        _outline(left, xyxy * scale, class_id)
        _name_boxes(left, xyxy * scale, class_id, [_name(names, k) for k in class_id.tolist()])
        labels = [
            f"{_name(names, k)} {confidence:.2f}"
            for k, confidence in zip(found.class_id.tolist(), found.confidence.tolist(), strict=True)
        ]
        # The surest last: its name lies on top.
        _outline(right, found.xyxy[::-1] * scale, found.class_id[::-1])
        _name_boxes(right, found.xyxy[::-1] * scale, found.class_id[::-1], labels[::-1])
        tiles += [
            _with_caption(left, f"labels: {len(class_id)}"),
            _with_caption(right, f"found above {conf_thres:g}: {len(found)}"),
        ]
    _write(_sheet(tiles, 2 * columns), path)


def _tile_px(columns: int) -> int:
    return (_SHEET_PX - _GAP_PX * (columns + 1)) // columns


def _fit(picture: ImageArray, side_px: int) -> tuple[ImageArray, float]:
    """A copy of the picture with no side longer than `side_px`, and its scale; tiny pictures are enlarged."""
    longest = max(picture.shape[:2])
    scale = min(side_px, max(longest, _LEAST_TILE_PX)) / longest
    size_wh = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    # Nearest: the pixels of a tiny picture are to be seen as they are.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.array(cv2.resize(picture, size_wh, interpolation=how), np.uint8), scale


def _draw_region(tile: ImageArray, corners: Corners, *, hatched: bool) -> None:
    x1, y1, x2, y2 = corners
    if hatched:
        place = tile[y1:y2, x1:x2]
        across = np.add.outer(np.arange(y2 - y1), np.arange(x2 - x1)) % _HATCH_PX
        # A dark line beside each light one: seen on any background.
        place[across < 2] = (255, 255, 255)
        place[(across == 2) | (across == 3)] = (0, 0, 0)
    cv2.rectangle(tile, (x1, y1), (x2, y2), (255, 255, 255), 1)


def _name_region(tile: ImageArray, corners: Corners, text: str) -> None:
    """Say in the place's lower left corner why it is marked; a place that is too small for it has none."""
    x1, y1, x2, y2 = corners
    width, height = _label_size(text)
    if width <= x2 - x1 and height <= y2 - y1:
        _write_label(tile, text, x1, y2 - height, (255, 255, 255))


def _not_labelled(names: Sequence[str], classes: Sequence[int]) -> str:
    more = ", ..." if len(classes) > _MAX_NAMES else ""
    return "not labelled: " + ", ".join(_name(names, k) for k in classes[:_MAX_NAMES]) + more


def _outline(tile: ImageArray, xyxy: Boxes, class_id: IntArray) -> None:
    for box, k in zip(xyxy, class_id.tolist(), strict=True):
        x1, y1, x2, y2 = _corners(tile, box)
        cv2.rectangle(tile, (x1, y1), (x2, y2), _COLORS[k % len(_COLORS)], _LINE_PX)


def _name_boxes(tile: ImageArray, xyxy: Boxes, class_id: IntArray, labels: Sequence[str]) -> None:
    """Names above the boxes; write them after all outlines, so that no line crosses a name."""
    for box, k, text in zip(xyxy, class_id.tolist(), labels, strict=True):
        x1, y1, x2, y2 = _corners(tile, box)
        if max(x2 - x1, y2 - y1) >= _SMALLEST_NAMED_PX:
            _write_label(tile, text, x1 - 1, y1 - _label_size(text)[1], _COLORS[k % len(_COLORS)])


def _corners(tile: ImageArray, xyxy: Boxes) -> Corners:
    """The box in whole px, cut at the tile's borders."""
    height, width = tile.shape[:2]
    x1, y1, x2, y2 = np.clip(xyxy, 0, (width - 1, height - 1) * 2).round().astype(int).tolist()
    return x1, y1, x2, y2


def _label_size(text: str) -> tuple[int, int]:
    (width, height), below = cv2.getTextSize(text, _FONT, _TEXT_SCALE, 1)
    return width + 6, height + below + 3


def _write_label(tile: ImageArray, text: str, left: int, top: int, color: Bgr) -> None:
    """Text on a filled background, moved into the tile where it would stick out."""
    width, height = _label_size(text)
    left = max(0, min(left, tile.shape[1] - width))
    top = max(0, min(top, tile.shape[0] - height))
    cv2.rectangle(tile, (left, top), (left + width - 1, top + height - 1), color, cv2.FILLED)
    blue, green, red = color
    ink = (0, 0, 0) if 0.114 * blue + 0.587 * green + 0.299 * red > 110 else (255, 255, 255)
    cv2.putText(tile, text, (left + 3, top + height - 5), _FONT, _TEXT_SCALE, ink, 1, cv2.LINE_AA)


def _name(names: Sequence[str], class_id: int) -> str:
    """The class's name, or its number where it cannot be written: OpenCV 4 has ASCII letters only."""
    name = names[class_id]
    return name if name.isascii() or hasattr(cv2, "FontFace") else f"class {class_id}"


def _with_caption(tile: ImageArray, text: str) -> ImageArray:
    strip = np.full((_CAPTION_PX, tile.shape[1], 3), _PAPER, np.uint8)
    cv2.putText(strip, text, (3, _CAPTION_PX - 8), _FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([strip, tile])


def _sheet(tiles: Sequence[ImageArray], columns: int) -> ImageArray:
    """Tiles row by row; each column as wide as its widest tile, each row as high as its highest."""
    rows = [tiles[begin : begin + columns] for begin in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    widths = [max(tile.shape[1] for tile in tiles[column::columns]) for column in range(min(columns, len(tiles)))]
    height, width = (sum(sides) + _GAP_PX * (len(sides) + 1) for sides in (heights, widths))
    sheet = np.full((height, width, 3), _PAPER, np.uint8)
    top = _GAP_PX
    for row, row_height in zip(rows, heights, strict=True):
        left = _GAP_PX
        for tile, column_width in zip(row, widths, strict=False):
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            left += column_width + _GAP_PX
        top += row_height + _GAP_PX
    return sheet


def _write(sheet: ImageArray, path: Path) -> None:
    done, encoded = cv2.imencode(path.suffix, sheet)
    if not done:
        raise OSError(f"{path}: wanted to encode a picture of {sheet.shape[1]} x {sheet.shape[0]} px; OpenCV could not")
    write_whole(path, encoded.tobytes())
