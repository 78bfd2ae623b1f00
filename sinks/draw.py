"""Draws what was found onto a copy of the frame, at any resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import ImageArray
from pipeline.core.frame import Frame
from pipeline.core.result import FrameResult
from sinks.draw_scene import SceneDrawer
from sinks.labels import LabelLayout, LabelWriter
from sinks.objects import ShownObjects, class_name, shown_objects
from sinks.palette import Bgr, color_of, darker, lighter
from sinks.trails import Trails

_SHIFT = 3
"""Fractional bits of coordinates given to OpenCV: eighths of a pixel keep slow objects from jumping."""
_FAR_PX = 1e5
"""A box may reach far outside the picture; OpenCV's coordinates are 32 bits with `_SHIFT` of them a fraction."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DrawConfig:
    """What is drawn, and how large."""

    boxes: bool = Field(default=True, description="draw boxes; dashed where a track is predicted only")
    labels: bool = Field(default=True, description="write the class name")
    ids: bool = Field(default=True, description="write the track id")
    confidence: bool = Field(default=True, description="write the confidence")
    trails: bool = Field(default=True, description="draw where each track has been")
    lines: bool = Field(default=True, description="draw lines and what has crossed them")
    zones: bool = Field(default=True, description="draw zones, who is in them and how many visits they had")
    counts: bool = Field(default=True, description="draw how many different objects were seen, by class")
    notes: bool = Field(default=True, description="write speed or dwell beside the label")
    heatmap: bool = Field(default=False, description="lay where objects spent time over the picture")
    trail_s: float = Field(default=2.0, gt=0, le=60, description="length of the trails (s)")
    color_by: Literal["class", "track"] = Field(default="class", description="what a colour stands for")
    line_width_px: int | None = Field(default=None, ge=1, le=64, description="width of lines (px); absent = by size")
    text_size_px: int | None = Field(default=None, ge=6, le=400, description="size of text (px); absent = by size")


