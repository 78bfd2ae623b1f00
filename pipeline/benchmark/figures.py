"""Statistics: calls to figures of one repeat, repeats to figures with their spread, and two of them to a verdict."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.core.errors import UsageError
from pipeline.core.percentile import percentile

MIN_DIFFERENCE = 0.03
"""Smaller differences are never called one: the placement of a process in memory alone makes as much."""
MIN_REPEATS = 3
"""Two repeats can agree by chance; nothing is said about the noise of fewer."""

Verdict = Literal["better", "worse", "within the noise", "too few repeats"]


@dataclass(frozen=True, slots=True)
class StageFigures:
    """One stage in one repeat.

    Attributes:
        calls: how many were measured; warm-up is not among them.
        p50_ms: median time of a call, which may hold several frames.
        p95_ms: 95th percentile.
        p99_ms: 99th percentile.
        frames_per_s: frames over the time of all calls.
        cpu_s_per_frame: CPU time of the process and its children, all threads.
    """

    calls: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    frames_per_s: float
    cpu_s_per_frame: float


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over all repeats: median, lowest and highest."""

    median: float
    low: float
    high: float
    n: int

    @property
    def relative(self) -> float:
        """Highest minus lowest as a fraction of the median; 0 where the median is 0."""
        return (self.high - self.low) / self.median if self.median else 0.0


def stage_figures(durations_ms: Sequence[float], *, frames: int, wall_s: float, cpu_s: float) -> StageFigures:
    """The figures of one stage.

    Args:
        durations_ms: time of each call.
        frames: frames in all calls together.
        wall_s: time in which they were done.
        cpu_s: CPU time that they took.

    Raises:
        UsageError: nothing was measured.
    """
    if not durations_ms or frames < 1 or wall_s <= 0:
        raise UsageError("bench: wanted at least one measured call, found none; take a longer --seconds")
    p50, p95, p99 = (percentile(durations_ms, fraction) for fraction in (0.50, 0.95, 0.99))
    return StageFigures(len(durations_ms), p50, p95, p99, frames / wall_s, cpu_s / frames)


def over_repeats(values: Sequence[float]) -> Spread:
    """Median and extremes.

    Raises:
        UsageError: no values.
    """
    if not values:
        raise UsageError("over_repeats: wanted at least one value, found none")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def ratio_by_turns(values: Sequence[float], baseline: Sequence[float]) -> Spread:
    """Ratio of two things measured in turns: one ratio for each round, so that what slows a round slows both.

    Raises:
        UsageError: not as many of both, or none.
    """
    if len(values) != len(baseline):
        raise UsageError(f"ratio_by_turns: wanted as many of both, found {len(values)} and {len(baseline)}")
    return over_repeats([value / base for value, base in zip(values, baseline, strict=True)])


def verdict(new: Spread, old: Spread, *, higher_is_better: bool) -> Verdict:
    """Whether `new` differs from `old` by more than both vary by themselves.

    It does where their ranges do not meet and their medians are more than MIN_DIFFERENCE apart. The ranges of two equal
    things miss each other once in 126 times with five repeats each, and once in ten with three.
    """
    if min(new.n, old.n) < MIN_REPEATS:
        return "too few repeats"
    apart = new.low > old.high or new.high < old.low
    if not apart or abs(new.median - old.median) <= MIN_DIFFERENCE * abs(old.median):
        return "within the noise"
    return "better" if (new.median > old.median) == higher_is_better else "worse"
