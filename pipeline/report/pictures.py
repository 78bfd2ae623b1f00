"""Pictures inside a page: thumbnails of events, and where objects were drawn over the scene."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np

from pipeline.core.arrays import Float64Array, FloatArray, ImageArray
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import TracklightError
from pipeline.core.scene import Heatmap
from pipeline.records.address import StoreAddress
from pipeline.records.rows import StoredEvent
from pipeline.records.snapshot_place import snapshot_path
from pipeline.report.markup import Markup, tag
from pipeline.report.numbers import SourceNumbers, TimedEvent

THUMBNAIL_PX = 400
_GROUND_PX = 1000
_HEAT_PX = 384
_QUALITY = 72
_ARROWS_ACROSS = 16
_FEWEST_STEPS_S = 0.2
"""Less presence than this in a cell says nothing about how objects move there."""


def pictured_events(
    sources: Sequence[SourceNumbers], address: StoreAddress, most: int
) -> list[tuple[SourceNumbers, TimedEvent, str]]:
    """Events with their thumbnails as data URLs, in turn from each source; those whose picture is gone are left out."""
    in_turn = (
        pair
        for row in zip_longest(*([(source, timed) for timed in source.pictured] for source in sources))
        for pair in row
        if pair is not None
    )
    found: list[tuple[SourceNumbers, TimedEvent, str]] = []
    for source, timed in in_turn:
        if len(found) >= most:
            break
        picture = _read(address, timed.event)
        if picture is not None:
            found.append((source, timed, _jpeg_url(picture, THUMBNAIL_PX)))
    return found


def scene_picture(source: SourceNumbers, address: StoreAddress) -> ImageArray | None:
    """What the source looks like: the first frame of its file, or else the newest picture of an event."""
    if not source.is_live and source.address and (path := Path(source.address)).is_file():
        frame = _first_frame(path)
        if frame is not None:
            return frame
    pictures = (_read(address, timed.event) for timed in source.pictured)
    return next((picture for picture in pictures if picture is not None), None)


def heatmap_picture(heatmap: Heatmap, size_px: tuple[int, int], scene: ImageArray | None) -> Markup:
    """SVG of presence over the scene, or over neutral ground, with arrows where objects moved.

    Args:
        heatmap: presence and flow.
        size_px: width and height of the source's frames.
        scene: uint8 (h, w, 3) BGR of any size, or None.
    """
    width, height = size_px
    rows, columns = heatmap.presence_s.shape
    across, down = columns * heatmap.cell_px, rows * heatmap.cell_px
    ground = None
    if scene is not None:
        # Without colours of its own, so that those of presence stand out.
        grey = cv2.cvtColor(cv2.cvtColor(scene, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        url = _jpeg_url(np.asarray(grey * 0.6).astype(np.uint8), _GROUND_PX)
        ground = tag("image", href=url, width=width, height=height, preserveAspectRatio="none")
    heat = tag("image", href=_heat_url(heatmap), width=across, height=down, preserveAspectRatio="none")
    return tag(
        "svg",
        tag("title", "Presence: the brighter, the longer objects were there. Arrows: where they went."),
        tag("rect", width=width, height=height, class_="neutral"),
        ground,
        heat,
        *_arrows(heatmap),
        viewBox=f"0 0 {width} {height}",
        role="img",
        class_="heatmap",
    )


def _heat_url(heatmap: Heatmap) -> str:
    """PNG of the grid, from clear to bright."""
    # Boxes move by whole cells: a little blur makes their ways one piece.
    presence_s = np.asarray(cv2.GaussianBlur(heatmap.presence_s, (3, 3), 0), np.float32)
    share = np.sqrt(presence_s / max(_full_s(presence_s), 1e-9)).clip(0, 1)
    colors = cv2.applyColorMap((share * 165 + 90).astype(np.uint8), cv2.COLORMAP_INFERNO)
    alpha = np.clip(share * 700, 0, share * 165 + 80).astype(np.uint8)
    # Larger than the grid, so that every browser shows the same soft edges.
    finer = max(_HEAT_PX // share.shape[1], 1)
    picture = cv2.resize(np.dstack([colors, alpha]), None, fx=finer, fy=finer, interpolation=cv2.INTER_LINEAR)
    return _url("png", np.asarray(picture, np.uint8), [])


def _full_s(presence_s: FloatArray) -> float:
    """Seconds that are shown brightest: what only one cell in a hundred of those in use exceeds."""
    used = presence_s[presence_s > 0]
    return float(np.percentile(used, 99)) if len(used) else 0.0


def _arrows(heatmap: Heatmap) -> list[Markup]:
    """Mean ways in blocks of cells, as long as a second of motion, at most a block."""
    block = max(round(heatmap.presence_s.shape[1] / _ARROWS_ACROSS), 1)
    rows, columns = (size // block for size in heatmap.presence_s.shape)
    side = block * heatmap.cell_px
    arrows = []
    for row in range(rows):
        for column in range(columns):
            part = np.s_[row * block : (row + 1) * block, column * block : (column + 1) * block]
            presence, flow = heatmap.presence_s[part].astype(np.float64), heatmap.flow_px_s[part].astype(np.float64)
            moving = np.where(np.hypot(flow[..., 0], flow[..., 1]) > 0, presence, 0.0)
            if moving.sum() < _FEWEST_STEPS_S:
                continue
            way: Float64Array = (flow * moving[..., None]).sum((0, 1)) / moving.sum()
            length = float(np.hypot(*way))
            if length < side / 8:
                continue
            way *= min(1.0, 0.85 * side / length)
            arrows.append(_arrow((column + 0.5) * side, (row + 0.5) * side, way, side))
    return arrows


def _arrow(x: float, y: float, way: Float64Array, side: float) -> Markup:
    from_x, from_y, to_x, to_y = x - way[0] / 2, y - way[1] / 2, x + way[0] / 2, y + way[1] / 2
    back = way / max(float(np.hypot(*way)), 1e-9) * side * 0.2
    left, right = (
        (to_x - back[0] - back[1], to_y - back[1] + back[0]),
        (to_x - back[0] + back[1], to_y - back[1] - back[0]),
    )
    d = (
        f"M{from_x:.1f} {from_y:.1f}L{to_x:.1f} {to_y:.1f}"
        f"M{left[0]:.1f} {left[1]:.1f}L{to_x:.1f} {to_y:.1f}L{right[0]:.1f} {right[1]:.1f}"
    )
    return tag("path", class_="arrow", d=d, stroke_width=f"{side / 14:.1f}")


def _read(address: StoreAddress, event: StoredEvent) -> ImageArray | None:
    path = snapshot_path(address, event.snapshot)
    if path is None or not path.is_file():
        return None
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    return None if picture is None else np.asarray(picture, np.uint8)


def _first_frame(path: Path) -> ImageArray | None:
    """None where the file cannot be read any more."""
    from sources.video_file import VideoFileConfig, VideoFileSource

    source = VideoFileSource(VideoFileConfig(path=path, threads=1), source_id="report", clock=MonotonicClock())
    try:
        source.open()
        frame = source.read()
    except TracklightError:
        return None
    finally:
        source.close()
    return None if frame is None else frame.image


def _jpeg_url(picture: ImageArray, long_side_px: int) -> str:
    scale = min(long_side_px / max(picture.shape[:2]), 1.0)
    if scale < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return _url("jpeg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _url(kind: str, picture: ImageArray, settings: list[int]) -> str:
    _, data = cv2.imencode(f".{kind}", np.ascontiguousarray(picture), settings)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
