"""Pictures that look alike: how much of a picture differs from another, and groups of look-alikes.

Two pictures are compared as thumbnails of 32 x 32 grey cells. Their difference is the share of cells that changed by
more than noise does, so a still camera's pictures differ by as much as the things that move in it take up.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import ImageArray, IntArray
from pipeline.core.errors import ShapeError, UsageError

Fingerprint = NDArray[np.int16]
"""(1024,) grey levels of the cells, less the picture's median, so that a change of exposure counts for nothing."""

SIDE = 32
CELLS = SIDE * SIDE
FIRST_SIDE = 128
"""Least side of what a large picture is shrunk to before its cells are averaged (px)."""
NOISE = 16
"""Grey levels (of 255) by which a cell differs through compression and sensor noise alone."""
BLOCK = 4096
"""Fingerprints that are compared at once; bounds the memory."""

_ORDER = np.random.default_rng(0).permutation(CELLS)
"""Cells are stored in a fixed random order, so that the first few are a sample of the whole picture."""


def fingerprint(image: ImageArray) -> Fingerprint:
    """What a picture looks like from afar.

    Args:
        image: uint8 (h, w, 3), BGR.

    Raises:
        ShapeError: another kind of array, or a picture without pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ShapeError(f"fingerprint: wanted a uint8 picture (h, w, 3), found {image.dtype} {image.shape}")
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    # Whole numbers of pixels are averaged several times as fast; the rest at the border is under 1 % of the picture.
    step = max(1, min(grey.shape) // FIRST_SIDE)
    height, width = (side // step for side in grey.shape)
    whole = grey[: height * step, : width * step]
    small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    cells = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.int16).ravel()[_ORDER]
    return np.asarray(cells - np.int16(np.median(cells)), np.int16)


def difference(a: Fingerprint, b: Fingerprint) -> float:
    """Share of the picture that differs, from 0 (alike) to 1."""
    return float(np.count_nonzero(np.abs(a - b) > NOISE)) / CELLS


class Gallery:
    """Fingerprints to compare new pictures with.

    Args:
        min_difference: pictures that differ by less (share of the picture, 0 to 1) are look-alikes.
    """

    def __init__(self, min_difference: float) -> None:
        self._limit = _cells(min_difference)
        self._held = np.zeros((64, CELLS), np.int16)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def add(self, new: Fingerprint) -> None:
        """Remember a picture."""
        if self._n == len(self._held):
            self._held = np.concatenate([self._held, np.zeros_like(self._held)])
        self._held[self._n] = new
        self._n += 1

    def look_alike(self, new: Fingerprint) -> int | None:
        """Number (in the order of `add`) of a remembered picture that looks like this one, or None."""
        for begin in range(0, self._n, BLOCK):
            found = _alike(self._held[begin : min(begin + BLOCK, self._n)], new, self._limit)
            if len(found):
                return begin + int(found[0])
        return None


def group_look_alikes(fingerprints: NDArray[np.int16], min_difference: float) -> IntArray:
    """Put pictures into groups so that no two of different groups look alike (single linkage).

    Args:
        fingerprints: int16 (n, 1024).
        min_difference: pictures that differ by less (share of the picture, 0 to 1) look alike.

    Returns:
        int64 (n,), the position of the first picture of each one's group.
    """
    limit = _cells(min_difference)
    parent = list(range(len(fingerprints)))
    for position, one in enumerate(fingerprints):
        for begin in range(0, position, BLOCK):
            for other in _alike(fingerprints[begin : min(begin + BLOCK, position)], one, limit).tolist():
                first, second = _root(parent, begin + other), _root(parent, position)
                parent[max(first, second)] = min(first, second)
    return np.array([_root(parent, position) for position in range(len(parent))], np.int64)


def _cells(min_difference: float) -> int:
    """The least number of changed cells at which two pictures count as different."""
    if not 0 <= min_difference <= 1:
        raise UsageError(f"min_difference: wanted a share of the picture from 0 to 1, found {min_difference}")
    return int(np.ceil(min_difference * CELLS - 1e-9))


def _alike(held: NDArray[np.int16], one: Fingerprint, limit: int) -> IntArray:
    """Rows of `held` with fewer than `limit` changed cells.

    Changed cells are counted over a few cells first: rows that reach the limit there are out, which is exact and spares
    most of the work, since most pictures have little in common.
    """
    rows = np.arange(len(held))
    counted = np.zeros(len(held), np.int64)
    begin, end = 0, min(CELLS, max(64, 2 * limit))
    while begin < CELLS and len(rows):
        changed = np.abs(held[rows, begin:end] - one[begin:end]) > NOISE
        counted = counted + np.count_nonzero(changed, axis=1)
        near = counted < limit
        rows, counted = rows[near], counted[near]
        begin, end = end, CELLS
    return rows


def _root(parent: list[int], position: int) -> int:
    while parent[position] != position:
        parent[position] = parent[parent[position]]
        position = parent[position]
    return position
