"""The sinks of a run: which there are now, and what became of those that hang."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from pipeline.core.errors import StageError
from pipeline.runtime.report import SinkReport
from pipeline.runtime.sink_worker import SinkBinding, SinkLine

logger = logging.getLogger(__name__)

MOST_HUNG = 3
"""Threads of one sink that may hang at once; it is not begun anew beyond that, lest they add up."""


class SinkLines:
    """Every sink behind its line. Iterating is safe from any thread while sinks come and go.

    Args:
        bindings: the sinks that the run begins with.
        make_line: puts a sink behind a channel and a thread, not started yet.
    """

    def __init__(self, bindings: Sequence[SinkBinding], make_line: Callable[[SinkBinding], SinkLine]) -> None:
        self._make_line = make_line
        self._lock = threading.Lock()
        # Replaced, never changed: threads go through it while sinks are added.
        self._now: tuple[SinkLine, ...] = tuple(make_line(binding) for binding in bindings)
        self._let_go: list[SinkLine] = []
        self._past: dict[str, SinkReport] = {}
        """Of those that were let go and have ended since."""
        self._errors: list[StageError] = []

    def __iter__(self) -> Iterator[SinkLine]:
        return iter(self._now)

    @property
    def errors(self) -> tuple[StageError, ...]:
        """Of sinks that the run goes on without."""
        with self._lock:
            return tuple(self._errors)

    def add(self, bindings: Sequence[SinkBinding]) -> tuple[SinkLine, ...]:
        """More sinks; they take the place of ended ones of the same names. Returns their lines, to be started."""
        lines = tuple(self._make_line(binding) for binding in bindings)
        names = {binding.name for binding in bindings}
        with self._lock:
            self._now = (*(line for line in self._now if line.binding.name not in names), *lines)
        return lines

    def of_source(self, source_id: str) -> list[SinkLine]:
        """Those that serve this source alone."""
        return [line for line in self._now if line.binding.source_id == source_id]

    def end(self, source_id: str | None = None) -> None:
        """No more results come, for all or for those that serve this source alone."""
        with self._lock:
            for line in self._now if source_id is None else self.of_source(source_id):
                line.end()

    def free(self, line: SinkLine, error: StageError) -> SinkLine | None:
        """Go on without a sink that hangs. Returns the line of a new one, to be started, where one can be made."""
        binding = line.binding
        name = binding.name
        new = None
        with self._lock:
            n_hung = sum(other.binding.name == name and other.worker.alive for other in (line, *self._let_go))
            # One that hangs after its last result has nothing to begin anew for.
            if binding.remake is not None and n_hung < MOST_HUNG and not line.has_ended:
                new = self._make_line(replace(binding, sink=binding.remake()))
            line.let_go()
            for other in [other for other in self._let_go if not other.worker.alive]:
                self._let_go.remove(other)
                _add(self._past, other)
            there = (other if other is not line else new for other in self._now)
            self._now = tuple(other for other in there if other is not None)
            self._let_go.append(line)
            if new is None:
                self._errors.append(error)
        logger.warning("%s; %s", error, "the run goes on without it" if new is None else "it is begun anew")
        return new

    def reports(self) -> dict[str, SinkReport]:
        """By name; a sink that was begun anew is told with its former selves."""
        with self._lock:
            found, lines = dict(self._past), (*self._let_go, *self._now)
        for line in lines:
            _add(found, line)
        return found


def _add(reports: dict[str, SinkReport], line: SinkLine) -> None:
    name, now = line.binding.name, line.account()
    before = reports.get(name, SinkReport(0, 0, 0))
    counters = Counter(before.counters)
    counters.update(now.counters)
    reports[name] = SinkReport(
        before.handed + now.handed, before.written + now.written, before.dropped + now.dropped, dict(counters)
    )
