"""Mean and median of any number of durations in little memory."""

from __future__ import annotations

import math
from collections import Counter

_SHORTEST_S = 0.001
_STEP = math.log(1.01)


class Durations:
    """Counts durations in classes that are 1 % wide, so that weeks of them take no more room than a day's."""

    def __init__(self) -> None:
        self._classes: Counter[int] = Counter()
        self._n = 0
        self._sum_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one, 0 s or more."""
        self._classes[-1 if duration_s < _SHORTEST_S else int(math.log(duration_s / _SHORTEST_S) / _STEP)] += 1
        self._n += 1
        self._sum_s += duration_s

    def __len__(self) -> int:
        return self._n

    @property
    def mean_s(self) -> float:
        """Exact; there must be one."""
        return self._sum_s / self._n

    @property
    def median_s(self) -> float:
        """To 0.5 %, and 0 below a millisecond; of an even number the lower middle one; there must be one."""
        seen = 0
        for number in sorted(self._classes):
            seen += self._classes[number]
            if 2 * seen >= self._n:
                break
        return 0.0 if number < 0 else _SHORTEST_S * math.exp((number + 0.5) * _STEP)
