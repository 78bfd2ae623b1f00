"""Tracks, events and counts to an MQTT broker, and everything that Home Assistant needs to show them."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.control import RunControl, SourceState, SourceStatus
from pipeline.core.event import Event
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing, Scene, SceneLayout
from pipeline.core.url import redact
from sinks.alerts import wall_time
from sinks.backlog import Backlog, MemoryBacklog
from sinks.mqtt_discovery import SourceTopics, entities, rule_entities
from sinks.mqtt_link import Message, MqttLink
from sinks.mqtt_place import parse_place
from sinks.objects import object_records
from sinks.spool import Spool

logger = logging.getLogger(__name__)

MEMORY_CAPACITY = 10_000
"""Events that wait for the broker where no spool is given."""
COUNTS_S = 1.0
"""Counts are told when they change, but not more often."""
STATE_S = 10.0
"""A source's figures are told so often; a change of its state at once."""

_JITTER_S = 0.002
"""Frames are not spaced evenly: one that comes a moment too early for the rate is not too early."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MqttConfig:
    """Which broker, and what it is told."""

    url: str = Field(repr=False, description="mqtt://user:password@host:1883/prefix; mqtts:// = encrypted")
    tracks_per_s: float = Field(default=5.0, ge=0, le=1000, description="tracks of each source, at most; 0 = none")
    discovery: str = Field(
        default="homeassistant", pattern=r"^[^+#]*$", description="Home Assistant's discovery prefix; empty = none"
    )
    spool: Path | None = Field(default=None, description="folder where events wait while the broker is away")
    spool_mb: int = Field(default=64, ge=1, le=100_000, description="most of it (MB); the oldest events make room")
    drain_s: float = Field(default=5.0, ge=0, le=300, description="at the end, time to send what waits (s)")
    ca_file: Path | None = Field(default=None, description="certificates to trust instead of the system's (mqtts)")


class MqttSink:
    """Publishes below the prefix: `status` (online, offline) and by source `tracks`, `events`, `counts` and `state`.

    The broker may come, go and be slow: nothing in the run waits for it. Events wait for it within a bound.

    Args:
        config: the broker.
        class_names: names by class_id.

    Raises:
        UsageError: an address that names no broker.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False  # an event must not be dropped with its frame, and a write waits for nobody
    shared = True
    compensated = "data"

    def __init__(self, config: MqttConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config
        self._class_names = class_names
        self._place = parse_place(config.url)
        self._status_topic = f"{self._place.prefix}/status"
        self._control: RunControl | None = None
        self._link: MqttLink | None = None
        self._backlog: Backlog | None = None
        self._live: dict[str, bool] = {}
        self._layouts: dict[str, SceneLayout] = {}
        self._tracks_at_s: dict[str, float] = {}
        self._counts_at_s: dict[str, float] = {}
        self._states: dict[str, tuple[SourceState, float]] = {}
        self._counters = {"events_delivered": 0, "events_dropped": 0, "connections": 0}

    def steer(self, control: RunControl) -> None:
        """The run whose sources' states are told. The connection begins now. Raises SinkError, MissingExtraError."""
        self._control = control
        self._begin()

    def open(self, info: StreamInfo) -> None:
        """Begin to connect, where nobody has steered. Raises SinkError, MissingExtraError."""
        self._live[info.source_id] = info.is_live
        if self._link is None:
            self._begin()
        topics = self._topics(info.source_id)
        if self._config.discovery:
            self._post_all(entities(topics, self._place.prefix, self._config.discovery))

    def write(self, result: FrameResult) -> None:
        """Tell a result."""
        source_id = result.frame.source_id
        now_s = time.monotonic()
        self._tell_events(result.events)
        self._tell_tracks(source_id, result, now_s)
        scene = result.scene
        if scene is not None and self._layouts.get(source_id) is not scene.layout:
            self._layouts[source_id] = scene.layout
            if self._config.discovery:
                topics = self._topics(source_id)
                self._post_all(rule_entities(topics, scene.layout, self._place.prefix, self._config.discovery))
        if now_s - self._counts_at_s.get(source_id, float("-inf")) >= COUNTS_S:
            self._counts_at_s[source_id] = now_s
            self._tell_counts(source_id, object_records(result, self._class_names), scene)

    def end_source(self, closing: Closing) -> None:
        """Tell what the source's end has ended; nothing is in view of it any more."""
        self._tell_events(closing.events)
        self._tell_counts(closing.source_id, [], closing.scene)

    def close(self) -> None:
        """Send what waits, for some seconds at most, and leave. Idempotent."""
        link = self._link
        if link is None or self._backlog is None:
            return
        link.close(self._config.drain_s)
        self._link = None
        self._counters = self._counted(link, self._backlog)
        if self._backlog.n_waiting:
            where = self._backlog.place
            kept = f"wait in {where} for the next run" if where else "were not delivered before the end"
            logger.warning("%s: %d events %s", self._place.shown, self._backlog.n_waiting, kept)
        self._backlog.close()

    @property
    def counters(self) -> Mapping[str, int]:
        """Events by what became of them, and connections made."""
        link, backlog = self._link, self._backlog
        return self._counters if link is None or backlog is None else self._counted(link, backlog)

    @staticmethod
    def _counted(link: MqttLink, backlog: Backlog) -> dict[str, int]:
        return {
            "events_delivered": link.n_delivered,
            "events_dropped": backlog.n_dropped,
            "connections": link.n_connections,
        }

    def _begin(self) -> None:
        config = self._config
        backlog: Backlog = MemoryBacklog(MEMORY_CAPACITY)
        if config.spool is not None:
            backlog = Spool(config.spool, config.spool_mb * 1_000_000)
        try:
            link = MqttLink(
                self._place,
                will=Message(self._status_topic, "offline", qos=1, retain=True),
                hello=Message(self._status_topic, "online", qos=1, retain=True),
                backlog=backlog,
                tick=self._tick,
                ca_file=config.ca_file,
            )
        except BaseException:
            backlog.close()
            raise
        self._backlog, self._link = backlog, link
        link.start()

    # -- what is told -------------------------------------------------------------------------------------------------

    def _topics(self, source_id: str) -> SourceTopics:
        base = f"{self._place.prefix}/{topic_level(source_id)}"
        return SourceTopics(source_id, f"{base}/counts", f"{base}/state", self._status_topic)

    def _tell_events(self, events: tuple[Event, ...]) -> None:
        if self._link is None or self._backlog is None or not events:
            return
        for event in events:
            happened = wall_time(event) if self._live.get(event.source_id) else None
            topic = f"{self._place.prefix}/{topic_level(event.source_id)}/events"
            self._backlog.append({"topic": topic, "payload": _json({**event.to_json(), "time_utc": happened})})
        self._link.nudge()

    def _tell_tracks(self, source_id: str, result: FrameResult, now_s: float) -> None:
        rate = self._config.tracks_per_s
        if not rate or now_s - self._tracks_at_s.get(source_id, float("-inf")) < 1 / rate - _JITTER_S:
            return
        self._tracks_at_s[source_id] = now_s
        frame = result.frame
        record = {
            "source": source_id,
            "frame": frame.index,
            "pts_s": None if frame.pts_s is None else round(frame.pts_s, 6),
            **_moved(result),
            "objects": object_records(result, self._class_names),
        }
        self._post(Message(f"{self._place.prefix}/{topic_level(source_id)}/tracks", _json(record)))

    def _tell_counts(self, source_id: str, objects: list[dict[str, object]], scene: Scene | None) -> None:
        in_view: dict[str, int] = {}
        for one in objects:
            in_view[str(one["class"])] = in_view.get(str(one["class"]), 0) + 1
        record = {"in_view": in_view, "n_in_view": len(objects), **_scene_counts(scene)}
        self._post(Message(self._topics(source_id).counts, _json(record), qos=1, retain=True))

    def _tick(self) -> None:
        """From the link's thread, about once a second."""
        link = self._link
        if link is not None:
            self._tell_states(link)

    def _tell_states(self, link: MqttLink) -> None:
        if self._control is None:
            return
        now_s = time.monotonic()
        here = {status.source_id: status for status in self._control.sources()}
        for name, status in here.items():
            before = self._states.get(name)
            if before is None or before[0] is not status.state or now_s - before[1] >= STATE_S:
                self._states[name] = status.state, now_s
                link.post(Message(self._topics(name).state, _json(_state(status)), qos=1, retain=True))
        for name in [name for name in self._states if name not in here]:
            del self._states[name]
            link.post(Message(self._topics(name).state, _json({"state": "removed"}), qos=1, retain=True))

    def _post_all(self, configs: Iterable[tuple[str, str]]) -> None:
        for topic, payload in configs:
            self._post(Message(topic, payload, qos=1, retain=True))

    def _post(self, message: Message) -> None:
        if self._link is not None:
            self._link.post(message)


def topic_level(source_id: str) -> str:
    """A source's name as one level of a topic."""
    return re.sub(r"[+#/\s$\x00]", "_", source_id)


def _moved(result: FrameResult) -> dict[str, int]:
    """When the frame was, and for when the boxes hold, where they were moved off it."""
    if result.boxes_at_ns is None:
        return {}
    return {"captured_ns": result.frame.captured_ns, "boxes_at_ns": result.boxes_at_ns}


def _scene_counts(scene: Scene | None) -> dict[str, object]:
    if scene is None:
        return {}
    layout = scene.layout
    lines = zip(layout.line_names, scene.crossings.tolist(), strict=True)
    columns = (scene.occupancy.tolist(), scene.visits.tolist(), scene.alarms.tolist())
    zones = zip(layout.zone_names, *columns, strict=True)
    return {
        "objects": dict(scene.n_objects),
        "lines": {name: {"in": n_in, "out": n_out} for name, (n_in, n_out) in lines},
        "zones": {name: {"objects": n, "visits": visits, "alarm": alarm} for name, n, visits, alarm in zones},
    }


def _state(status: SourceStatus) -> dict[str, object]:
    return {
        "state": str(status.state),
        "frames_per_s": round(status.frames_per_s, 2),
        "latency_p50_ms": round(status.latency_p50_ms, 1),
        "latency_p95_ms": round(status.latency_p95_ms, 1),
        "produced": status.produced,
        "emitted": status.emitted,
        "dropped": dict(status.dropped),
        "counters": dict(status.counters),
        "error": None if status.error is None else redact(status.error),
    }


def _json(record: Mapping[str, object]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
