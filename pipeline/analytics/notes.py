"""Short texts beside objects in pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pipeline.core.arrays import Float64Array, IntArray


class Notes(Mapping[int, str]):
    """Speed and dwell of each object that has one, by track id. Put into words once somebody reads them.

    Args:
        track_id: int64 (m,).
        speed_kmh: float64 (m,), nan where unknown; None: nobody has one.
        dwell_s: float64 (m,): how long the object has been in a zone, 0 in none; None: there are no zones.
    """

    def __init__(self, track_id: IntArray, speed_kmh: Float64Array | None, dwell_s: Float64Array | None) -> None:
        self._track_id, self._speed_kmh, self._dwell_s = track_id, speed_kmh, dwell_s
        self._words: dict[int, str] | None = None

    def __getitem__(self, track_id: int) -> str:
        return self._read()[track_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def _read(self) -> dict[int, str]:
        # Two threads that come at once both make the same words.
        if self._words is None:
            nothing = np.zeros(len(self._track_id))
            speeds = (nothing * np.nan if self._speed_kmh is None else np.rint(self._speed_kmh)).tolist()
            dwells = (nothing if self._dwell_s is None else self._dwell_s).tolist()
            words = {}
            for track_id, speed, dwell_s in zip(self._track_id.tolist(), speeds, dwells, strict=True):
                told = [f"{speed:.0f} km/h"] if speed == speed else []
                if dwell_s:
                    told.append(f"{dwell_s:.0f} s")
                if told:
                    words[track_id] = ", ".join(told)
            self._words = words
        return self._words
