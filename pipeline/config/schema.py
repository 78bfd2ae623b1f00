"""What a run can be configured with. The same keys serve a YAML file, `--set`, and Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.config.cameras import CameraSettings
from pipeline.config.overload import OverloadSettings
from pipeline.runtime.compensate import Compensate

Section = dict[str, Any]


class RuntimeSettings(BaseModel):
    """How the threads are wired."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch: int = Field(default=1, ge=1, le=256, description="most frames in one call of the detector")
    batch_wait_s: float = Field(
        default=0.005, ge=0, le=1, description="how long a begun batch waits for other sources (s)"
    )
    detect_workers: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="threads that call the detector; null = what its backend serves at once, one for live sources",
    )
    drain_s: float = Field(
        default=10.0, gt=0, description="after Ctrl-C, how long frames already read may take to be written (s)"
    )
    fail_fast: bool = Field(default=False, description="the first source that fails ends the run")
    keep_open: bool = Field(
        default=False, description="go on without sources: more may be added from the dashboard; Ctrl-C ends the run"
    )
    new_ids_after_s: float = Field(
        default=1.0, ge=0, description="a live source that broke and came back after longer than this gets new ids (s)"
    )
    watchdog_s: float = Field(
        default=30.0,
        ge=0,
        description="a stage that takes longer for one piece of work hangs: a source is begun anew, a live output let "
        "go, anything else ends the run (s); 0 = off",
    )
    realtime: bool = Field(
        default=False, description="play recorded sources at their own rate, dropping what comes too late"
    )
    compensate: Compensate = Field(
        default=Compensate.OFF,
        description="move tracks of live sources ahead by their latency: off; emit = in outputs of data, to when the "
        "result is handed to the outputs; display = to when an output writes it, and live pictures show the newest "
        "frame",
    )
    scheduler: str = Field(
        default="idle-free",
        description="which frame of a live source is detected next: idle-free (the newest, at once), shrinking-tail, "
        "planned, stride-2 (any number)",
    )
    overload: OverloadSettings = OverloadSettings()

    latency_cost: bool = Field(
        default=True, description="estimate, without labels, what latency costs live sources; it takes a tracker"
    )
    offline_ap50: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="AP50 that the pipeline reaches on such footage without latency, as `stream-eval` found, to "
        "tell that cost in points; null = as a share only",
    )

    @field_validator("compensate", mode="before")
    @classmethod
    def _off_is_false(cls, value: Any) -> Any:
        """YAML reads the word `off` as false."""
        return Compensate.OFF if value is False else value


class RunConfig(BaseModel):
    """One run. Sections named after stages hold that stage's own settings; `tracklight check` prints them all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sources: tuple[str, ...] = Field(default=(), description="files, globs, folders, cameras, URLs, .streams lists")
    outputs: tuple[str, ...] = Field(
        default=(), description="files by suffix, addresses, web, metrics, display, null: docs/outputs.md"
    )
    exist_ok: bool = Field(default=False, description="overwrite outputs that exist")
    report: Path | None = Field(default=None, description="where to write the run report (.json)")
    max_frames: int | None = Field(default=None, ge=1, description="frames read from each source; absent = all")
    cameras: dict[str, CameraSettings] = Field(
        default_factory=dict, description="sources by name, each with its own classes, region, rules, frame rate"
    )
    source: dict[str, Section] = Field(default_factory=dict, description="settings by kind of source")
    detector: Section = Field(default_factory=dict, description="settings of the detector")
    tracker: Section = Field(default_factory=dict, description="`kind` (bytetrack, none) and that tracker's settings")
    analytics: Section = Field(default_factory=dict, description="lines, zones and other rules by source")
    alerts: tuple[Section, ...] = Field(default=(), description="web hooks and programs that are told of events")
    sink: dict[str, Section] = Field(default_factory=dict, description="settings by kind of output")
    draw: Section = Field(default_factory=dict, description="how boxes are drawn in every picture output")
    runtime: RuntimeSettings = RuntimeSettings()

    @field_validator("sources", "outputs", mode="before")
    @classmethod
    def _one_is_a_list_of_one(cls, value: Any) -> Any:
        """`sources: street.mp4`, and cameras written as numbers."""
        items = [value] if isinstance(value, str | int) else value
        return [str(i) if type(i) is int else i for i in items] if isinstance(items, list | tuple) else items

    @field_validator("source", "sink", mode="before")
    @classmethod
    def _absent_sections_are_empty(cls, value: Any) -> Any:
        """`video_file:` with nothing below it is an empty section in YAML's eyes None."""
        return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value
