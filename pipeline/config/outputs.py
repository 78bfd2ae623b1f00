"""Sinks from a configuration: checked before anything heavy is loaded, made once the class names are known."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.config.facts import run_facts
from pipeline.config.registry import SINKS, find
from pipeline.config.schema import RunConfig, Section
from pipeline.config.validate import field_names, refuse_address, validated
from pipeline.core.errors import UsageError
from pipeline.core.protocols import Sink
from pipeline.core.run_facts import RunSink
from pipeline.core.url import redact
from pipeline.runtime.sink_worker import SinkBinding

logger = logging.getLogger(__name__)

_BY_PORT = ("web", "metrics")
_AGAIN: Mapping[str, Mapping[str, object]] = {"rtsp": {"wait_for_first": True}, "hls": {"exist_ok": True}}
"""Live outputs that can be made beside their hanging selves, and how. Others hold a port or a window."""


@dataclass(frozen=True, slots=True)
class Output:
    """One sink to make.

    Attributes:
        kind: key of the registry.
        value: path or URL; empty where the kind needs none.
        source_id: whose results it gets, or None for everyone's.
        is_file: whether `value` is a path.
    """

    kind: str
    value: str
    source_id: str | None
    is_file: bool

    @property
    def shown(self) -> str:
        """What reports call it; unique within a run, without credentials."""
        return f"{self.kind}:{self.value}" if self.kind in _BY_PORT else redact(self.value) or self.kind


def check_outputs(config: RunConfig, source_ids: Sequence[str]) -> list[Output]:
    """Every sink that the configuration asks for, checked against the disk. Nothing is written yet.

    A kind that serves one source only gets a file for each, with the source's id before the suffix.

    Raises:
        UsageError: an unknown form, a file that exists or cannot be written, or two outputs of one name.
    """
    from sinks.address import FILE_KINDS, parse_output
    from sinks.event_store import check_store
    from sinks.output_path import check_output

    outputs: list[Output] = []
    for text in config.outputs:
        address = parse_output(text)
        kind, is_file = str(address.kind), address.kind in FILE_KINDS
        if SINKS[kind].stage_class().shared:
            outputs.append(Output(kind, address.value, None, is_file))
            continue
        for source_id in source_ids:
            value = address.value if len(source_ids) == 1 else _value_for(address.value, is_file, source_id)
            outputs.append(Output(kind, value, source_id, is_file))
    for source_id in source_ids:
        outputs += _camera_outputs(config, source_id)
    _refuse_doubles(config, outputs)
    for output in outputs:
        if output.is_file:
            check_output(Path(output.value), exist_ok=config.exist_ok)
        elif output.kind == "event_store":
            check_store(output.value)
            _warn_of_no_events(config, output)
    if config.report is not None:
        check_output(config.report, exist_ok=config.exist_ok)
    return outputs


def _warn_of_no_events(config: RunConfig, store: Output) -> None:
    if not config.analytics.get("sources") and not config.cameras:
        logger.warning("%s: without rules (--rules) it holds an account of the run, and no events", store.shown)


def outputs_of_source(config: RunConfig, source_id: str) -> list[Output]:
    """The outputs that a source which joins a run gets for itself. Nothing is written yet.

    Raises:
        UsageError: a file that exists or cannot be written.
    """
    from sinks.address import FILE_KINDS, parse_output
    from sinks.output_path import check_output

    outputs: list[Output] = []
    for text in config.outputs:
        address = parse_output(text)
        kind, is_file = str(address.kind), address.kind in FILE_KINDS
        if not SINKS[kind].stage_class().shared:
            outputs.append(Output(kind, _value_for(address.value, is_file, source_id), source_id, is_file))
    outputs += _camera_outputs(config, source_id)
    for output in outputs:
        if output.is_file:
            check_output(Path(output.value), exist_ok=config.exist_ok)
    return outputs


def _value_for(value: str, is_file: bool, source_id: str) -> str:
    """The address of one source's own output among several sources."""
    from sinks.address import per_source_path

    return str(per_source_path(Path(value), source_id)) if is_file else f"{value.rstrip('/')}/{source_id}"


