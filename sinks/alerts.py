"""Alerts: tells a web hook or a program when something happens."""

from __future__ import annotations

import base64
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import cv2
import numpy as np
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import ImageArray
from pipeline.core.event import Event, EventKind
from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult
from pipeline.core.scene import Closing
from pipeline.core.url import register_secret
from sinks.alert_delivery import PLACEHOLDERS, Channel, Command, Delivery, Webhook
from sinks.alert_spool import SpooledDelivery

logger = logging.getLogger(__name__)

CAPACITY = 1000
CAPACITY_WITH_PICTURES = 100
"""Messages that may wait; with a picture one is some 200 kB."""
DRAIN_S = 5.0
PICTURE_SIDE_PX = 1280


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AlertConfig:
    """Who is told what, and how often at most."""

    name: str = Field(min_length=1, description="of the alert, in messages and logs")
    kinds: tuple[EventKind, ...] = Field(default=(), description="kinds of event; empty = all but object")
    rules: tuple[str, ...] = Field(default=(), description="names of lines and zones, * and ? allowed; empty = all")
    classes: tuple[str, ...] = Field(default=(), description="classes of the object; empty = all")
    sources: tuple[str, ...] = Field(default=(), description="source ids, * and ? allowed; empty = all")
    phases: tuple[Literal["begin", "instant", "end"], ...] = Field(
        default=("begin", "instant"), min_length=1, description="when lasting events are told: as they begin, or end"
    )
    webhook: str | None = Field(default=None, repr=False, description="http(s) address that gets a POST with JSON")
    headers: dict[str, str] = Field(default_factory=dict, repr=False, description="HTTP headers, such as Authorization")
    command: tuple[str, ...] = Field(
        default=(), description="program and arguments, run without a shell; {rule}, {text} … are filled in"
    )
    picture: bool = Field(default=False, description="send the frame with it, a JPEG in base64 (webhook)")
    max_per_minute: int = Field(default=6, ge=1, le=6000, description="more are counted and not sent")
    attempts: int = Field(default=3, ge=1, le=10, description="tries of each message; with a spool there is no end")
    timeout_s: float = Field(default=10.0, gt=0, le=300, description="for one try (s)")
    spool: Path | None = Field(
        default=None, description="folder where messages wait until they are delivered, over restarts too"
    )
    spool_mb: int = Field(default=64, ge=1, le=100_000, description="most of it (MB); the oldest messages make room")

    @field_validator("webhook")
    @classmethod
    def _is_http(cls, value: str | None) -> str | None:
        if value is None:
            return value
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("wanted an address such as https://host/path")
        # Such an address fails only when a message is sent, in words that show it whole.
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError("wanted an address in plain ASCII; write other characters as %XX")
        return value

    @field_validator("headers")
    @classmethod
    def _headers_are_secret(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            register_secret(value.strip())
            if not re.fullmatch(r"[\w-]+", name, re.ASCII) or not value.isascii() or not value.isprintable():
                raise ValueError(f"wanted plain ASCII on one line, found something else in {name!r}")
        return headers

    @field_validator("command")
    @classmethod
    def _placeholders_are_known(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        for word in words:
            if "\0" in word:
                raise ValueError("wanted words without the character 0")
            for name in re.findall(r"\{(\w+)\}", word):
                if name not in PLACEHOLDERS:
                    raise ValueError(f"wanted one of {', '.join(PLACEHOLDERS)} in braces, not {name}")
        return words

    @model_validator(mode="after")
    def _tells_one(self) -> AlertConfig:
        if (self.webhook is None) == (not self.command):
            raise ValueError("wanted a webhook or a command, one of them")
        if self.webhook is None and (self.headers or self.picture):
            raise ValueError("headers and picture belong to a webhook")
        return self


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AlertsConfig:
    """All alerts of a run."""

    alerts: tuple[AlertConfig, ...] = Field(default=(), description="who is told what")

    @field_validator("alerts")
    @classmethod
    def _names_differ(cls, alerts: tuple[AlertConfig, ...]) -> tuple[AlertConfig, ...]:
        names = [alert.name for alert in alerts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"wanted alerts of different names, {name!r} stands twice")
        return alerts


class AlertSink:
    """Sends what happens to those who asked for it. An alert that cannot be delivered never holds up the run.

    Args:
        config: the alerts.
        class_names: not used; events carry their class.
        now_s: a monotonic clock, for the limits.
    """

    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(
        self, config: AlertsConfig, *, class_names: tuple[str, ...], now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self.needs_image = any(alert.picture for alert in config.alerts)
        self._config = config
        self._now_s = now_s
        self._live: dict[str, bool] = {}
        self._alerts: list[_Alert] = []
        self._is_closed = False

    def open(self, info: StreamInfo) -> None:
        """Start the deliveries at the first source. Raises SinkError: a spool cannot be used."""
        if not self._live:
            for alert in self._config.alerts:
                self._alerts.append(_Alert(alert, self._now_s))
        self._live[info.source_id] = info.is_live

    def write(self, result: FrameResult) -> None:
        """Tell what happened at the frame."""
        self._tell(result.events, result.frame.image)

    def end_source(self, closing: Closing) -> None:
        """Tell what the source's end has ended."""
        self._tell(closing.events, None)

    def _tell(self, events: tuple[Event, ...], image: ImageArray | None) -> None:
        for event in events:
            for alert in self._alerts:
                if alert.wants(event):
                    alert.send(event, image, is_live=self._live[event.source_id])

    @property
    def counters(self) -> Mapping[str, int]:
        """Messages by what became of them."""
        deliveries = [alert.delivery for alert in self._alerts]
        return {
            "delivered": sum(delivery.n_delivered for delivery in deliveries),
            "failed": sum(delivery.n_failed for delivery in deliveries),
            "dropped": sum(delivery.n_dropped for delivery in deliveries),
            "limited": sum(alert.n_limited for alert in self._alerts),
        }

    def close(self) -> None:
        """Deliver what waits, for some seconds at most. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            for alert in self._alerts:
                alert.close()


class _Alert:
    """One alert: which events, how often, where to."""

    def __init__(self, config: AlertConfig, now_s: Callable[[], float]) -> None:
        self._config = config
        self._now_s = now_s
        self._sent_s: deque[float] = deque()
        self._n_left_out = 0
        self.n_limited = 0
        channel: Channel
        if config.webhook is not None:
            channel = Webhook(config.webhook, config.headers, config.timeout_s)
        else:
            channel = Command(config.command, config.timeout_s)
        self.delivery: Delivery | SpooledDelivery
        if config.spool is None:
            capacity = CAPACITY_WITH_PICTURES if config.picture else CAPACITY
            self.delivery = Delivery(config.name, channel, attempts=config.attempts, capacity=capacity)
        else:
            folder = config.spool / re.sub(r"[^\w-]", "_", config.name)
            size = config.spool_mb * 1_000_000
            self.delivery = SpooledDelivery(config.name, channel, folder=folder, max_bytes=size)

    def wants(self, event: Event) -> bool:
        """Whether the event is one of those asked for."""
        config = self._config
        return (
            event.phase in config.phases
            and (event.kind in config.kinds if config.kinds else event.kind is not EventKind.OBJECT)
            and _fits(event.rule, config.rules)
            and _fits(event.source_id, config.sources)
            and (not config.classes or event.class_name in config.classes)
        )

    def send(self, event: Event, image: ImageArray | None, *, is_live: bool) -> None:
        """Queue a message, unless there were too many in the last minute."""
        now_s = self._now_s()
        while self._sent_s and now_s - self._sent_s[0] >= 60:
            self._sent_s.popleft()
        if len(self._sent_s) >= self._config.max_per_minute:
            self._n_left_out += 1
            self.n_limited += 1
            return
        self._sent_s.append(now_s)
        left_out, self._n_left_out = self._n_left_out, 0
        shown = image if self._config.picture else None
        # Made now: frames that waited for a server that is down all night would fill the memory.
        self.delivery.send(self._message(event, shown, left_out, is_live=is_live))

    def _message(self, event: Event, image: ImageArray | None, left_out: int, *, is_live: bool) -> dict[str, Any]:
        happened = wall_time(event) if is_live else None
        message: dict[str, Any] = {
            "alert": self._config.name,
            "text": _text(event, happened),
            "time_utc": happened,
            "event": event.to_json(),
            "left_out": left_out,
        }
        if image is not None:
            message["picture_jpeg"] = base64.b64encode(_jpeg(image)).decode()
        return message

    def close(self) -> None:
        """Deliver what waits, and say what the limit held back."""
        self.delivery.close(DRAIN_S)
        if self.n_limited:
            logger.warning(
                "alert %s: %d messages were over the limit of %d a minute",
                self._config.name,
                self.n_limited,
                self._config.max_per_minute,
            )


def wall_time(event: Event) -> str:
    """When a live source's event began, as UTC in ISO 8601: the clock now, less how long ago its frame was captured."""
    ago_s = (time.monotonic_ns() - event.captured_ns) / 1e9
    return datetime.fromtimestamp(time.time() - ago_s, UTC).isoformat(timespec="milliseconds")


def _text(event: Event, happened: str | None) -> str:
    """One line for people: `person 12: crossing of door (in), cam1, 12.3 s`."""
    who = f"{event.class_name} {event.track_ids[0]}: " if event.class_name and event.track_ids else ""
    what = str(event.kind).replace("_", " ")
    label = event.values.get("label") or event.values.get("direction")
    of = f" ({label})" if label else ""
    ended = " ended" if event.phase == "end" else ""
    return f"{who}{what} at {event.rule}{of}{ended}, {event.source_id}, {happened or f'{event.start_s:.1f} s'}"


def _fits(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)


def _jpeg(image: ImageArray) -> bytes:
    height, width = image.shape[:2]
    scale = PICTURE_SIDE_PX / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return data.tobytes()
