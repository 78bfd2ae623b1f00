"""Alerts that outlive the run: what could not be delivered waits on disk, and is tried until somebody has it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sinks.alert_delivery import FIRST_PAUSE_S, Channel, DeliveryError
from sinks.spool import Spool

logger = logging.getLogger(__name__)

LONGEST_PAUSE_S = 60.0


class SpooledDelivery:
    """A spool and a thread in front of one channel, in the place of `Delivery`.

    A message is on disk before `send` returns, and leaves it once it was delivered or refused for good. After a kill
    the last ones may be delivered twice; `event.event_id` and `event.phase` tell.

    Args:
        name: of the alert, for the log.
        channel: where messages go.
        folder: of the spool.
        max_bytes: most of it; the oldest messages make room.

    Raises:
        SinkError: the folder cannot be used.
    """

    def __init__(self, name: str, channel: Channel, *, folder: Path, max_bytes: int) -> None:
        self._name = name
        self._channel = channel
        self._spool = Spool(folder, max_bytes)
        self._came = threading.Event()
        self._ending = threading.Event()
        self._hurry = threading.Event()
        self._failing = False
        self.n_delivered = 0
        self.n_failed = 0
        self._thread = threading.Thread(target=self._loop, name=f"alert:{name}")
        self._thread.start()

    @property
    def n_dropped(self) -> int:
        """Messages that had to make room, or that the disk refused."""
        return self._spool.n_dropped

    def send(self, message: Mapping[str, Any]) -> bool:
        """Keep a message until it is delivered."""
        self._spool.append(message)
        self._came.set()
        return True

    def close(self, drain_s: float) -> None:
        """Deliver what waits, for at most `drain_s` plus one attempt; the rest waits for the next run."""
        deadline = threading.Timer(drain_s, self._hurry.set)
        deadline.start()
        try:
            self._ending.set()
            self._came.set()
            self._thread.join()
        finally:
            deadline.cancel()
            deadline.join()
        if self._spool.n_waiting:
            place = self._spool.place
            logger.warning(
                "alert %s: %d messages wait in %s for the next run", self._name, self._spool.n_waiting, place
            )
        self._spool.close()

    def _loop(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._hurry.is_set():
            self._came.clear()
            item = self._spool.next()
            if item is None:
                if self._ending.is_set():
                    return
                self._came.wait()
            elif self._deliver(*item):
                pause_s = FIRST_PAUSE_S
            else:
                self._spool.rewind()
                self._hurry.wait(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _deliver(self, number: int, message: Mapping[str, Any]) -> bool:
        """Whether the message needs no other attempt."""
        try:
            self._channel.deliver(message)
        except DeliveryError as error:
            if not self._failing:
                self._failing = True
                what = "refused" if error.final else f"waits in {self._spool.place}"
                logger.warning("alert %s: %s: %s", self._name, what, error)
            if not error.final:
                return False
            self.n_failed += 1
        else:
            self.n_delivered += 1
            if self._failing:
                self._failing = False
                logger.warning("alert %s: messages are delivered again", self._name)
        self._spool.done(number)
        return True
