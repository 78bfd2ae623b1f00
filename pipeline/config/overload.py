"""`runtime.overload` and `runtime.scheduler`: what gives way when live frames come too fast, and which is next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.config.registry import TRACKERS
from pipeline.core.errors import ConfigError, UsageError
from pipeline.core.protocols import Clock, ForecastingTracker
from pipeline.runtime.compensate import Compensate
from pipeline.runtime.ladder import LadderDetector
from pipeline.runtime.overload import STEPPED, WITH_LADDER, OverloadPolicy, OverloadRules
from pipeline.streaming.schedulers import Scheduler, scheduler

if TYPE_CHECKING:
    from detector.detector import YoloDetector
    from detector.open_network import OpenedNetwork
    from pipeline.config.schema import RunConfig

_SHARED = "img_size"
"""Detectors that differ in nothing else share their network."""


class RungSettings(BaseModel):
    """One rung: what differs from the section `detector`. A number stands for img_size, a text for weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str | None = Field(default=None, description="as detector.weights")
    weights_sha256: str | None = Field(default=None, description="as detector.weights_sha256")
    img_size: int | tuple[int, int] | None = Field(default=None, description="as detector.img_size (px)")
    backend: str | None = Field(default=None, description="as detector.backend")
    precision: str | None = Field(default=None, description="as detector.precision")
    accuracy: float | None = Field(
        default=None, ge=0, le=1, description="offline accuracy, such as AP (share of 1); needed for policy best"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"weights": value}
        return {"img_size": value} if type(value) is int or isinstance(value, list) else value

    @property
    def changes(self) -> dict[str, Any]:
        """Keys of the section `detector` that differ."""
        changes = self.model_dump(exclude={"accuracy"}, exclude_none=True)
        # The digest of one file says nothing of another.
        return {"weights_sha256": None, **changes} if "weights" in changes else changes

    @property
    def name(self) -> str:
        """The rung in reports."""
        size = "x".join(map(str, self.img_size)) if isinstance(self.img_size, tuple) else self.img_size
        weights = Path(self.weights).name if self.weights is not None else None
        parts = [part for part in (weights, size, self.backend, self.precision) if part is not None]
        return " ".join(map(str, parts)) or "as detector"


