"""Which way of running is best, within limits; and which ones nothing else is better than in every respect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.core.errors import UsageError
from pipeline.tune.simulated import Row

AS_GOOD = 0.002
"""Streaming APs (0 to 1) that differ by no more are equal: less than two real runs of one configuration differ."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may take.

    Attributes:
        max_latency_ms: from a frame's arrival to its result, 95th percentile; None = any.
        max_cores: CPU cores that the whole run keeps busy; None = any.
    """

    max_latency_ms: float | None = None
    max_cores: float | None = None

    def excess(self, row: Row) -> float:
        """By how much a row exceeds the limit that it exceeds most, as a factor; 1 or less: it keeps all."""
        pairs = ((row.latency_p95_ms, self.max_latency_ms), (row.cores, self.max_cores))
        return max((value / most for value, most in pairs if most is not None), default=0.0)


def pareto_front(rows: Sequence[Row]) -> list[Row]:
    """The rows that no other one equals or beats in streaming AP, latency and CPU at once; best streaming AP first.

    Of rows that are equal in all three the first one stays.
    """
    front: list[Row] = []
    for row in sorted(rows, key=_goodness):
        if not any(_beats(other, row) for other in front):
            front.append(row)
    return front


def best_within(rows: Sequence[Row], limits: Limits) -> Row:
    """The row of the best streaming AP; of those that are as good, the one that takes least CPU.

    Raises:
        UsageError: none keeps the limits; tells the nearest.
    """
    allowed = [row for row in rows if limits.excess(row) <= 1]
    if not allowed:
        nearest = min(rows, key=limits.excess)
        raise UsageError(
            f"tune: wanted {_words(limits)}, found none that keeps to it; the nearest is {described(nearest)}"
        )
    most = max(row.sap for row in allowed)
    return min((row for row in allowed if row.sap >= most - AS_GOOD), key=lambda row: (row.cores, -row.sap))


def described(row: Row) -> str:
    """A row in one line."""
    size = f" at {row.configuration.img_size} px" if row.configuration.img_size else ""
    return (
        f"{row.configuration.weights}{size}, {row.backend} {row.precision}, scheduler {row.scheduler}, "
        f"compensate {row.compensate}: sAP {100 * row.sap:.1f}, latency {row.latency_p95_ms:.1f} ms (p95), "
        f"{row.cores:.2f} cores"
    )


def _goodness(row: Row) -> tuple[float, float, float]:
    return -row.sap, row.latency_p95_ms, row.cores


def _beats(one: Row, other: Row) -> bool:
    return all(a <= b for a, b in zip(_goodness(one), _goodness(other), strict=True))


def _words(limits: Limits) -> str:
    words = []
    if limits.max_latency_ms is not None:
        words.append(f"latency up to {limits.max_latency_ms:g} ms (p95)")
    if limits.max_cores is not None:
        words.append(f"up to {limits.max_cores:g} cores")
    return " and ".join(words)
