"""Latency and counts of one source over the last minutes, in steps."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pipeline.core.percentile import percentile

STEP_S = 5
KEPT_S = 900


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """Some seconds of a source.

    Attributes:
        begin_ns: on the run's clock.
        frames: results in these seconds.
        latency_p50_ms, latency_p95_ms: capture to emission.
        objects_mean, objects_max: objects in a frame.
        events: how many happened.
        ap50_lost: share of AP50 that latency took, as it was known at the end; 0 where it was not.
    """

    begin_ns: int
    frames: int
    latency_p50_ms: float
    latency_p95_ms: float
    objects_mean: float
    objects_max: int
    events: int
    ap50_lost: float


@dataclass(slots=True)
class _OpenStep:
    number: int
    latencies_ms: list[float] = field(default_factory=list)
    objects: int = 0
    objects_max: int = 0
    events: int = 0
    ap50_lost: float = 0.0

    def closed(self) -> HistoryStep:
        frames = len(self.latencies_ms)
        return HistoryStep(
            self.number * STEP_S * 1_000_000_000,
            frames,
            percentile(self.latencies_ms, 0.5),
            percentile(self.latencies_ms, 0.95),
            self.objects / frames,
            self.objects_max,
            self.events,
            self.ap50_lost,
        )


class History:
    """The steps of one source; steps without results are left out. Not for several threads at once."""

    def __init__(self) -> None:
        self._steps: deque[HistoryStep] = deque(maxlen=KEPT_S // STEP_S)
        self._open: _OpenStep | None = None

    def add(self, at_ns: int, latency_ms: float, n_objects: int, n_events: int, ap50_lost: float = 0.0) -> None:
        """Count one result, later than those before; `ap50_lost` is what is known by then."""
        number = at_ns // (STEP_S * 1_000_000_000)
        if self._open is None or self._open.number != number:
            if self._open is not None:
                self._steps.append(self._open.closed())
            self._open = _OpenStep(number)
        step = self._open
        step.latencies_ms.append(latency_ms)
        step.objects += n_objects
        step.objects_max = max(step.objects_max, n_objects)
        step.events += n_events
        step.ap50_lost = ap50_lost

    def steps(self, now_ns: int) -> list[HistoryStep]:
        """Those of the last `KEPT_S` seconds, oldest first; the last one may still be going on."""
        steps = [*self._steps, *([self._open.closed()] if self._open else [])]
        return [step for step in steps if step.begin_ns > now_ns - KEPT_S * 1_000_000_000]
