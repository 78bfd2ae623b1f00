"""Percentiles by nearest rank: always a value that was measured, never one between two."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pipeline.core.errors import UsageError


def nearest_rank(fraction: float, count: int) -> int:
    """Which one of `count` ascending values is the percentile, counted from 1.

    Args:
        fraction: 0 to 1.
        count: 1 or more.
    """
    return max(math.ceil(fraction * count), 1)


def percentile(values: Sequence[float], fraction: float) -> float:
    """The smallest value that at least `fraction` (0 to 1) of all values do not exceed.

    Raises:
        UsageError: no values, or a fraction outside 0 to 1.
    """
    if not values or not 0 <= fraction <= 1:
        raise UsageError(f"percentile: wanted values and a fraction of 0 to 1, found {len(values)} and {fraction}")
    return sorted(values)[nearest_rank(fraction, len(values)) - 1]
