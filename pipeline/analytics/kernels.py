"""Which build of the rules' inner loops runs: the compiled one where it exists, else the NumPy one; results are equal.

`TRACKLIGHT_ANALYTICS_KERNELS=numpy` (or `cython`) in the environment forces one; `BACKEND` says which is the default.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol, cast

from pipeline.core.arrays import FloatArray, IntArray
from pipeline.core.errors import BackendError, UsageError

if TYPE_CHECKING:
    from pipeline.analytics.cells import Cells
    from pipeline.analytics.conditions import Conditions
    from pipeline.analytics.episodes import Episodes
    from pipeline.analytics.headcount import Headcount
    from pipeline.analytics.likeness import Seen, Vanished
    from pipeline.analytics.sides import Sides
    from pipeline.analytics.sightings import Sightings
    from pipeline.analytics.slopes import Slopes
    from pipeline.analytics.stays import Stays
    from pipeline.analytics.sudden_stops import SuddenStops
    from pipeline.analytics.ways import Ways

MODULES = {"cython": "pipeline.analytics.compiled_rules", "numpy": "pipeline.analytics.numpy_rules"}
EXTENSIONS = ("pipeline.analytics._motion", "pipeline.analytics._rules")
VARIABLE = "TRACKLIGHT_ANALYTICS_KERNELS"


class RuleKernels(Protocol):
    """What holds what rules know of objects and works it out frame by frame; the NumPy ones are documented."""

    Cells: type[Cells]
    Conditions: type[Conditions]
    Episodes: type[Episodes]
    Headcount: type[Headcount]
    Sides: type[Sides]
    Sightings: type[Sightings]
    Slopes: type[Slopes]
    Stays: type[Stays]
    SuddenStops: type[SuddenStops]
    Ways: type[Ways]

    @staticmethod
    def alike(
        time_s: float, xyxy: FloatArray, class_id: IntArray, vanished: Vanished, seen: Iterable[Seen], min_iou: float
    ) -> list[tuple[float, int, int]]:
        """Pairs of a new box and a vanished object that may be one."""


def load_kernels(name: str) -> RuleKernels:
    """The build `cython` or `numpy`.

    Raises:
        UsageError: another name.
        BackendError: `cython` is wanted and the extension is not built, or was built from other sources.
    """
    if name not in MODULES:
        raise UsageError(f"analytics kernels: wanted one of {', '.join(MODULES)}, found {name!r}; check {VARIABLE}")
    if name == "cython" and not is_built():
        raise BackendError(
            f"analytics kernels: wanted {name!r}, found no compiled {' and '.join(EXTENSIONS)}; build them with: "
            "pip install -e ."
        )
    try:
        return cast(RuleKernels, importlib.import_module(MODULES[name]))
    except ImportError as error:
        raise BackendError(
            f"analytics kernels: the compiled build is not of this version ({error}); build it again with: "
            "pip install -e ."
        ) from error


def is_built() -> bool:
    """Whether the compiled build is there."""
    return all(importlib.util.find_spec(name) is not None for name in EXTENSIONS)


BACKEND = os.environ.get(VARIABLE) or ("cython" if is_built() else "numpy")
DEFAULT = load_kernels(BACKEND)
