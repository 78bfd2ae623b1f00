"""Which build of the inner loops runs: the compiled one where it exists, else the NumPy one. Their results are equal.

`TRACKLIGHT_TRACKER_KERNELS=numpy` (or `cython`) in the environment forces one; `BACKEND` says which one is the default.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Protocol, cast

from pipeline.core.errors import BackendError, UsageError
from tracker.association import MatchRule
from tracker.numpy_kernels import Float32, Real, Whole

MODULES = {"cython": "tracker._fast", "numpy": "tracker.numpy_kernels"}
VARIABLE = "TRACKLIGHT_TRACKER_KERNELS"


class Kernels(Protocol):
    """The inner loops; tracker.numpy_kernels documents them."""

    NAME: str

    def predict(self, real: Real, whole: Whole, moves_new: bool, dt_s: float, noise: tuple[float, ...]) -> None:
        """Move the tracks on in time."""

    def split(
        self, xyxy: Float32, score: Float32, low_score: float, high_score: float, exclusive: bool
    ) -> tuple[Whole, Whole, int]:
        """Sort detections into high and low."""

    def match(
        self,
        real: Real,
        whole: Whole,
        rows: Whole,
        xyxy: Float32,
        score: Float32,
        class_id: Whole,
        columns: Whole,
        rule: MatchRule,
    ) -> tuple[Whole, Whole, Whole, Whole]:
        """Associate tracks with detections."""

    def correct(
        self,
        real: Real,
        whole: Whole,
        rows: Whole,
        xyxy: Float32,
        score: Float32,
        columns: Whole,
        frame: int,
        now_s: float,
    ) -> None:
        """Correct tracks by their detections."""

    def duplicates(
        self, real: Real, whole: Whole, n_seen: int, max_cost: float, per_class: bool, extent_px: float
    ) -> tuple[Whole, Whole]:
        """Find pairs of a seen and a lost track on one object."""

    def rows_in_order(self, whole: Whole, n_seen: int, n_before: int) -> tuple[Whole, int]:
        """Sort rows into seen and lost."""

    def select(self, real: Real, whole: Whole, last_state: int) -> tuple[Float32, Float32, Whole, Whole, Whole]:
        """The fields of the tracks to show."""


def load_kernels(name: str) -> Kernels:
    """The inner loops `cython` or `numpy`.

    Raises:
        UsageError: another name.
        BackendError: `cython` is wanted and the extension is not built.
    """
    if name not in MODULES:
        raise UsageError(f"tracker kernels: wanted one of {', '.join(MODULES)}, found {name!r}; check {VARIABLE}")
    if importlib.util.find_spec(MODULES[name]) is None:
        raise BackendError(
            f"tracker kernels: wanted {name!r}, found no compiled {MODULES[name]}; build it with: pip install -e ."
        )
    return cast(Kernels, importlib.import_module(MODULES[name]))


def _default() -> Kernels:
    forced = os.environ.get(VARIABLE)
    if forced:
        return load_kernels(forced)
    return load_kernels("cython" if importlib.util.find_spec(MODULES["cython"]) else "numpy")


DEFAULT = _default()
BACKEND = DEFAULT.NAME
