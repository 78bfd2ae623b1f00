"""One connection to an MQTT broker, kept up in a thread of its own. Nobody waits for it."""

from __future__ import annotations

import contextlib
import logging
import secrets
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import MissingExtraError
from pipeline.core.url import redact
from sinks.backlog import Backlog
from sinks.mqtt_place import MqttPlace

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
"""Before the second attempt to connect; doubles from then on."""
LONGEST_PAUSE_S = 30.0
KEEPALIVE_S = 10
"""A broker that is silent for twice as long has gone."""
CONNECT_S = 3.0
IN_FLIGHT = 20
"""Messages on their way at once; more wait where they can be bounded."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of which only the newest of its topic matters."""

    topic: str
    payload: str
    qos: int = 0
    retain: bool = False


class MqttLink:
    """Connects, connects again, and sends: of each topic the newest message, and the backlog in its order.

    Retained messages are told again after every connection: a broker that lost its memory has them back.

    Args:
        place: the broker.
        will: what the broker tells everyone when this process is gone without a word.
        hello: what is told first after every connection.
        backlog: records `{"topic", "payload"}`, sent with QoS 1 and kept until the broker has them.
        tick: called about once a second by the link's thread.
        ca_file: certificates to trust instead of the system's (mqtts).

    Raises:
        MissingExtraError: paho-mqtt is not installed.
    """

    def __init__(
        self,
        place: MqttPlace,
        *,
        will: Message,
        hello: Message,
        backlog: Backlog,
        tick: Callable[[], None],
        ca_file: Path | None = None,
    ) -> None:
        try:
            from paho.mqtt import client as paho
        except ImportError:
            raise MissingExtraError("paho-mqtt", "mqtt", f"the output {place.shown}") from None
        self._paho = paho
        self._place = place
        self._will = will
        self._hello = hello
        self._backlog = backlog
        self._tick = tick
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._fresh: dict[str, Message] = {}
        self._retained: dict[str, Message] = {}
        self._in_flight: dict[int, int | None] = {}
        self._given = -1
        self._accepted = False
        self._refusal = ""
        self._is_away = False
        self._tick_at_s = 0.0
        self._closing = threading.Event()
        self._give_up_s = float("inf")
        self._woken, self._wake = socket.socketpair()
        for end in (self._woken, self._wake):
            end.setblocking(False)
        self.n_connections = 0
        self.n_delivered = 0
        self._thread = threading.Thread(target=self._run, name=f"mqtt:{place.host}:{place.port}")

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def post(self, message: Message) -> None:
        """Send a message soon, unless a newer one of its topic comes first. From any thread."""
        with self._lock:
            if message.retain:
                if self._retained.get(message.topic) == message:
                    return
                self._retained[message.topic] = message
            self._fresh[message.topic] = message
        self.nudge()

    def nudge(self) -> None:
        """Something was put into the backlog. From any thread."""
        with contextlib.suppress(BlockingIOError):
            self._wake.send(b"1")

    def close(self, drain_s: float) -> None:
        """Tick once more, send what waits, for some seconds at most, then the will, and leave. Once, after `start`."""
        self._give_up_s = time.monotonic() + drain_s
        self._tick_at_s = 0.0
        self._closing.set()
        self.nudge()
        self._thread.join()
        for end in (self._woken, self._wake):
            end.close()

    # -- the link's thread --------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._over():
            client = self._new_client()
            try:
                client.connect(self._place.host, self._place.port, keepalive=KEEPALIVE_S)
                self._serve(client)
                reason = self._refusal or "the connection was lost"
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or str(error)
            except Exception:  # a mistake of ours or of the library's must not end what the run tells
                logger.exception("%s", self._place.shown)
                reason = "the connection was given up"
            finally:
                self._leave(client)
            if self._accepted:
                pause_s = FIRST_PAUSE_S
            if self._over():
                return
            self._say_away(reason)
            self._pause(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _over(self) -> bool:
        return self._closing.is_set() and (time.monotonic() >= self._give_up_s or self._is_drained())

    def _is_drained(self) -> bool:
        with self._lock:
            is_empty = not self._fresh and not self._in_flight and not self._backlog.n_waiting
        return self._accepted and self._tick_at_s > 0 and is_empty

    def _new_client(self) -> Any:
        """A client without a memory: what was on its way is sent again by us, not by it."""
        paho = self._paho
        client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=f"tracklight-{secrets.token_hex(6)}",
            protocol=paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        if self._place.user is not None:
            client.username_pw_set(self._place.user, self._place.password)
        if self._place.tls:
            client.tls_set(ca_certs=str(self._ca_file) if self._ca_file else None)
        client.on_connect = self._connected
        client.on_publish = self._arrived
        self._in_flight.clear()
        self._accepted, self._refusal = False, ""
        self._backlog.rewind()
        return client

    def _connected(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refused: {reason}"
            return
        self._accepted = True
        self.n_connections += 1
        with self._lock:
            # What is not retained is old by now.
            self._fresh = {self._hello.topic: self._hello, **self._retained}
        if self._is_away:
            self._is_away = False
            logger.warning("%s: connected again", self._place.shown)

    def _arrived(self, _client: Any, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        number = self._in_flight.pop(mid, None)
        if number is None:
            return
        self.n_delivered += 1
        still = [one for one in self._in_flight.values() if one is not None]
        self._backlog.done(min(still) - 1 if still else self._given)

    def _serve(self, client: Any) -> None:
        """Send and receive until the connection ends or all is done."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            connection = client.socket()
            selector.register(connection, selectors.EVENT_READ)
            while not self._over():
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.want_write() else 0)
                selector.modify(connection, wanted)
                # What TLS has decrypted already makes no socket readable.
                pending = self._place.tls and connection.pending()
                selector.select(0 if pending else min(1.0, max(self._give_up_s - time.monotonic(), 0.0)))
                self._drain_wakes()
                self._tick_if_due()
                if not self._turn(client):
                    return

    def _turn(self, client: Any) -> bool:
        """One round of reading, writing and publishing; False once the connection has ended."""
        # Reading comes first: it is what makes room for more, and the select has waited for it.
        if client.loop_read() != self._paho.MQTT_ERR_SUCCESS:
            return False
        if self._accepted:
            self._feed(client)
        for step in (client.loop_write, client.loop_misc):
            if client.socket() is None or step() != self._paho.MQTT_ERR_SUCCESS:
                return False
        return client.socket() is not None and not self._refusal

    def _feed(self, client: Any) -> None:
        while len(self._in_flight) < IN_FLIGHT:
            with self._lock:
                message = self._fresh.pop(next(iter(self._fresh))) if self._fresh else None
            number = None
            if message is None:
                item = self._backlog.next()
                if item is None:
                    return
                number, record = item
                self._given = number
                message = Message(str(record["topic"]), str(record["payload"]), qos=1)
            info = client.publish(message.topic, message.payload, message.qos, message.retain)
            if info.rc != self._paho.MQTT_ERR_SUCCESS:
                return  # the connection has ended; the next one begins with whatever is not known to have arrived
            # QoS 0 is done as soon as it is written, often before publish returns.
            if not info.is_published():
                self._in_flight[info.mid] = number

    def _leave(self, client: Any) -> None:
        """Hang up; at the run's end tell that this process leaves, for a second at most."""
        connection = client.socket()
        if connection is None:
            return
        if self._closing.is_set() and self._accepted:
            client.publish(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        client.disconnect()
        # Once all of it is written the client closes the connection itself.
        while client.socket() is not None and _is_writable(connection, 1.0):
            client.loop_write()
        connection.close()

    def _drain_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                """All of them are one."""

    def _tick_if_due(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._tick_at_s:
            self._tick_at_s = now_s + 1.0
            self._tick()

    def _pause(self, pause_s: float) -> None:
        until_s = time.monotonic() + pause_s
        while (left_s := min(until_s, self._give_up_s) - time.monotonic()) > 0 and not self._over():
            self._tick_if_due()
            with selectors.DefaultSelector() as selector:
                selector.register(self._woken, selectors.EVENT_READ)
                selector.select(min(left_s, 1.0))
            self._drain_wakes()

    def _say_away(self, reason: str) -> None:
        """Once, not for every attempt of a night."""
        if not self._is_away:
            self._is_away = True
            where = f" in {self._backlog.place}" if self._backlog.place else ""
            logger.warning("%s: %s; events wait%s until it is back", self._place.shown, redact(reason), where)


def _is_writable(connection: socket.socket, timeout_s: float) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        return bool(selector.select(timeout_s))
