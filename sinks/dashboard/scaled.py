"""A result in the size in which it is shown: drawing is cheap then, and its text can be read."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pipeline.core.arrays import ImageArray
from pipeline.core.result import FrameResult
from pipeline.core.scene import Scene, SceneLayout


class Scaler:
    """Shrinks the results of one source.

    Args:
        long_side_px: no side of a picture is longer.
    """

    def __init__(self, long_side_px: int) -> None:
        self._long_side_px = long_side_px
        self._layout: tuple[SceneLayout, float, SceneLayout] | None = None

    def scale(self, result: FrameResult) -> FrameResult:
        """The result with a smaller picture, and boxes and rules that fit it; itself where it is small already."""
        frame = result.frame
        height, width = frame.shape_hw
        scale = self._long_side_px / max(height, width)
        if scale >= 1:
            return result
        size = max(1, round(width * scale)), max(1, round(height * scale))
        image: ImageArray = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
        factor = np.array([size[0] / width, size[1] / height] * 2, np.float32)
        return replace(
            result,
            frame=replace(frame, image=image),
            detections=replace(result.detections, xyxy=result.detections.xyxy * factor),
            tracks=replace(result.tracks, xyxy=result.tracks.xyxy * factor),
            scene=None if result.scene is None else self._scaled_scene(result.scene, scale),
        )

    def _scaled_scene(self, scene: Scene, scale: float) -> Scene:
        # The same object as long as nothing changes: those who draw it paint it once.
        if self._layout is None or self._layout[0] is not scene.layout or self._layout[1] != scale:
            layout = scene.layout
            smaller = replace(
                layout, lines_px=layout.lines_px * scale, zones_px=tuple(zone * scale for zone in layout.zones_px)
            )
            self._layout = (layout, scale, smaller)
        return replace(scene, layout=self._layout[2])
