"""Takes alerts to where people see them: a web hook, or a program. One thread per alert, so none holds up another."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import queue
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
"""Before the second attempt; doubles from then on."""
_NOT_WORTH_A_RETRY = frozenset(range(400, 500)) - {408, 425, 429}


class DeliveryError(Exception):
    """One attempt failed; `final` where another one would fail the same way."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


class Channel(Protocol):
    """One way to tell somebody."""

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Tell it once. Raises DeliveryError."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST becomes a GET without its body: an alert that nobody gets and no error tells."""

    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        """Refuse, so that the redirect arrives as the error it is."""


class Webhook:
    """POSTs the message as JSON.

    Args:
        url: http:// or https://.
        headers: sent with it, over the usual ones.
        timeout_s: for connecting, and for each answer.
    """

    def __init__(self, url: str, headers: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._headers = {"Content-Type": "application/json", "User-Agent": "tracklight", **headers}
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirects)
        # The path of a web hook is often the secret itself: logs name the host only.
        self.shown = f"{urlsplit(url).scheme}://{urlsplit(url).hostname}"

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Tell it once. Raises DeliveryError."""
        body = json.dumps(message, ensure_ascii=False).encode()
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(1)
        except urllib.error.HTTPError as error:
            error.close()
            text = f"{self.shown} answered {error.code} {error.reason}"
            raise DeliveryError(text, final=error.code in _NOT_WORTH_A_RETRY or 300 <= error.code < 400) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DeliveryError(f"{self.shown} cannot be reached: {reason}") from None


class Command:
    """Runs a program, without a shell: the words are its arguments as they stand, the message comes on its input.

    Args:
        words: the program and its arguments; `{rule}` and the like are filled in.
        timeout_s: the program, and all it started, is killed after this.
    """

    def __init__(self, words: Sequence[str], timeout_s: float) -> None:
        self._words = tuple(words)
        self._timeout_s = timeout_s
        self.shown = words[0]

    def deliver(self, message: Mapping[str, Any]) -> None:
        """Tell it once. Raises DeliveryError."""
        arguments = [fill(word, message) for word in self._words]
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise DeliveryError(f"{self.shown} cannot be run: {error.strerror or error}", final=True) from None
        try:
            _, said = process.communicate(json.dumps(message, ensure_ascii=False).encode(), self._timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise DeliveryError(f"{self.shown} did not end within {self._timeout_s:g} s and was killed") from None
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            reason = f": {lines[-1][:200]}" if lines else ""
            raise DeliveryError(f"{self.shown} ended with {process.returncode}{reason}")


PLACEHOLDERS = ("alert", "text", "event_id", "kind", "phase", "rule", "source", "class", "start_s", "track_id")
"""What the words of a command may hold in braces."""


def fill(word: str, message: Mapping[str, Any]) -> str:
    """The word with its placeholders filled in. Plain replacement: a format string could reach into objects."""
    event = message["event"]
    values = {**event, "alert": message["alert"], "text": message["text"], "track_id": (event["track_ids"] or [""])[0]}
    for name in PLACEHOLDERS:
        value = values.get(name)
        word = word.replace("{" + name + "}", "" if value is None else str(value))
    return word


class Delivery:
    """A queue and a thread in front of one channel; tries again with growing pauses.

    Args:
        name: of the alert, for the log.
        channel: where messages go.
        attempts: how often one message is tried.
        capacity: messages that may wait; more are dropped and counted.
    """

    def __init__(self, name: str, channel: Channel, *, attempts: int, capacity: int) -> None:
        self._name = name
        self._channel = channel
        self._attempts = attempts
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(capacity)
        self._hurry = threading.Event()
        self._failing = False
        self.n_delivered = 0
        self.n_failed = 0
        self.n_dropped = 0
        self._thread = threading.Thread(target=self._loop, name=f"alert:{name}")
        self._thread.start()

    def send(self, message: Mapping[str, Any]) -> bool:
        """Queue a message; False if too many wait already."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.n_dropped += 1
            return False
        return True

    def close(self, drain_s: float) -> None:
        """Deliver what waits, for at most `drain_s` plus one attempt; the rest is given up and said."""
        deadline = threading.Timer(drain_s, self._hurry.set)
        deadline.start()
        try:
            # Room for the end comes as soon as one message is done, and in a hurry all are done at once.
            self._waiting.put(None)
            self._thread.join()
        finally:
            deadline.cancel()
            deadline.join()

    def _loop(self) -> None:
        n_given_up = 0
        while (message := self._waiting.get()) is not None:
            if self._hurry.is_set():
                n_given_up += 1
            else:
                self._deliver(message)
        if n_given_up:
            self.n_failed += n_given_up
            logger.warning("alert %s: %d messages were not delivered before the end", self._name, n_given_up)

    def _deliver(self, message: Mapping[str, Any]) -> None:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, self._attempts + 1):
            try:
                self._channel.deliver(message)
            except DeliveryError as error:
                if error.final or attempt == self._attempts or self._hurry.wait(pause_s):
                    self._lost(error)
                    return
                pause_s *= 2
            else:
                self.n_delivered += 1
                if self._failing:
                    self._failing = False
                    logger.warning("alert %s: messages are delivered again", self._name)
                return

    def _lost(self, error: DeliveryError) -> None:
        """Say it once, not for every message of a server that is down all night."""
        self.n_failed += 1
        if not self._failing:
            self._failing = True
            logger.warning("alert %s: not delivered: %s", self._name, error)
