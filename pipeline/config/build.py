"""From a configuration to a runner: sources, detector, trackers and sinks, made and wired."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.analytics import analyst_factory, analytics_config, check_alerts, check_sources
from pipeline.config.cameras import LIVE_KINDS, addresses_of, wishes_of, with_camera_rules
from pipeline.config.compensation import check_compensation, warn_of_no_effect
from pipeline.config.overload import build_ladder, check_overload, overload_rules, scheduler_factory
from pipeline.config.registry import SOURCES, TRACKERS, find, nearest
from pipeline.config.schema import RunConfig, Section
from pipeline.config.validate import refuse_address, validated
from pipeline.config.yaml_file import fill_environment, merge, parse_settings, read_yaml
from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import ConfigError, UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Clock, Detector, Source, SteeringSink, Tracker
from pipeline.runtime.camera_filter import CameraFilter
from pipeline.runtime.overload import OverloadPolicy
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.runtime.track_stage import TrackerFactory

if TYPE_CHECKING:
    from detector.detector import YoloDetector
    from pipeline.config.live_control import LiveControl
    from sources.address import SourceAddress

ADDRESS_FIELDS = {"video_file": "path", "images": "path", "camera": "device", "network": "url"}
"""The config field of each kind of source that `--source` fills."""
PLACEHOLDERS = {"video_file": "any.mp4", "images": "any", "camera": "0", "network": "rtsp://any/stream"}
"""Addresses that stand for any, to check a section before its sources are known."""
LIVE_SINK_CAPACITY = 2
FILLED_SINK_CAPACITY = 8
"""Frames that are filled in come at once with the detected one before them: a live output must not drop them."""


@dataclass(frozen=True, slots=True)
class BuiltRun:
    """A runner that is ready, what it will write, and what steers it while it goes on."""

    runner: Runner
    written: tuple[str, ...]
    control: LiveControl


def load_run_config(path: str | None, flags: Mapping[str, Any], settings: Sequence[str]) -> RunConfig:
    """A run's configuration: the file, then the flags over it, then `--set` over both.

    Raises:
        ConfigError: a file, key or value that cannot work.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = read_yaml(Path(path))
        _check_keys(values, path)
    if flags.get("tracker") == {"kind": "none"}:
        # Switched off on the command line: the file's settings of a tracker are not needed, and no mistake.
        values.pop("tracker", None)
    # ${ENV} serves flags too: a password on the command line is seen by everyone who lists processes.
    values = merge(merge(values, fill_environment(flags, "command line")), parse_settings(settings))
    config = with_camera_rules(validated(RunConfig, values, ""))
    _check_sections(config)
    return config


def _check_keys(values: Mapping[str, Any], path: str) -> None:
    """An error in a file names the file."""
    try:
        _check_sections(validated(RunConfig, values, ""))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _check_sections(config: RunConfig) -> None:
    """Validate every stage's section now, so that a mistake is told before a model is loaded."""
    from pipeline.config.outputs import alerts_config, draw_config, sink_config

    for kind in config.source:
        source_config(config, kind, PLACEHOLDERS.get(kind, ""))
    for kind in config.sink:
        sink_config(config, kind, "placeholder")
    draw_config(config.draw)
    alerts_config(config)
    tracker_config(config.tracker)
    analytics_config(config.analytics)
    detector_config(config.detector)
    check_overload(config)


# -- sources ----------------------------------------------------------------------------------------------------------


def source_config(config: RunConfig, kind: str, address: str = "", camera: str | None = None) -> Any:
    """The config object of one kind of source, with its address filled in where it has one, and a camera's words."""
    entry = find(SOURCES, kind, "source")
    filled = {ADDRESS_FIELDS[kind]: address} if kind in ADDRESS_FIELDS else {}
    refuse_address(config.source.get(kind, {}), tuple(filled), f"source.{kind}", "sources")
    own = config.cameras[camera].settings if camera is not None else {}
    where = f"cameras.{camera}.settings" if own else f"source.{kind}"
    return validated(entry.config_class(), {**config.source.get(kind, {}), **own, **filled}, where)