class Annotator:
    """Draws results. It remembers trails, so give it the results of a source in order; sources may be mixed.

    Args:
        config: what is drawn.
        class_names: names by class_id.
    """

    def __init__(self, config: DrawConfig, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._trails: dict[str, Trails] = {}
        self._writers: dict[int, LabelWriter] = {}
        self._drawers: dict[str, SceneDrawer] = {}

    def draw(self, result: FrameResult) -> ImageArray:
        """A copy of the frame's image, uint8 (h, w, 3) BGR, with what was found drawn on it.

        From bottom to top: heat map, zones and lines, trails, boxes (of tracks, or of detections), text.
        """
        image = result.frame.image.copy()
        shown = shown_objects(result)
        if result.filled:
            # Every box of such a frame is assumed: dashed in these frames and whole in the others, it would flicker.
            shown = replace(shown, predicted=np.zeros(len(shown), np.bool_))
        line_px, text_px = self._sizes(result.frame)
        colors = self._colors(shown)
        scene, drawer = result.scene, self._drawer(result.frame.source_id)
        if scene is not None:
            drawer.draw_below(image, scene, _time_s(result.frame), line_px)
        if self._config.trails and result.tracked:
            self._draw_trails(image, result, colors, line_px)
        if self._config.boxes:
            _draw_boxes(image, shown, colors, line_px)
        writer, layout = self._writer(text_px), LabelLayout(result.frame.shape_hw)
        if scene is not None:
            # Before the objects' labels, which go round them: what does not move keeps its place.
            drawer.draw_above(image, scene, writer, layout, shown.xyxy, line_px)
        notes = scene.notes if scene is not None and self._config.notes else {}
        self._draw_labels(image, shown, colors, notes, writer, layout, line_px)
        return image

    def _drawer(self, source_id: str) -> SceneDrawer:
        if source_id not in self._drawers:
            config = self._config
            self._drawers[source_id] = SceneDrawer(
                self._class_names,
                lines=config.lines,
                zones=config.zones,
                counts=config.counts,
                heatmap=config.heatmap,
            )
        return self._drawers[source_id]

    def _writer(self, text_px: int) -> LabelWriter:
        if text_px not in self._writers:
            self._writers[text_px] = LabelWriter(text_px)
        return self._writers[text_px]

    def _sizes(self, frame: Frame) -> tuple[int, int]:
        """Line width and text size: 2 and 15 px at 1280x720, growing with the picture's side."""
        height, width = frame.shape_hw
        side = math.sqrt(height * width)
        line_px = self._config.line_width_px or math.ceil(side / 520)
        text_px = self._config.text_size_px or max(10, round(side / 64))
        return line_px, text_px

    def _colors(self, shown: ShownObjects) -> list[Bgr]:
        by_track = self._config.color_by == "track" and shown.track_id is not None
        numbers = shown.track_id if by_track and shown.track_id is not None else shown.class_id
        plain = [color_of(number) for number in numbers.tolist()]
        return [lighter(c) if p else c for c, p in zip(plain, shown.predicted.tolist(), strict=True)]

    def _draw_trails(self, image: ImageArray, result: FrameResult, colors: list[Bgr], line_px: int) -> None:
        trails = self._trails.setdefault(result.frame.source_id, Trails(self._config.trail_s))
        trails.add_result(result, _time_s(result.frame))
        for row, color in enumerate(colors):
            path = _fixed_point(trails.path_to(result.tracks, row))
            # The old half is thin, so that the direction of motion shows.
            middle = len(path) // 2
            for part, width in ((path[: middle + 1], max(1, line_px // 2)), (path[middle:], line_px)):
                if len(part) >= 2:
                    cv2.polylines(image, [part], False, color, width, cv2.LINE_AA, _SHIFT)

    def _draw_labels(
        self,
        image: ImageArray,
        shown: ShownObjects,
        colors: list[Bgr],
        notes: Mapping[int, str],
        writer: LabelWriter,
        layout: LabelLayout,
        line_px: int,
    ) -> None:
        edge = line_px // 2
        boxes = np.clip(shown.xyxy, -_FAR_PX, _FAR_PX).round().astype(int) + np.array([-edge, -edge, edge, edge])
        places = boxes.tolist()
        # Old tracks choose first: their labels keep their places when new objects come.
        order = range(len(shown)) if shown.track_id is None else np.argsort(shown.track_id).tolist()
        for row in order:
            text = self._text(shown, row, notes, writer)
            if not text:
                continue
            width = writer.width_px(text)
            place = layout.place(tuple(places[row]), width, writer.height_px)
            writer.write(image, text, place, width, colors[row])

    def _text(self, shown: ShownObjects, row: int, notes: Mapping[int, str], writer: LabelWriter) -> str:
        parts = []
        if self._config.labels:
            class_id = int(shown.class_id[row])
            name = class_name(self._class_names, class_id)
            parts.append(name if writer.can_write(name) else f"class {class_id}")
        if self._config.ids and shown.track_id is not None:
            parts.append(f"#{shown.track_id[row]}")
        if self._config.confidence:
            parts.append(f"{shown.confidence[row]:.2f}")
        if shown.track_id is not None:
            note = notes.get(int(shown.track_id[row]), "")
            if note and writer.can_write(note):
                parts.append(note)
        # Two spaces: in small text "#3 0.75" reads like 30.75.
        return "  ".join(parts)


def _time_s(frame: Frame) -> float:
    return frame.pts_s if frame.pts_s is not None else frame.captured_ns / 1e9


def _fixed_point(points: np.ndarray) -> np.ndarray:
    """(..., 2) px within _FAR_PX to the int32 coordinates that OpenCV reads with `shift=_SHIFT`."""
    fixed: np.ndarray = np.rint(points * (1 << _SHIFT)).astype(np.int32)
    return fixed


def _draw_boxes(image: ImageArray, shown: ShownObjects, colors: list[Bgr], line_px: int) -> None:
    boxes = np.clip(shown.xyxy, -_FAR_PX, _FAR_PX)
    corners = _fixed_point(boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2))
    for row, (color, dashed) in enumerate(zip(colors, shown.predicted.tolist(), strict=True)):
        lines = [corners[row]]
        if dashed:
            lines = [_fixed_point(dash) for dash in _dashes(boxes[row].tolist(), 6.0 * line_px, image.shape[:2])]
        # A darker rim keeps the box visible on a background of its own colour.
        if line_px >= 2:
            cv2.polylines(image, lines, not dashed, darker(color), line_px + 2, cv2.LINE_AA, _SHIFT)
        cv2.polylines(image, lines, not dashed, color, line_px, cv2.LINE_AA, _SHIFT)


def _dashes(box: Sequence[float], dash_px: float, shape_hw: tuple[int, int]) -> list[np.ndarray]:
    """The sides of a box as dashes, each (2, 2) float px; only those in the image, for a box may be far larger."""
    x1, y1, x2, y2 = box
    height, width = shape_hw
    across = [((a, y), (b, y)) for y in (y1, y2) for a, b in _spans(x1, x2, dash_px, width)]
    down = [((x, a), (x, b)) for x in (x1, x2) for a, b in _spans(y1, y2, dash_px, height)]
    return [np.array(dash) for dash in across + down]


def _spans(start: float, end: float, dash_px: float, limit: float) -> list[tuple[float, float]]:
    """Dashes between `start` and `end`, with gaps as long, as far as they lie between 0 and `limit`."""
    period = 2 * dash_px
    first = start + period * max(0, math.floor(-start / period))
    begins = np.arange(first, min(end, limit), period).tolist()
    return [(begin, min(begin + dash_px, end)) for begin in begins]