class OverloadSettings(BaseModel):
    """What gives way when live frames come faster than they are detected. A text stands for the policy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    policy: OverloadPolicy = Field(
        default=OverloadPolicy.DROP,
        description="drop: frames; every_nth: detection, tracks fill in; smaller_input, lighter_model: step by step "
        "down the ladder; best: the rung with the best streaming accuracy expected",
    )
    every_nth: int | Literal["auto"] = Field(
        default="auto",
        description="under every_nth, detect every n-th frame, of recorded sources too; auto: by load, live ones only",
    )
    ladder: tuple[RungSettings, ...] = Field(
        default=(), description="detectors from heavy to light, the first is where the run begins: [640, 512, 416]"
    )
    max_missed: float = Field(
        default=0.1, ge=0, lt=1, description="more of the frames due missed is an overload (share of 1)"
    )
    max_age_ms: float | None = Field(
        default=None, gt=0, description="older results (95th percentile) are an overload too (ms); null = any age"
    )
    window_s: float = Field(default=3.0, ge=0.5, le=60, description="over how long is measured (s)")
    recover_s: float = Field(default=10.0, ge=0, description="how long there must be room before a step up (s)")
    max_held: int = Field(
        default=30, ge=1, le=300, description="under every_nth, frames of a live source that wait to be filled in"
    )

    @model_validator(mode="before")
    @classmethod
    def _a_text_is_the_policy(cls, value: Any) -> Any:
        return {"policy": value} if isinstance(value, str) else value

    @field_validator("every_nth")
    @classmethod
    def _from_one(cls, value: Any) -> Any:
        if value != "auto" and value < 1:
            raise ValueError("wanted a whole number from 1, or auto")
        return value


def check_overload(config: RunConfig) -> None:
    """Refuse settings that cannot work together, before anything heavy is loaded.

    Raises:
        ConfigError: one line that says what was wanted.
    """
    settings = config.runtime.overload
    where, policy = "runtime.overload", settings.policy
    _check_scheduler(config)
    if settings.every_nth != "auto" and policy is not OverloadPolicy.EVERY_NTH:
        raise ConfigError(f"{where}.every_nth: wanted policy every_nth beside it, found {policy}")
    if settings.ladder and policy not in WITH_LADDER:
        raise ConfigError(f"{where}.ladder: wanted policy {', '.join(WITH_LADDER)} beside it, found {policy}")
    if policy in WITH_LADDER:
        _check_ladder(policy, settings.ladder, f"{where}.ladder")
    kind = str(config.tracker.get("kind", "bytetrack"))
    if policy is OverloadPolicy.BEST and kind == "none":
        raise ConfigError(
            f"{where}: wanted a tracker, to tell for best how fast the scene changes, found tracker.kind none"
        )
    if policy is OverloadPolicy.EVERY_NTH:
        entry = TRACKERS.get(kind)
        if entry is None or not issubclass(entry.stage_class(), ForecastingTracker):
            raise ConfigError(
                f"{where}: wanted a tracker that tells where its tracks are going, to fill in with, found tracker.kind "
                f"{kind}"
            )


def _check_scheduler(config: RunConfig) -> None:
    name, policy = config.runtime.scheduler, config.runtime.overload.policy
    try:
        scheduler(name)
    except UsageError as error:
        raise ConfigError(f"runtime.scheduler: {str(error).partition(': ')[2]}") from None
    if name == "idle-free":
        return
    if policy is OverloadPolicy.EVERY_NTH:
        raise ConfigError(
            f"runtime.scheduler: every_nth picks frames by itself, wanted idle-free beside it, found {name}"
        )
    if policy in WITH_LADDER and name.startswith("stride-"):
        raise ConfigError(
            f"runtime.scheduler: {name} leaves frames out that {policy} would take for missed; wanted another scheduler"
        )


def _check_ladder(policy: OverloadPolicy, ladder: Sequence[RungSettings], where: str) -> None:
    if len(ladder) < 2:
        raise ConfigError(f"{where}: wanted two rungs or more for {policy}, from heavy to light, found {len(ladder)}")
    wanted = "img_size" if policy is OverloadPolicy.SMALLER_INPUT else "weights"
    for number, rung in enumerate(ladder):
        changes = rung.changes
        if policy in STEPPED and wanted not in changes:
            raise ConfigError(f"{where}.{number}: wanted {wanted} for {policy}, found {rung.name}")
        if policy is OverloadPolicy.SMALLER_INPUT and set(changes) != {wanted}:
            raise ConfigError(f"{where}.{number}: wanted img_size alone for {policy}, found {', '.join(changes)}")
        if policy is OverloadPolicy.BEST and rung.accuracy is None:
            raise ConfigError(
                f"{where}.{number}.accuracy: is needed for best, and absent; `tracklight tune` measures it"
            )
        if any(changes == other.changes for other in ladder[:number]):
            raise ConfigError(f"{where}.{number}: wanted each rung once, found {rung.name} twice")


def overload_rules(config: RunConfig) -> OverloadRules:
    """The settings as the runtime takes them."""
    settings = config.runtime.overload
    return OverloadRules(
        policy=settings.policy,
        every_nth=None if settings.every_nth == "auto" else settings.every_nth,
        accuracy=tuple(rung.accuracy for rung in settings.ladder if rung.accuracy is not None),
        max_missed=settings.max_missed,
        max_age_s=None if settings.max_age_ms is None else settings.max_age_ms / 1e3,
        window_s=settings.window_s,
        recover_s=settings.recover_s,
        max_held=settings.max_held,
        moved=config.runtime.compensate is not Compensate.OFF,
    )


def scheduler_factory(config: RunConfig) -> Callable[[], Scheduler] | None:
    """Makes one scheduler per live source; None where every newest frame is taken at once."""
    name = config.runtime.scheduler
    return None if name == "idle-free" else lambda: scheduler(name)


def build_ladder(section: dict[str, Any], rungs: Sequence[RungSettings], clock: Clock) -> LadderDetector:
    """All rungs of a ladder, their weights loaded; those that differ in input size alone share a network.

    Args:
        section: the detector's.
        rungs: what each changes of it.
        clock: the run's.

    Raises:
        TracklightError: a rung that cannot be made.
        ConfigError: rungs that find different classes.
    """
    made: list[YoloDetector] = []
    networks: dict[str, OpenedNetwork] = {}
    try:
        for number, rung in enumerate(rungs):
            made.append(_rung_detector({**section, **rung.changes}, networks))
            if made[-1].class_names != made[0].class_names:
                raise ConfigError(
                    f"runtime.overload.ladder.{number}: wanted the classes of the first rung "
                    f"({len(made[0].class_names)}), found others ({len(made[-1].class_names)})"
                )
    except BaseException:
        for one in made:
            one.close()
        raise
    return LadderDetector(made, [rung.name for rung in rungs], clock)


def _rung_detector(section: dict[str, Any], networks: dict[str, OpenedNetwork]) -> YoloDetector:
    from detector.detector import DetectorConfig, YoloDetector, network_for
    from pipeline.config.validate import validated

    config = validated(DetectorConfig, section, "detector")
    key = repr({name: value for name, value in sorted(section.items()) if name != _SHARED})
    if key not in networks:
        networks[key] = network_for(config)
    return YoloDetector(config, network=networks[key])
