"""Draws a source's lines and zones, and what they have counted, into a picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.core.arrays import Float64Array, ImageArray
from pipeline.core.scene import Scene, SceneLayout
from sinks.labels import LabelLayout, LabelWriter, put
from sinks.palette import ALARM, WHITE, Bgr, darker, line_color, rule_color
from sinks.tint import Tint, TintPainter

_FILL, _ALARM_FILL = 0.14, 0.34
"""Opacities."""
_FAR_PX = 1e5
_GAP = "    "
"""Between what belongs apart, with two spaces inside: in small text, single ones can hardly be seen."""
_WIDEST_LABEL = 0.62
"""A label may take this much of the picture's width; longer names are cut."""


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    """A text that was made for these counts.

    Attributes:
        counts: what it says.
        picture: uint8 (h, w, 3).
        places: left top corners for it, the best first; empty where it goes to its zone's top.
    """

    counts: tuple[int, int, bool]
    picture: ImageArray
    places: list[tuple[int, int]]


class RuleShapes:
    """Draws the rules of one source.

    Their shapes do not move, so they are painted once and laid over each frame, at a cost that does not depend on their
    number. They are painted anew when the layout, the picture's size or an alarm changes.

    Args:
        lines: draw lines.
        zones: draw zones.
    """

    def __init__(self, *, lines: bool, zones: bool) -> None:
        self._lines, self._zones = lines, zones
        self._painted: tuple[SceneLayout, tuple[int, int], int, bytes] | None = None
        self._tint: Tint | None = None
        self._zone_tops: list[tuple[int, int] | None] = []
        # Counts change seldom, so that labels are kept as pictures, by the writer that made them.
        self._writer: LabelWriter | None = None
        self._line_labels: dict[int, _Label] = {}
        self._zone_labels: dict[int, _Label] = {}

    @property
    def tint(self) -> Tint | None:
        """The shapes that were drawn last; None where there were none in the picture."""
        return self._tint

    def draw_shapes(self, image: ImageArray, scene: Scene, line_px: int) -> None:
        """Lay the shapes over `image`, uint8 (h, w, 3) BGR, which is changed; `line_px` is the width of strokes."""
        shape_hw = (image.shape[0], image.shape[1])
        alarms = scene.alarms.tobytes()
        before = self._painted
        if before is None or before[0] is not scene.layout or before[1:] != (shape_hw, line_px, alarms):
            if before is None or before[0] is not scene.layout or before[1:3] != (shape_hw, line_px):
                self._forget_labels()
            self._painted = (scene.layout, shape_hw, line_px, alarms)
            self._paint(scene, shape_hw, line_px)
        if self._tint is not None:
            self._tint.lay_on(image)

    def draw_labels(
        self, image: ImageArray, scene: Scene, writer: LabelWriter, places: LabelLayout, line_px: int
    ) -> None:
        """Write names and counts, after `draw_shapes` of the same scene; their places are then taken in `places`."""
        if writer is not self._writer:
            self._writer = writer
            self._forget_labels()
        if self._zones:
            self._label_zones(image, scene, writer, places)
        if self._lines:
            self._label_lines(image, scene, writer, places, line_px)

    def _paint(self, scene: Scene, shape_hw: tuple[int, int], line_px: int) -> None:
        painter = TintPainter(shape_hw)
        self._zone_tops = []
        if self._zones:
            for number, polygon in enumerate(scene.layout.zones_px):
                alarm = bool(scene.alarms[number])
                mask = _paint_zone(painter, polygon, line_px, zone_color(number, alarm), alarm)
                self._zone_tops.append(_top_of(mask))
        if self._lines:
            for number, ends in enumerate(scene.layout.lines_px):
                _paint_line(painter, ends, shape_hw, line_px, line_color(number))
        self._tint = painter.tint()

    def _label_zones(self, image: ImageArray, scene: Scene, writer: LabelWriter, places: LabelLayout) -> None:
        counts = zip(scene.occupancy.tolist(), scene.visits.tolist(), scene.alarms.tolist(), strict=True)
        for number, (name, top, (now, visits, alarm)) in enumerate(
            zip(scene.layout.zone_names, self._zone_tops, counts, strict=True)
        ):
            if top is None:
                continue
            label = self._zone_labels.get(number)
            if label is None or label.counts != (now, visits, alarm):
                said = _GAP.join((f"{now:,}  now", f"{visits:,}  visit{'' if visits == 1 else 's'}"))
                # An exclamation mark for those who do not see that it is red.
                written = "!  " * alarm + _written(name, f"zone {number + 1}", writer)
                text = _fitted(written, said, writer, image.shape[1])
                picture = writer.picture(text, writer.width_px(text), zone_color(number, alarm))
                label = self._zone_labels[number] = _Label((now, visits, alarm), picture, [])
            x, y = top
            height, width = label.picture.shape[:2]
            put(image, label.picture, places.place((x, y, x + width, y + 2 * height), width, height))

    def _label_lines(
        self, image: ImageArray, scene: Scene, writer: LabelWriter, places: LabelLayout, line_px: int
    ) -> None:
        layout = scene.layout
        for number, (name, (label_in, label_out), ends, (n_in, n_out)) in enumerate(
            zip(layout.line_names, layout.line_labels, layout.lines_px, scene.crossings.tolist(), strict=True)
        ):
            label = self._line_labels.get(number)
            if label is None or label.counts != (n_in, n_out, False):
                seen = _visible(ends, image.shape[:2])
                if seen is None:
                    continue
                labels = _written(label_in, "in", writer), _written(label_out, "out", writer)
                said = _GAP.join((f"{labels[0]}  {n_in:,}", f"{labels[1]}  {n_out:,}"))
                text = _fitted(_written(name, f"line {number + 1}", writer), said, writer, image.shape[1])
                picture = writer.picture(text, writer.width_px(text), line_color(number))
                size_wh = picture.shape[1], picture.shape[0]
                candidates = _beside(seen, size_wh, image.shape[:2], 3 * line_px)
                label = self._line_labels[number] = _Label((n_in, n_out, False), picture, candidates)
            height, width = label.picture.shape[:2]
            put(image, label.picture, places.place_among(label.places, width, height))

    def _forget_labels(self) -> None:
        self._line_labels.clear()
        self._zone_labels.clear()


