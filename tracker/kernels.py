"""Which build of the tracker's step runs: the compiled one where it exists, else the NumPy one, with equal results.

`TRACKLIGHT_TRACKER_KERNELS=numpy` (or `cython`) in the environment forces one; `BACKEND` says which one is the default.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from typing import Protocol, cast

from pipeline.core.detections import Detections
from pipeline.core.errors import BackendError, UsageError
from tracker.numpy_kernels import Float32, Whole
from tracker.rules import StepRules

MODULES = {"cython": "tracker._fast", "numpy": "tracker.numpy_tracks"}
VARIABLE = "TRACKLIGHT_TRACKER_KERNELS"


class HeldTracks(Protocol):
    """The tracks of one source and what a frame does to them; tracker.numpy_tracks documents it."""

    def clear(self) -> None:
        """Forget all tracks and the time."""

    def __len__(self) -> int:
        """Number of tracks held."""

    def count(self, state: int) -> int:
        """Number of tracks held in a state."""

    def read(self, detections: Detections) -> int:
        """Take the detections of the next frame; return the first row that is not finite, or -1."""

    def step(self, dt_s: float, is_cut: bool) -> tuple[Float32, Float32, Whole, Whole, Whole]:
        """Do to the tracks what the detections read last ask for; return the fields of the tracks to show."""

    def motion(self) -> tuple[Float32, Float32, Float32]:
        """How the tracks to show move: the fields of pipeline.core.motion.TrackMotion."""


class Build(Protocol):
    """The class that a build holds tracks in."""

    def __call__(self, rules: StepRules) -> HeldTracks:
        """Hold no tracks yet."""


def load_kernels(name: str) -> Build:
    """The build `cython` or `numpy`.

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
    return cast(Build, importlib.import_module(MODULES[name]).HeldTracks)


def _default() -> str:
    return os.environ.get(VARIABLE) or ("cython" if importlib.util.find_spec(MODULES["cython"]) else "numpy")


BACKEND = _default()
DEFAULT = load_kernels(BACKEND)
