"""What Home Assistant is told so that it makes entities of a source's zones and lines by itself.

Source: Home Assistant documentation, "MQTT", section "MQTT Discovery".
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.core.scene import SceneLayout


@dataclass(frozen=True, slots=True)
class SourceTopics:
    """Where a source tells what.

    Attributes:
        source_id: its name.
        counts, state: topics with JSON, see docs/telemetry.md.
        status: `online` or `offline`, of the whole process.
    """

    source_id: str
    counts: str
    state: str
    status: str


def entities(topics: SourceTopics, prefix: str, discovery: str) -> Iterator[tuple[str, str]]:
    """Topic and payload of what every source has: whether it is live, and whether anybody is in view.

    Args:
        topics: of the source.
        prefix: of all topics of this process; keeps the entities of two of them apart.
        discovery: Home Assistant's discovery prefix.
    """
    make = _Maker(topics, prefix, discovery)
    yield make.entity(
        "binary_sensor",
        "connection",
        "Connection",
        state_topic=topics.state,
        value_template="{{ 'ON' if value_json.state == 'live' else 'OFF' }}",
        device_class="connectivity",
        entity_category="diagnostic",
    )
    yield make.entity(
        "binary_sensor",
        "presence",
        "Objects in view",
        value_template="{{ 'ON' if value_json.n_in_view > 0 else 'OFF' }}",
        device_class="occupancy",
    )


def rule_entities(topics: SourceTopics, layout: SceneLayout, prefix: str, discovery: str) -> Iterator[tuple[str, str]]:
    """Topic and payload of a source's zones (occupancy, alarm) and lines (crossings in either direction)."""
    make = _Maker(topics, prefix, discovery)
    for zone in layout.zone_names:
        value = f"value_json.zones[{_quoted(zone)}]"
        yield make.entity(
            "sensor",
            f"zone {zone}",
            f"{zone} occupancy",
            value_template=f"{{{{ {value}.objects }}}}",
            state_class="measurement",
            icon="mdi:account-group",
        )
        yield make.entity(
            "binary_sensor",
            f"alarm {zone}",
            f"{zone} alarm",
            value_template=f"{{{{ 'ON' if {value}.alarm else 'OFF' }}}}",
            device_class="safety",
        )
    for line, labels in zip(layout.line_names, layout.line_labels, strict=True):
        for direction, label in zip(("in", "out"), labels, strict=True):
            yield make.entity(
                "sensor",
                f"line {line} {direction}",
                f"{line} {label}",
                value_template=f"{{{{ value_json.lines[{_quoted(line)}]['{direction}'] }}}}",
                state_class="total_increasing",
                icon="mdi:counter",
            )


class _Maker:
    def __init__(self, topics: SourceTopics, prefix: str, discovery: str) -> None:
        self._topics = topics
        self._discovery = discovery
        self._device = slug(f"{prefix} {topics.source_id}")

    def entity(self, component: str, part: str, name: str, **settings: str) -> tuple[str, str]:
        """One entity's configuration."""
        object_id = slug(part)
        config = {
            "name": name,
            "unique_id": f"{self._device}_{object_id}",
            "state_topic": self._topics.counts,
            "availability_topic": self._topics.status,
            "device": {
                "identifiers": [self._device],
                "name": self._topics.source_id,
                "manufacturer": "Tracklight",
                "model": "Video source",
            },
            "origin": {"name": "tracklight"},
            **settings,
        }
        return f"{self._discovery}/{component}/{self._device}/{object_id}/config", json.dumps(config)


def slug(text: str) -> str:
    """A text as Home Assistant's ids are: letters, digits, _ and -; different for different texts."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", text)
    return plain if plain == text.replace(" ", "_") else f"{plain}_{zlib.crc32(text.encode()):08x}"


def _quoted(text: str) -> str:
    """A text as a string of a template, whose own braces must not end the template."""
    quoted = json.dumps(text, ensure_ascii=False)
    for mark in "{}%#":
        quoted = quoted.replace(mark, f"\\u{ord(mark):04x}")
    return quoted
