"""What rules a source can have. The same keys serve a run's `analytics:` section, a rules file, and Python."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, FiniteFloat
from pydantic.dataclasses import dataclass

Point = tuple[FiniteFloat, FiniteFloat]
Units = Literal["fraction", "px"]
Anchor = Literal["bottom_center", "center", "top_center"]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f/\\]+$")]
_FORBID = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class LineConfig:
    """A line whose crossings are counted.

    A crossing from the left to the right of someone who stands at the first point and looks at the second, as the
    picture shows it, is `in`; the other way is `out`.
    """

    name: Name = Field(description="unique among the lines and zones of the source")
    points: tuple[Point, Point] = Field(description="the two ends, [[x, y], [x, y]]")
    classes: tuple[str, ...] = Field(default=(), description="classes that count; empty = all")
    label_in: str = Field(
        default="in", min_length=1, max_length=24, description="what crossings to the right are called"
    )
    label_out: str = Field(default="out", min_length=1, max_length=24, description="what the others are called")
    band_px: float | None = Field(
        default=None,
        ge=0,
        description="an object changes sides once it is this far beyond the line (px); absent = 1 % of the diagonal, "
        "15 px or more",
    )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class MotionConfig:
    """What motion in a zone is worth an event. Speeds are in km/h with a ground plane, else in px/s."""

    max_speed: float | None = Field(default=None, gt=0, description="faster is `speeding` (km/h or px/s)")
    direction: tuple[Point, Point] | None = Field(
        default=None, description="from the first point to the second is the right way; against it is `wrong_way`"
    )
    tolerance_deg: float = Field(
        default=60.0,
        gt=0,
        lt=90,
        description="motion is wrong up to this far off the opposite of the right way; motion across is neither",
    )
    min_speed: float | None = Field(
        default=None, gt=0, description="slower than this has no direction; absent = 2 km/h, or 5 % of the height per s"
    )
    stopped_s: float | None = Field(default=None, gt=0, description="standing still for longer is `stopped` (s)")
    stopped_speed: float | None = Field(
        default=None, gt=0, description="slower stands still; absent = 1 km/h, or 2 % of the height per s"
    )
    sudden_stop_from: float | None = Field(
        default=None, gt=0, description="from this speed to a stand within sudden_stop_s is `sudden_stop`"
    )
    sudden_stop_s: float = Field(default=1.5, gt=0, description="how fast the speed must be lost (s)")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class ZoneConfig:
    """A polygon whose visitors are counted and timed."""

    name: Name = Field(description="unique among the lines and zones of the source")
    polygon: tuple[Point, ...] = Field(min_length=3, max_length=256, description="corners in order, [[x, y], ...]")
    classes: tuple[str, ...] = Field(default=(), description="classes that count; empty = all")
    band_px: float | None = Field(
        default=None,
        ge=0,
        description="an object leaves once it is this far outside (px); absent = 1 % of the diagonal, 15 px or more",
    )
    min_visit_s: float = Field(default=0.0, ge=0, description="shorter stays are no visits (s)")
    grace_s: float = Field(
        default=1.0, ge=0, le=60, description="an object inside that is not seen for this long has left (s)"
    )
    loiter_s: float | None = Field(default=None, gt=0, description="a longer visit is `loitering` (s)")
    crowd: int | None = Field(default=None, ge=1, description="more objects than this are `crowding`")
    crowd_s: float = Field(
        default=1.0, ge=0, description="... once it has lasted this long, and until it is over so long"
    )
    empty_s: float | None = Field(default=None, gt=0, description="nobody for longer is `empty` (s)")
    motion: MotionConfig | None = Field(default=None, description="events of speed and direction in the zone")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class GroundPlaneConfig:
    """Where points of the picture lie on the ground, so that speeds are in km/h."""

    image: tuple[Point, ...] = Field(min_length=4, max_length=64, description="points on the ground in the picture")
    world_m: tuple[Point, ...] = Field(min_length=4, max_length=64, description="the same points on a plan (m)")
    max_error_px: float = Field(
        default=5.0, gt=0, description="more than four points that disagree by more are refused (px, root mean square)"
    )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class StitchConfig:
    """When a track that breaks off and one that appears are one object."""

    enabled: bool = Field(default=True, description="off: every track id is an object of its own")
    gap_s: float = Field(default=1.0, gt=0, le=30, description="longest gap (s)")
    min_iou: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="least likeness of new box and old one (IoU, with the old one moved on, times the ratio of sizes) "
        "after 1 s or longer; less in proportion after shorter gaps, 0.1 at the least",
    )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class HeatmapConfig:
    """A grid of presence and motion."""

    columns: int = Field(default=64, ge=4, le=512, description="cells across the picture; cells are square")
    classes: tuple[str, ...] = Field(default=(), description="classes that count; empty = all")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class SourceRules:
    """The rules of one source."""

    units: Units = Field(default="fraction", description="coordinates are fractions of width and height, or pixels")
    anchor: Anchor = Field(default="bottom_center", description="the point of a box that is inside or crosses")
    lines: tuple[LineConfig, ...] = Field(default=(), max_length=1000, description="lines to count at")
    zones: tuple[ZoneConfig, ...] = Field(default=(), max_length=1000, description="areas to watch; may overlap")
    ground_plane: GroundPlaneConfig | None = Field(default=None, description="makes speeds km/h")
    speed_window_s: float = Field(default=1.0, gt=0, le=10, description="speeds are means over this time (s)")
    heatmap: HeatmapConfig | None = Field(default=None, description="where objects were; absent = not kept")
    stitch: StitchConfig = Field(default=StitchConfig(), description="broken tracks that are one object")
    forget_s: float = Field(
        default=5.0, gt=0, le=3600, description="an object not seen for longer is gone; seen again, it is a new one (s)"
    )
    objects: bool = Field(default=True, description="one event per unique object, from first to last sighting")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class AnalyticsConfig:
    """Rules by source."""

    sources: dict[str, SourceRules] = Field(
        default_factory=dict,
        description="by source id, or by a pattern with * and ?; an exact name wins, else the first pattern that fits",
    )
