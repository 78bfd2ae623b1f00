"""Which build of the code behind the network runs: the compiled one where it exists, else PyTorch's and NumPy's.

Their results are equal. `TRACKLIGHT_DETECTOR_KERNELS=torch` (or `cython`) in the environment forces one; `BACKEND` says
which one is the default.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from detector.head_spec import HeadSpec
from detector.torch_boxes import Boxes
from pipeline.core.arrays import FloatArray, IntArray
from pipeline.core.errors import BackendError, UsageError

if TYPE_CHECKING:
    from detector.nms import NmsSettings

MODULES = {"cython": "detector._boxes", "torch": "detector.torch_boxes"}
VARIABLE = "TRACKLIGHT_DETECTOR_KERNELS"


class BoxKernels(Protocol):
    """From what a network gives to boxes; detector.torch_boxes documents it."""

    NAME: str

    def boxes_of_rows(self, rows: FloatArray, settings: NmsSettings) -> list[Boxes]:
        """Boxes of each image of decoded candidates (b, k, 5 + nc)."""

    def boxes_of_maps(self, maps: Sequence[NDArray[np.float32]], head: HeadSpec, settings: NmsSettings) -> list[Boxes]:
        """Boxes of each image of logits (b, na * (5 + nc), ny, nx) per level."""

    def boxes_of_places(
        self,
        places: FloatArray,
        grids_hw: Sequence[tuple[int, ...]],
        n_images: int,
        head: HeadSpec,
        settings: NmsSettings,
    ) -> list[Boxes]:
        """Boxes of each image from places (n, 10) that were picked on a device."""

    def suppress(self, cxcywh: FloatArray, confidence: FloatArray, class_id: IntArray, settings: NmsSettings) -> Boxes:
        """Boxes of the candidates of one image."""


def load_kernels(name: str) -> BoxKernels:
    """The kernels `cython` or `torch`.

    Raises:
        UsageError: another name.
        BackendError: `cython` is wanted and the extension is not built.
    """
    if name not in MODULES:
        raise UsageError(f"detector kernels: wanted one of {', '.join(MODULES)}, found {name!r}; check {VARIABLE}")
    if importlib.util.find_spec(MODULES[name]) is None:
        raise BackendError(
            f"detector kernels: wanted {name!r}, found no compiled {MODULES[name]}; build it with: pip install -e ."
        )
    return cast(BoxKernels, importlib.import_module(MODULES[name]))


def _default() -> BoxKernels:
    forced = os.environ.get(VARIABLE)
    if forced:
        return load_kernels(forced)
    return load_kernels("cython" if importlib.util.find_spec(MODULES["cython"]) else "torch")


DEFAULT = _default()
BACKEND = DEFAULT.NAME