def zone_color(number: int, alarm: bool) -> Bgr:
    """The colour of a zone: its own, or red while an alarm goes on."""
    return ALARM if alarm else rule_color(number)


def _paint_zone(painter: TintPainter, polygon: Float64Array, line_px: int, color: Bgr, alarm: bool) -> ImageArray:
    """Paint a zone. Returns its mask."""
    mask = painter.fill(polygon, color, _ALARM_FILL if alarm else _FILL)
    width_px = line_px + alarm
    painter.stroke(polygon, darker(color), width_px + 2, closed=True)
    painter.stroke(polygon, color, width_px, closed=True)
    return mask


def _paint_line(painter: TintPainter, ends: Float64Array, shape_hw: tuple[int, int], line_px: int, color: Bgr) -> None:
    """A stroke with round ends and, in its middle, an arrow to the side that is `in`."""
    seen = _visible(ends, shape_hw)
    if seen is None:
        return
    stroke_px = line_px + 1
    stem, head = _arrow(seen, line_px)
    rim = darker(color)
    for wider, shade in ((2, rim), (0, color)):
        painter.stroke(ends, shade, stroke_px + wider, closed=False)
        painter.stroke(stem, shade, stroke_px + wider, closed=False)
        painter.area(head, shade)
        if wider:
            painter.stroke(head, shade, wider, closed=True)
        for end in ends:
            painter.disc(end, shade, 2 * stroke_px + wider / 2)
    for end in ends:
        painter.disc(end, WHITE, stroke_px)


def _arrow(ends: Float64Array, line_px: int) -> tuple[Float64Array, Float64Array]:
    """Stem (2, 2) and head (3, 2), px, of the arrow at the middle of a line, towards its right."""
    middle = ends.mean(axis=0)
    along, right = _directions(ends)
    length = 14.0 * line_px + 4
    half = 4.0 * line_px + 1.5
    neck = middle + right * (length - 2 * half)
    head = np.stack([middle + right * length, neck + along * half, neck - along * half])
    return np.stack([middle, neck]), head


def _directions(ends: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Unit vectors along a line and to its right, as the picture shows it (y grows downwards)."""
    step = ends[1] - ends[0]
    length = float(np.hypot(*step))
    along = step / length if length else np.array([1.0, 0.0])
    return along, np.array([-along[1], along[0]])


def _visible(ends: Float64Array, shape_hw: tuple[int, ...]) -> Float64Array | None:
    """The part of a line that is in the picture, (2, 2) px; None if none is."""
    (x1, y1), (x2, y2) = np.clip(ends, -_FAR_PX, _FAR_PX).round().astype(int).tolist()
    inside, first, second = cv2.clipLine((0, 0, shape_hw[1], shape_hw[0]), (x1, y1), (x2, y2))
    return np.array([first, second], np.float64) if inside else None


def _beside(
    ends: Float64Array, size_wh: tuple[int, int], shape_hw: tuple[int, ...], gap_px: int
) -> list[tuple[int, int]]:
    """Left top corners for a label near the middle of a line: behind its arrow, farther along, before the arrow."""
    along, right = _directions(ends)
    middle = ends.mean(axis=0)
    width, height = size_wh
    # How far the middle of a rectangle must be from a line of this direction to lie on one side of it.
    clear = (width * abs(right[0]) + height * abs(right[1])) / 2 + gap_px
    step = (width * abs(along[0]) + height * abs(along[1])) + gap_px
    arrow = 4 * gap_px
    candidates = []
    for side in (-clear, clear):
        for shift in (0.0, -step, step):
            beyond_arrow = arrow if side > 0 and not shift else 0
            x, y = middle + right * (side + beyond_arrow) + along * shift - np.array([width, height]) / 2
            left = min(max(math.floor(x), 0), max(shape_hw[1] - width, 0))
            top = min(max(math.floor(y), 0), max(shape_hw[0] - height, 0))
            candidates.append((left, top))
    return candidates


def _top_of(mask: ImageArray) -> tuple[int, int] | None:
    """The left end of the highest row of a shape (px); None if nothing of it is in the picture."""
    x, y, width, _ = cv2.boundingRect(mask)
    if not width:
        return None
    return x + int(np.flatnonzero(mask[y, x : x + width])[0]), y


def _written(name: str, instead: str, writer: LabelWriter) -> str:
    return name if writer.can_write(name) else instead


def _fitted(name: str, said: str, writer: LabelWriter, picture_width: int) -> str:
    """Name and counts, the name cut where both would be too wide. Counts are never cut."""
    limit = _WIDEST_LABEL * picture_width
    for length in range(len(name), 0, -1):
        shown = name if length == len(name) else name[:length].rstrip() + "..."
        text = f"{shown}{_GAP}{said}"
        if writer.width_px(text) <= limit:
            return text
    return said