def build_sources(config: RunConfig, clock: Clock) -> list[Source]:
    """Every source that the configuration names, not opened yet. Live ones reconnect, recorded ones may be paced.

    Raises:
        SourceError, UsageError: an address that leads nowhere.
    """
    return [make_source(config, address, clock) for address in addresses_of(config)]


def make_source(config: RunConfig, address: SourceAddress, clock: Clock) -> Source:
    """The source of one address, not opened yet."""
    kind, name = str(address.kind), address.source_id
    camera = config.cameras.get(name)
    inner_config = source_config(config, kind, address.value, name if camera is not None else None)
    source_class = SOURCES[kind].stage_class()

    remembered: dict[str, Any] = {}
    if kind == "network":
        from sources.rtsp_transport import RtspTransport

        remembered["transport"] = RtspTransport(inner_config.transport)

    def make() -> Source:
        source: Source = source_class(inner_config, source_id=name, clock=clock, **remembered)
        return source

    if kind in LIVE_KINDS:
        source = _wrapped("reconnect", config, make, name, clock)
    elif config.runtime.realtime:
        source = _wrapped("replay", config, make, name, clock)
    else:
        source = make()
    if camera is None or camera.fps_cap is None:
        return source
    from sources.frame_cap import FrameCap

    return FrameCap(source, camera.fps_cap)


def _wrapped(kind: str, config: RunConfig, make: Callable[[], Source], source_id: str, clock: Clock) -> Source:
    wrapper = SOURCES[kind].stage_class()
    source: Source = wrapper(source_config(config, kind), make, source_id=source_id, clock=clock)
    return source


# -- detector and tracker ---------------------------------------------------------------------------------------------


def detector_config(section: Section) -> Any:
    """The detector's config object."""
    from detector.detector import DetectorConfig

    return validated(DetectorConfig, section, "detector")


def build_detector(section: Section) -> YoloDetector:
    """The detector, its weights loaded."""
    from detector.detector import YoloDetector

    return YoloDetector(detector_config(section))


def detector_section_for_tracking(config: RunConfig) -> Section:
    """The detector's section of a run: unless told otherwise, it keeps every box that the tracker looks at.

    ByteTrack associates low scores too; a detector that drops them first turns half of it off.
    """
    _, tracker = tracker_config(config.tracker)
    if tracker is None or "conf_thres" in config.detector:
        return config.detector
    return {**config.detector, "conf_thres": tracker.low_score}


def tracker_section(name: str) -> Section:
    """The section that `--tracker NAME` stands for: a YAML file, a name in configs/trackers, a kind, or none.

    Raises:
        ConfigError: nothing of that name.
    """
    if name == "none" or name in TRACKERS:
        return {"kind": name}
    if name.endswith((".yaml", ".yml")):
        return read_yaml(Path(name))
    shipped = {Path(str(entry)).stem: entry for entry in files("configs").joinpath("trackers").iterdir()}
    if name not in shipped:
        known = [*TRACKERS, "none", *shipped]
        raise ConfigError(f"--tracker: wanted {', '.join(sorted(set(known)))} or a .yaml file, found {name!r}")
    return read_yaml(Path(str(shipped[name])))


def tracker_config(section: Section) -> tuple[str, Any]:
    """The kind of tracker and its config object (None for `none`)."""
    values = dict(section)
    kind = values.pop("kind", "bytetrack")
    if kind == "none":
        if values:
            raise ConfigError(f"tracker.kind is none, yet settings are given: {', '.join(values)}")
        return kind, None
    if kind not in TRACKERS:
        known = [*TRACKERS, "none"]
        raise ConfigError(f"tracker.kind: wanted one of {', '.join(known)}, found {kind!r}{nearest(str(kind), known)}")
    return kind, validated(TRACKERS[kind].config_class(), values, "tracker")


