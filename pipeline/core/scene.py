"""The state of a source's rules at one frame: what pictures show of them, and what is left when the source ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.arrays import BoolArray, Float64Array, FloatArray, IntArray
from pipeline.core.event import Event


@dataclass(frozen=True, slots=True, eq=False)
class SceneLayout:
    """Where the rules of a source lie. One object for all frames of one size.

    Attributes:
        line_names: by line.
        line_labels: (in, out) by line, what crossings in either direction are called.
        lines_px: float64 (L, 2, 2): the two ends, x, y. `in` is the crossing from the left to the right of someone
            who stands at the first end and looks at the second, as the picture shows it.
        zone_names: by zone.
        zones_px: float64 (k, 2) by zone: the corners.
    """

    line_names: tuple[str, ...]
    line_labels: tuple[tuple[str, str], ...]
    lines_px: Float64Array
    zone_names: tuple[str, ...]
    zones_px: tuple[Float64Array, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Counts and states at one frame. Nobody changes it.

    Attributes:
        layout: where the rules lie.
        crossings: int64 (L, 2): crossings in and out so far.
        occupancy: int64 (Z,): objects in each zone now.
        visits: int64 (Z,): visits begun so far.
        alarms: bool (Z,): an event other than visits goes on in the zone.
        n_objects: unique objects so far, by class name.
        heatmap: float32 (rows, cols): seconds of presence by cell, or None where it is not asked for. The array goes on
            changing: it is for pictures, which may show it slightly older or newer.
        notes: short texts by track id (speed, dwell), shown with the object's label.
    """

    layout: SceneLayout
    crossings: IntArray
    occupancy: IntArray
    visits: IntArray
    alarms: BoolArray
    n_objects: Mapping[str, int] = field(default_factory=dict)
    heatmap: FloatArray | None = None
    notes: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Heatmap:
    """Where objects were and how they moved, over a whole source.

    Attributes:
        cell_px: side of a cell, in the pixels of the source.
        presence_s: float32 (rows, cols): seconds of presence of anchor points.
        flow_px_s: float32 (rows, cols, 2): mean velocity x, y of what moved through the cell (px/s).
    """

    cell_px: float
    presence_s: FloatArray
    flow_px_s: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Closing:
    """What a source's analytics say once its last frame has passed.

    Attributes:
        source_id: which source.
        end_s: time of its last frame (s), as in Event.
        captured_ns: of its last frame.
        events: those that its end has ended.
        scene: the final state, or None if no frame came.
        heatmap: or None where it was not asked for.
        summary: averages and maxima that no event tells, by rule:
            {"zone": {"occupancy_mean": ..., "occupancy_max": ...}}.
    """

    source_id: str
    end_s: float
    captured_ns: int
    events: tuple[Event, ...] = ()
    scene: Scene | None = None
    heatmap: Heatmap | None = None
    summary: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
