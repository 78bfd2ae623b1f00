"""Which broker, and below which topic: what `mqtt://user:password@host:1883/prefix` says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pipeline.core.errors import UsageError
from pipeline.core.url import Url

DEFAULT_PREFIX = "tracklight"
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class MqttPlace:
    """A broker and a topic prefix.

    Attributes:
        host, port: of the broker.
        tls: whether the connection is encrypted, and the broker's certificate checked.
        user, password: None where the broker asks for none.
        prefix: without slashes at its ends.
    """

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    prefix: str

    @property
    def shown(self) -> str:
        """Without credentials, for messages."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_place(text: str) -> MqttPlace:
    """What the address says.

    Raises:
        UsageError: it names no broker, or a prefix that no topic can have.
    """
    url = Url(text)
    form = f"output {url}: wanted mqtt://user:${{PASSWORD}}@host:1883/prefix"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UsageError(f"{form}, found a host or port that cannot be") from None
    if url.scheme not in _PORTS or not host:
        raise UsageError(f"{form}, found no broker")
    if "?" in text or "#" in text:
        raise UsageError(f"{form}, found ? or # behind it (percent-encode them in a password)")
    prefix = unquote(parts.path).strip("/") or DEFAULT_PREFIX
    if re.search(r"[+#\x00-\x1f$]|//", prefix):
        raise UsageError(f"{form}, found a prefix with one of + # $ // or a control character")
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return MqttPlace(host, port or _PORTS[url.scheme], url.scheme == "mqtts", user, password, prefix)
