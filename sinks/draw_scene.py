"""Draws what analytics know of a source into its pictures: heat map, zones, lines, counts."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.arrays import FloatArray, ImageArray
from pipeline.core.scene import Scene
from sinks.counts_panel import CountsPanel
from sinks.heat_overlay import HeatOverlay
from sinks.labels import LabelLayout, LabelWriter
from sinks.rule_shapes import RuleShapes


class SceneDrawer:
    """Draws the scenes of one source.

    Args:
        class_names: names by class_id.
        lines: draw lines and what has crossed them.
        zones: draw zones and who is in them.
        counts: draw the panel of objects seen so far.
        heatmap: draw the heat map, where the scene has one.
    """

    def __init__(self, class_names: Sequence[str], *, lines: bool, zones: bool, counts: bool, heatmap: bool) -> None:
        self._shapes = RuleShapes(lines=lines, zones=zones)
        self._panel = CountsPanel(class_names) if counts else None
        self._heat = HeatOverlay() if heatmap else None

    def draw_below(self, image: ImageArray, scene: Scene, at_s: float, line_px: int) -> None:
        """What lies under the objects.

        Args:
            image: uint8 (h, w, 3) BGR, changed.
            scene: the state at this frame.
            at_s: time of the frame (s).
            line_px: width of strokes.
        """
        if self._heat is not None and scene.heatmap is not None:
            self._heat.draw(image, scene.heatmap, at_s)
        self._shapes.draw_shapes(image, scene, line_px)

    def draw_above(
        self,
        image: ImageArray,
        scene: Scene,
        writer: LabelWriter,
        places: LabelLayout,
        boxes: FloatArray,
        line_px: int,
    ) -> None:
        """Text, after `draw_below` of the same scene.

        Args:
            image: uint8 (h, w, 3) BGR, changed.
            scene: the state at this frame.
            writer: writes in the size of the picture.
            places: places that are taken from then on.
            boxes: float32 (n, 4) xyxy px of the objects.
            line_px: width of strokes.
        """
        if self._panel is not None:
            self._panel.draw(image, scene.n_objects, writer, places, shapes=self._shapes.tint, boxes=boxes)
        self._shapes.draw_labels(image, scene, writer, places, line_px)
