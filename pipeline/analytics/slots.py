"""Arrays by slot."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def grown(array: npt.NDArray[Any], capacity: int) -> npt.NDArray[Any]:
    """The array with zeros behind it, up to `capacity` rows: what rules do with theirs when a view's capacity grew."""
    rows = np.zeros((capacity - len(array), *array.shape[1:]), array.dtype)
    return np.concatenate([array, rows])
