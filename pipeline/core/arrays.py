"""Array types and the one check that the data types share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import ShapeError

FloatArray = NDArray[np.float32]
Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ImageArray = NDArray[np.uint8]


def read_only(name: str, array: Any, dtype: type[np.generic], shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Check dtype and shape, and return a read-only view (the caller's own array stays writable).

    Args:
        name: what the error calls the array.
        array: the array to check; nothing is converted.
        dtype: the dtype wanted.
        shape: the shape wanted; None admits any length on that axis.

    Raises:
        ShapeError: not an ndarray, another dtype, or another shape.
    """
    if not isinstance(array, np.ndarray):
        raise ShapeError(f"{name}: wanted a numpy array, found {type(array).__name__}")
    if array.dtype != dtype:
        raise ShapeError(f"{name}: wanted dtype {np.dtype(dtype)}, found {array.dtype}; convert with .astype()")
    # Equal tuples are the usual case, and this check runs a dozen times per frame.
    if array.shape != shape and (
        array.ndim != len(shape) or any(w is not None and w != s for w, s in zip(shape, array.shape, strict=False))
    ):
        wanted = "(" + ", ".join("n" if w is None else str(w) for w in shape) + ")"
        raise ShapeError(f"{name}: wanted shape {wanted}, found {array.shape}")
    if not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view
