"""Durations per stage: percentiles over the whole run in bounded memory, and over the last moments."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.control import Histogram
from pipeline.core.percentile import nearest_rank

BINS_PER_OCTAVE = 64
"""Two neighbouring bins differ by 1.1 %: the error bound of a percentile over a run."""
_N_BINS = 45 * BINS_PER_OCTAVE  # 1 ns to 2^45 ns, almost ten hours
RECENT = 256
"""How many of the last durations the rolling percentiles look at."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds; zeros where nothing was measured."""

    count: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    max_ms: float


class Durations:
    """Durations of one stage. One thread adds, any thread reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bins = np.zeros(_N_BINS, np.int64)
        self._recent: deque[int] = deque(maxlen=RECENT)
        self._count = 0
        self._total_ns = 0
        self._max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration (negative ones count as 0)."""
        duration_ns = max(duration_ns, 0)
        index = min(int(math.log2(duration_ns) * BINS_PER_OCTAVE), _N_BINS - 1) if duration_ns > 1 else 0
        with self._lock:
            self._bins[index] += 1
            self._recent.append(duration_ns)
            self._count += 1
            self._total_ns += duration_ns
            self._max_ns = max(self._max_ns, duration_ns)

    @property
    def total_ns(self) -> int:
        """Sum of all durations."""
        with self._lock:
            return self._total_ns

    def over_run(self) -> Percentiles:
        """Percentiles of everything since the start, each within 1.1 %."""
        with self._lock:
            if not self._count:
                return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0)
            cumulative = np.cumsum(self._bins)
            ranks = [nearest_rank(q, self._count) for q in (0.50, 0.95, 0.99)]
            indexes = np.searchsorted(cumulative, ranks)
            # The middle of a bin on the logarithmic scale halves its error; no percentile exceeds the maximum.
            values_ns = [min(2 ** ((int(i) + 0.5) / BINS_PER_OCTAVE), self._max_ns) for i in indexes]
            p50, p95, p99 = (value / 1e6 for value in values_ns)
            return Percentiles(self._count, p50, p95, p99, self._total_ns / self._count / 1e6, self._max_ns / 1e6)

    def up_to(self, bounds_s: Sequence[float]) -> Histogram:
        """How many durations were at or below each bound (s, > 0); the nearest edge of a bin stands for the bound."""
        edges = [min(max(round(math.log2(bound * 1e9) * BINS_PER_OCTAVE), 0), _N_BINS) for bound in bounds_s]
        with self._lock:
            below = np.concatenate(([0], np.cumsum(self._bins)))
            return Histogram(tuple(below[edges].tolist()), self._count, self._total_ns / 1e9)

    def recent(self) -> Percentiles:
        """Exact percentiles of the last RECENT durations."""
        with self._lock:
            values = np.sort(np.fromiter(self._recent, np.int64))
        if not len(values):
            return Percentiles(0, 0.0, 0.0, 0.0, 0.0, 0.0)
        p50, p95, p99 = (float(values[nearest_rank(q, len(values)) - 1]) / 1e6 for q in (0.50, 0.95, 0.99))
        return Percentiles(len(values), p50, p95, p99, float(values.mean()) / 1e6, float(values[-1]) / 1e6)
