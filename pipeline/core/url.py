"""Addresses that may hold credentials, and the masking of credentials in any text."""

from __future__ import annotations

import logging
import re
import threading
from urllib.parse import unquote

_CREDENTIALS = re.compile(r"(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/?#]*@")
_QUERY_SECRET = re.compile(
    r"(?i)([?&](?:pass|passwd|password|passphrase|pwd|token|key|secret|auth|api_key|apikey)=)[^&\s#'\"]+"
)
_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]*://")

_secrets: set[str] = set()
_secrets_lock = threading.Lock()


def register_secret(value: str) -> None:
    """Mask `value` in every text that `redact` sees from now on (not under 4 characters: that masks plain text)."""
    if len(value) >= 4:
        with _secrets_lock:
            _secrets.add(value)


def redact(text: str) -> str:
    """The text with credentials of URLs, secret query values and registered secrets replaced by `***`."""
    text = _CREDENTIALS.sub(r"\g<scheme>***@", text)
    text = _QUERY_SECRET.sub(r"\1***", text)
    with _secrets_lock:
        # Longest first: a secret that holds another one must not leave its rest behind.
        for secret in sorted(_secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
    return text


class Url:
    """A URL whose `str()` and `repr()` hide its credentials; `reveal()` gives the real one, for the opening library."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        match = re.match(r"^[a-zA-Z][a-zA-Z0-9+.-]*://([^\s/?#]*)@", value)
        if match:
            _, _, password = match.group(1).partition(":")
            register_secret(password)
            # Servers and libraries report it as they read it, without the percent signs.
            register_secret(unquote(password))

    @staticmethod
    def looks_like(text: str) -> bool:
        """Whether the text begins with a scheme such as `rtsp://`."""
        return _SCHEME.match(text) is not None

    @property
    def scheme(self) -> str:
        """Lower-case scheme without `://`, or an empty text."""
        return self._value.split("://", 1)[0].lower() if self.looks_like(self._value) else ""

    def reveal(self) -> str:
        """The URL with its credentials."""
        return self._value

    def __str__(self) -> str:
        return redact(self._value)

    def __repr__(self) -> str:
        return f"Url({redact(self._value)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class RedactingFilter(logging.Filter):
    """The second net: masks credentials in every log record, its arguments and its traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; nothing is held back."""
        message = record.getMessage()
        masked = redact(message)
        if masked != message:
            record.msg, record.args = masked, None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True
