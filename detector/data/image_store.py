"""Pictures at training size, decoded once and shared by all worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from detector.data.training_set import TrainingImage
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import DatasetError


class ImageStore:
    """Pictures with their longer side at `side_px`, by index.

    What was decoded stays in a file without a name, mapped into memory: processes that are started later share it, it
    leaves memory when that gets short, and it is gone with the last of them, however that ends.

    Args:
        images: the pictures.
        side_px: longer side after resizing, px.
        keep: whether to keep what was decoded.
        folder: where the file is; None: the system's temporary folder.

    Raises:
        DatasetError: a picture cannot be decoded, or its size is not what its labels speak of.
    """

    def __init__(
        self, images: Sequence[TrainingImage], side_px: int, *, keep: bool = True, folder: Path | None = None
    ) -> None:
        self._paths = [image.path for image in images]
        self._original = [image.shape_hw for image in images]
        self._shapes = [_fitted(image.shape_hw, side_px) for image in images]
        sizes = np.array([height * width * 3 for height, width in self._shapes], np.int64)
        self._ends = np.cumsum(sizes)
        self._pixels: ImageArray | None = None
        self._there: ImageArray | None = None
        if keep and len(images):
            self._pixels = _shared_bytes(int(self._ends[-1]), folder)
            self._there = _shared_bytes(len(images), folder)

    @property
    def nbytes(self) -> int:
        """Bytes of all pictures at this size."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> ImageArray:
        """uint8 (h, w, 3), BGR. Not to be changed."""
        if self._pixels is None or self._there is None:
            return self._decoded(index)
        height, width = self._shapes[index]
        end = int(self._ends[index])
        place = self._pixels[end - height * width * 3 : end].reshape(height, width, 3)
        if not self._there[index]:
            # Two processes may do this at once; both write the same.
            place[:] = self._decoded(index)
            self._there[index] = 1
        return place

    def _decoded(self, index: int) -> ImageArray:
        path = self._paths[index]
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DatasetError(f"{path}: wanted an image, found a file that cannot be decoded")
        if image.shape[:2] != self._original[index]:
            raise DatasetError(
                f"{path}: wanted {self._original[index]} px (h, w) as its labels say, found {image.shape[:2]}"
            )
        height, width = self._shapes[index]
        if image.shape[:2] == (height, width):
            return image  # type: ignore[return-value]
        shrinks = height < image.shape[0]
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        return cv2.resize(image, (width, height), interpolation=how)  # type: ignore[return-value]


def _fitted(shape_hw: tuple[int, int], side_px: int) -> tuple[int, int]:
    scale = side_px / max(shape_hw)
    return max(1, round(shape_hw[0] * scale)), max(1, round(shape_hw[1] * scale))


def _shared_bytes(count: int, folder: Path | None) -> ImageArray:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(count)
        return np.memmap(file, np.uint8, "r+", shape=(count,))