def tracker_factory(section: Section) -> TrackerFactory | None:
    """Makes one tracker per source, or None where tracking is off."""
    kind, config = tracker_config(section)
    if config is None:
        return None
    tracker_class = TRACKERS[kind].stage_class()

    def make(_info: StreamInfo) -> Tracker:
        tracker: Tracker = tracker_class(config)
        return tracker

    return make


def _build_used(config: RunConfig, clock: Clock) -> Detector:
    """The detector of a run, or all those that it may change to."""
    section, ladder = detector_section_for_tracking(config), config.runtime.overload.ladder
    return build_ladder(section, ladder, clock) if ladder else build_detector(section)


# -- the whole run ----------------------------------------------------------------------------------------------------


@contextmanager
def build_run(
    config: RunConfig, *, detector: Detector | None = None, extra_sinks: Sequence[SinkBinding] = ()
) -> Iterator[BuiltRun]:
    """A runner for the configuration. The detector that it makes is closed when the context ends.

    Args:
        config: the run.
        detector: use this one, which stays the caller's, instead of making one.
        extra_sinks: sinks beside those of the configuration.

    Raises:
        TracklightError: anything in the configuration that cannot work; nothing has been written then.
    """
    from pipeline.config.live_control import LiveControl
    from pipeline.config.outputs import build_sinks, check_outputs

    clock = MonotonicClock()
    sources = build_sources(config, clock)
    if not sources and not config.runtime.keep_open:
        raise UsageError("run: wanted at least one source, found none")
    control = LiveControl(config, clock)
    source_ids = [source.source_id for source in sources]
    check_sources(config.analytics, source_ids)
    outputs = check_outputs(config, source_ids)
    factory = tracker_factory(config.tracker)
    check_compensation(config)
    check_overload(config)
    if detector is not None and config.runtime.overload.ladder:
        raise UsageError("runtime.overload.ladder: wanted detectors made by the run, found one that was given to it")
    used = detector or _build_used(config, clock)
    filtered = CameraFilter(used, {})
    steering: list[SinkBinding] = []
    try:
        filtered.wishes = wishes_of(config, used.class_names)
        analysts = analyst_factory(config.analytics, source_ids, used.class_names)
        if analysts is not None and factory is None:
            raise ConfigError("analytics: wanted a tracker, found tracker.kind none; rules count objects by their ids")
        check_alerts(config, used.class_names)
        sinks = build_sinks(config, outputs, used.class_names)
        warn_of_no_effect(config, [*sinks, *extra_sinks])
        rules = overload_rules(config)
        settings = RunnerSettings(
            max_batch=config.runtime.batch,
            batch_wait_s=config.runtime.batch_wait_s,
            detect_workers=config.runtime.detect_workers,
            drain_s=config.runtime.drain_s,
            max_frames=config.max_frames,
            fail_fast=config.runtime.fail_fast,
            keep_open=config.runtime.keep_open,
            new_ids_after_s=config.runtime.new_ids_after_s,
            watchdog_s=config.runtime.watchdog_s,
            compensate=config.runtime.compensate,
            latency_cost=config.runtime.latency_cost,
            offline_ap50=config.runtime.offline_ap50,
            live_sink_capacity=FILLED_SINK_CAPACITY if rules.policy is OverloadPolicy.EVERY_NTH else LIVE_SINK_CAPACITY,
            overload=rules,
            make_scheduler=scheduler_factory(config),
        )
        given = filtered if config.cameras else used
        control.analysts = analysts
        make_analyst = None if analysts is None else control.analyst
        runner = Runner(sources, given, factory, [*sinks, *extra_sinks], settings, clock, make_analyst, control.remake)
        kept = (output for output in outputs if output.is_file or output.kind == "event_store")
        control.connect(runner, used.class_names, filtered)
        for binding in (*sinks, *extra_sinks):
            if isinstance(binding.sink, SteeringSink):
                steering.append(binding)
                binding.sink.steer(control)
        yield BuiltRun(runner, tuple(output.shown for output in kept), control)
    finally:
        for binding in steering:
            # It has begun with the run, and ends with it even where the run itself never began.
            binding.sink.close()
        if detector is None:
            used.close()
