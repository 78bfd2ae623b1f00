"""A live source that comes back after it broke."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.control import SourceState
from pipeline.core.errors import SourceError, UsageError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Clock, Source
from sources.network_errors import AccessDeniedError

log = logging.getLogger(__name__)

QUICK_DENIALS = 4
"""A camera that starts again may refuse everyone for some seconds; many lock a user out at the fifth wrong password."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class ReconnectConfig:
    """When to try again, and when to give up."""

    max_attempts: int = Field(default=0, ge=0, description="failed attempts in a row before giving up; 0 = never")
    wait_for_first: bool = Field(
        default=False,
        description="try again also before the stream was ever live; false = it must be there at the start",
    )
    first_delay_s: float = Field(default=0.5, gt=0, description="wait before the second attempt (s); then doubled")
    max_delay_s: float = Field(default=2.5, gt=0, description="longest wait between attempts (s)")
    denied_delay_s: float = Field(
        default=60.0,
        gt=0,
        description=f"wait once a stream that was live refused the password {QUICK_DENIALS} times in a row (s)",
    )
    jitter: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="each wait is shortened by up to this part, to spread many cameras",
    )


class ReconnectingSource:
    """Opens a source anew whenever it fails in a way that may pass.

    Frame numbers go on across breaks, and so does media time, which grows over a break by the time that it lasted.
    Errors that will not pass (unknown codec, no such stream, wrong password) end the source while it has never been
    live, and so does any other failure unless `wait_for_first`: a mistyped address is told at once. A camera that was
    live is waited for, whatever it answers. A password that goes on being refused is tried seldom, lest the camera lock
    the user out. A source that turns
    out to be a recording is passed through as it is, since opening it again would begin it from its start.

    Args:
        config: when to try again.
        make_source: makes a fresh source for every attempt.
        source_id: unique name of the source within the run.
        clock: clock of the waits.
        rng: source of the jitter.
    """

    def __init__(
        self,
        config: ReconnectConfig,
        make_source: Callable[[], Source],
        *,
        source_id: str,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._make_source = make_source
        self._source_id = source_id
        self._clock = clock
        self._rng = rng or random.Random()
        self._interrupted = threading.Event()
        self._lock = threading.Lock()
        self._inner: Source | None = None
        self._state = SourceState.ENDED
        self._is_live = True
        self._failures = 0
        self._denials = 0
        self._was_live = False
        self._index = 0
        self._attempts = 0
        self._since_ns = clock.now_ns()
        self._last: Frame | None = None
        self._pts_shift_s: float | None = 0.0
        self._past: dict[str, int] = {}
        self._reconnects = 0
        self._told: set[str] = set()

    @property
    def source_id(self) -> str:
        """Unique name of the source within the run."""
        return self._source_id

    @property
    def attempts(self) -> int:
        """How often a connection was tried or waited for; may be read from any thread."""
        return self._attempts

    @property
    def state(self) -> SourceState:
        """What the source is doing now; may be read from any thread."""
        return self._state

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters of all connections added up, and `reconnects`: how often the stream came back."""
        with self._lock:
            inner = self._inner
        return {**self._added(inner), "reconnects": self._reconnects}

    def open(self) -> StreamInfo:
        """Connect, however many attempts it takes.

        Raises:
            SourceError: an error that will not pass, `max_attempts` failures in a row, or interrupted.
            UsageError: the source is open already.
        """
        if self._inner is not None:
            raise UsageError(f"{self._source_id}: open() was called twice; close() it first")
        info = self._connect()
        if info is None:
            raise SourceError(f"{self._source_id}: was interrupted before it was open")
        self._is_live = info.is_live
        return info

    def read(self) -> Frame | None:
        """The next frame, after as many new connections as it takes; None after `interrupt`.

        Raises:
            SourceError: an error that will not pass, or `max_attempts` failures in a row.
        """
        if self._state is SourceState.ENDED:
            raise UsageError(f"{self._source_id}: read() was called on a source that is not open; call open() first")
        while self._inner is not None and not self._interrupted.is_set():
            try:
                frame = self._inner.read()
            except SourceError as error:
                if not self._is_live:
                    raise
                self._failed(error)
                if self._connect() is None:
                    return None
                self._reconnects += 1
                # Media time over the break is known when the first frame after it is there.
                self._pts_shift_s = None
                continue
            if frame is None:
                return None
            if self._failures:
                log.warning("%s: live again", self._source_id)
                self._told.clear()
            self._failures = self._denials = 0
            self._since_ns = self._clock.now_ns()
            return self._renumber(frame)
        return None

    def interrupt(self) -> None:
        """Make a blocked `open` or `read` return, a wait between attempts included."""
        self._interrupted.set()
        with self._lock:
            if self._inner is not None:
                self._inner.interrupt()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self._drop_inner()
        if self._state is not SourceState.FAILED:
            self._state = SourceState.ENDED

    def _connect(self) -> StreamInfo | None:
        """Attempt until a source is open; None once interrupted."""
        while not self._interrupted.is_set():
            if self._failures and not self._back_off():
                return None
            self._state = SourceState.CONNECTING
            self._attempts += 1
            self._since_ns = self._clock.now_ns()
            inner = self._make_source()
            with self._lock:
                self._inner = inner
                if self._interrupted.is_set():
                    inner.interrupt()
            try:
                info = inner.open()
            except SourceError as error:
                if self._interrupted.is_set():
                    return None
                self._failed(error)
                continue
            self._state = SourceState.LIVE
            self._was_live = True
            return info
        return None

    def _failed(self, error: SourceError) -> None:
        """Count a failure; raises it where another attempt is pointless or not allowed."""
        self._drop_inner()
        self._failures += 1
        self._denials = self._denials + 1 if isinstance(error, AccessDeniedError) else 0
        # What was live once can be so again: a damaged answer looks like a refusal for any reason.
        if not error.retryable and not self._was_live:
            self._state = SourceState.FAILED
            raise error
        if not self._was_live and not self._config.wait_for_first:
            self._state = SourceState.FAILED
            raise SourceError(
                f"{error}; to wait until it is there: --set source.reconnect.wait_for_first=true"
            ) from error
        if self._config.max_attempts and self._failures >= self._config.max_attempts:
            self._state = SourceState.FAILED
            raise SourceError(f"{error} (gave up after {self._failures} attempts in a row)") from error
        self._tell(str(error))

    def _tell(self, failure: str) -> None:
        """One line for each new reason, then ever more seldom: a camera that is away for a week fills no log."""
        number = self._failures
        is_power_of_two = number & (number - 1) == 0
        if failure not in self._told or is_power_of_two:
            times = f" (attempt {number})" if number > 1 else ""
            log.warning("%s: %s; trying again%s", self._source_id, failure, times)
        self._told.add(failure)

    def _back_off(self) -> bool:
        """Wait until the next attempt may begin; False once interrupted.

        Waits count from the last sign of life or the start of the last attempt: where that hung until its time-out, the
        wait is over.
        """
        self._state = SourceState.BACKING_OFF
        self._attempts += 1
        doublings = min(self._failures - 1, 30)
        delay_s = min(self._config.first_delay_s * 2**doublings, self._config.max_delay_s)
        if self._denials >= QUICK_DENIALS:
            delay_s = max(delay_s, self._config.denied_delay_s)
        delay_s *= 1 - self._config.jitter * self._rng.random()
        return self._clock.wait_until(self._since_ns + round(delay_s * 1e9), self._interrupted)

    def _renumber(self, frame: Frame) -> Frame:
        if self._pts_shift_s is None:
            self._pts_shift_s = self._shift_over_break(frame)
        pts_s = None if frame.pts_s is None else frame.pts_s + self._pts_shift_s
        renumbered = replace(
            frame, source_id=self._source_id, index=self._index, pts_s=pts_s, n_breaks=self._reconnects
        )
        self._index += 1
        self._last = renumbered
        return renumbered

    def _shift_over_break(self, frame: Frame) -> float:
        if self._last is None or self._last.pts_s is None or frame.pts_s is None:
            return 0.0
        break_s = max((frame.captured_ns - self._last.captured_ns) / 1e9, 1e-3)
        return self._last.pts_s + break_s - frame.pts_s

    def _drop_inner(self) -> None:
        with self._lock:
            inner, self._inner = self._inner, None
        if inner is not None:
            self._past = self._added(inner)
            inner.close()

    def _added(self, inner: Source | None) -> dict[str, int]:
        now = inner.counters if inner is not None else {}
        return {name: self._past.get(name, 0) + now.get(name, 0) for name in {**self._past, **now}}