def _camera_outputs(config: RunConfig, source_id: str) -> list[Output]:
    """What a camera alone writes, at the address as it stands there."""
    from sinks.address import FILE_KINDS, parse_output

    camera = config.cameras.get(source_id)
    outputs: list[Output] = []
    for text in camera.outputs if camera is not None else ():
        address = parse_output(text)
        kind, is_file = str(address.kind), address.kind in FILE_KINDS
        if SINKS[kind].stage_class().shared and not is_file and kind != "null":
            raise UsageError(
                f"cameras.{source_id}.outputs: wanted outputs of this camera, found {kind}, which serves all of a run; "
                "put it below outputs"
            )
        outputs.append(Output(kind, address.value, source_id, is_file))
    return outputs


def _refuse_doubles(config: RunConfig, outputs: Sequence[Output]) -> None:
    """No output may overwrite another one, nor the video it is made from."""
    from sources.address import SourceKind, expand_sources

    read = [Path(address.value) for address in expand_sources(config.sources) if address.kind is SourceKind.VIDEO_FILE]
    taken = {_identity(path): f"the source {path}" for path in read}
    paths = [Path(output.value) for output in outputs if output.is_file]
    for path in [*paths, *([config.report] if config.report else [])]:
        identity = _identity(path)
        if identity in taken:
            raise UsageError(f"output {path}: wanted a file of its own, found that it is also {taken[identity]}")
        taken[identity] = "another output"
    others = [output.shown for output in outputs if not output.is_file]
    if len(set(others)) != len(others):
        raise UsageError(f"output: wanted each output once, found {', '.join(others)}")


def _identity(path: Path) -> object:
    """The same for two names of one file, be it a link of either kind."""
    try:
        status = path.stat()
    except OSError:
        return path.resolve()
    return status.st_dev, status.st_ino


def build_sinks(config: RunConfig, outputs: Sequence[Output], class_names: tuple[str, ...]) -> list[SinkBinding]:
    """Make the sinks; none opens anything yet."""
    sinks = [_binding(config, output, class_names) for output in outputs]
    if config.alerts:
        from sinks.alerts import AlertSink

        sinks.append(SinkBinding("alerts", AlertSink(alerts_config(config), class_names=class_names)))
    return sinks


def alerts_config(config: RunConfig) -> Any:
    """Who is told of what happens. Raises ConfigError."""
    from sinks.alerts import AlertsConfig

    return validated(AlertsConfig, {"alerts": config.alerts}, "")


def _binding(config: RunConfig, output: Output, class_names: tuple[str, ...]) -> SinkBinding:
    make, settings = SINKS[output.kind].stage_class(), sink_config(config, output.kind, output.value)
    sink: Sink = make(settings, class_names=class_names)
    if isinstance(sink, RunSink):
        sink.begin_run(run_facts(config))

    def remake() -> Sink:
        again: Sink = make(replace(settings, **_AGAIN[output.kind]), class_names=class_names)
        return again

    return SinkBinding(output.shown, sink, output.source_id, remake if output.kind in _AGAIN else None)


def draw_config(section: Section) -> Any:
    """How every picture output draws. Raises ConfigError."""
    from sinks.draw import DrawConfig

    return validated(DrawConfig, section, "draw")


def sink_config(config: RunConfig, kind: str, value: str) -> Any:
    """The config object of one kind of sink, with its address and the shared settings filled in.

    Raises:
        ConfigError: a key or value in the section that cannot work.
    """
    config_class = find(SINKS, kind, "sink").config_class()
    known = field_names(config_class, [])
    shared = {"path": value, "url": value, "exist_ok": config.exist_ok, "draw": config.draw}
    section = {key: item for key, item in shared.items() if key in known}
    refuse_address(config.sink.get(kind, {}), ("path", "url"), f"sink.{kind}", "outputs")
    return validated(config_class, section | config.sink.get(kind, {}), f"sink.{kind}")
