"""Section `cameras`: sources with a name and wishes of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.config.registry import nearest
from pipeline.core.errors import ConfigError, UsageError
from pipeline.runtime.camera_filter import Area, CameraWishes, Gate

if TYPE_CHECKING:
    from pipeline.config.schema import RunConfig
    from sources.address import SourceAddress

LIVE_KINDS = ("camera", "network")
"""Kinds of source that go on whether anybody reads them or not."""
Point = tuple[float, float]


class CameraSettings(BaseModel):
    """One camera. What is absent is as in the sections that all share."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(description="file, camera number or URL, as after --source")
    classes: tuple[int | str, ...] | None = Field(default=None, description="only these classes (names or ids)")
    conf_thres: float | None = Field(default=None, ge=0, le=1, description="only boxes from this confidence on")
    fps_cap: float | None = Field(default=None, gt=0, description="at most so many frames per second")
    region: tuple[Point, ...] | Path | None = Field(
        default=None,
        description="polygon of [x, y] from 0 to 1, or a mask image (white = inside): only boxes that stand in it",
    )
    motion_gate: bool | dict[str, Any] = Field(
        default=False, description="no detection while nothing moves; true, or settings (threshold, every_s …)"
    )
    rules: dict[str, Any] | None = Field(default=None, description="lines and zones, as below analytics.sources.NAME")
    outputs: tuple[str, ...] = Field(default=(), description="what this camera alone writes, as after -o")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="settings of its kind of source (transport, read_timeout_s …)"
    )

    @field_validator("source", mode="before")
    @classmethod
    def _a_number_is_a_camera(cls, value: Any) -> Any:
        return str(value) if type(value) is int else value

    @field_validator("region")
    @classmethod
    def _a_polygon_within_the_picture(cls, value: Any) -> Any:
        if isinstance(value, tuple):
            if len(value) < 3:
                raise ValueError(f"wanted a polygon of 3 points or more, found {len(value)}")
            if any(not 0 <= number <= 1 for point in value for number in point):
                raise ValueError("wanted points from 0 to 1 of the picture's width and height, found one outside")
        return value


def addresses_of(config: RunConfig) -> list[SourceAddress]:
    """Every source of a configuration: those of `sources`, then the cameras under their own names.

    Raises:
        SourceError, UsageError: an address that leads nowhere, or to several sources; a name that stands twice.
    """
    from dataclasses import replace

    from sources.address import expand_sources, safe_name

    found = expand_sources(config.sources)
    taken = {address.source_id.casefold() for address in found}
    for name, camera in config.cameras.items():
        if safe_name(name) != name:
            raise ConfigError(f"cameras.{name}: wanted a name of letters, digits, '.', '_' and '-'")
        if name.casefold() in taken:
            raise ConfigError(f"cameras.{name}: wanted each name once, found another source of that name")
        taken.add(name.casefold())
        own = expand_sources([camera.source])
        if len(own) != 1:
            raise UsageError(f"cameras.{name}.source: wanted one source, found {len(own)}")
        found.append(replace(own[0], source_id=name))
    return found


def with_camera_rules(config: RunConfig) -> RunConfig:
    """The configuration with every camera's rules below `analytics.sources`, where all others are.

    Raises:
        ConfigError: rules stand at both places.
    """
    rules = {name: camera.rules for name, camera in config.cameras.items() if camera.rules is not None}
    if not rules:
        return config
    there = config.analytics.get("sources") or {}
    for name, own in rules.items():
        if name in there and there[name] != own:
            raise ConfigError(f"cameras.{name}.rules: there are rules in analytics.sources.{name} too; keep one")
    return config.model_copy(update={"analytics": {**config.analytics, "sources": {**there, **rules}}})


def wishes_of(config: RunConfig, class_names: Sequence[str]) -> dict[str, CameraWishes]:
    """What each camera wants of the detector.

    Raises:
        ConfigError: a class that the detector does not know, or settings of a gate that cannot work.
        SourceError: a mask image that cannot be used.
    """
    return {name: _wishes(name, camera, class_names) for name, camera in config.cameras.items()}


def _wishes(name: str, camera: CameraSettings, class_names: Sequence[str]) -> CameraWishes:
    ids = None if camera.classes is None else frozenset(_class_id(name, c, class_names) for c in camera.classes)
    return CameraWishes(ids, camera.conf_thres, _area(camera), _gate(name, camera))


def _class_id(name: str, wanted: int | str, class_names: Sequence[str]) -> int:
    if isinstance(wanted, int) and 0 <= wanted < len(class_names):
        return wanted
    if wanted in class_names:
        return list(class_names).index(str(wanted))
    raise ConfigError(
        f"cameras.{name}.classes: wanted a class of the detector, found {wanted!r}{nearest(str(wanted), class_names)}"
    )


def _area(camera: CameraSettings) -> Area | None:
    if camera.region is None:
        return None
    from sources.region import Region

    return Region.of_image(camera.region) if isinstance(camera.region, Path) else Region.of_polygon(camera.region)


def _gate(name: str, camera: CameraSettings) -> Gate | None:
    if camera.motion_gate is False:
        return None
    from pipeline.config.validate import validated
    from sources.motion_gate import MotionGate, MotionGateConfig

    section: Mapping[str, Any] = {} if camera.motion_gate is True else camera.motion_gate
    return MotionGate(validated(MotionGateConfig, section, f"cameras.{name}.motion_gate"))
