"""How long a detector takes for a frame, as measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.core.arrays import IntArray, read_only
from pipeline.core.errors import UsageError
from pipeline.core.whole_file import write_whole

_AT_ONCE = 1024
"""Draws made in one call: a thousand times faster than one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Runtimes:
    """Measured runtimes, taken as an empirical distribution.

    Attributes:
        samples_ns: int64 (k,), each above 0.
        name: what was measured.

    Raises:
        UsageError: no sample, or one that is not above 0.
        ShapeError: another shape or dtype.
    """

    samples_ns: IntArray
    name: str

    def __post_init__(self) -> None:
        samples = read_only("Runtimes.samples_ns", self.samples_ns, np.int64, (None,))
        object.__setattr__(self, "samples_ns", samples)
        if not len(samples):
            raise UsageError(f"runtimes of {self.name}: wanted at least one, found none")
        if samples.min() <= 0:
            raise UsageError(f"runtimes of {self.name}: wanted each above 0 ns, found {samples.min()}")

    @classmethod
    def constant(cls, runtime_ms: float, name: str = "") -> Runtimes:
        """A detector that always takes the same time."""
        return cls(np.array([round(runtime_ms * 1e6)], np.int64), name or f"{runtime_ms:g} ms")

    @property
    def mean_ns(self) -> float:
        """Mean, ns."""
        return float(self.exact_mean_ns)

    @property
    def exact_mean_ns(self) -> Fraction:
        """Mean, ns, without rounding."""
        return Fraction(int(self.samples_ns.sum()), len(self.samples_ns))

    def draws(self, seed: int) -> Iterator[int]:
        """Endless independent draws in ns; the same seed gives the same ones."""
        generator = np.random.default_rng(seed)
        while True:
            yield from generator.choice(self.samples_ns, _AT_ONCE).tolist()

    def scaled(self, factor: float | Fraction) -> Runtimes:
        """Runtimes of a device that takes `factor` times as long, each rounded to 1 ns.

        Raises:
            UsageError: a factor that is not above 0, or that leaves less than 1 ns.
        """
        samples = [round(sample * Fraction(factor)) for sample in self.samples_ns.tolist()]
        return Runtimes(np.array(samples, np.int64), f"{self.name} x {float(factor):g}")

    def save(self, path: Path) -> None:
        """Write them as JSON.

        Raises:
            OSError: the system refused.
        """
        write_whole(path, json.dumps({"name": self.name, "samples_ns": self.samples_ns.tolist()}) + "\n")

    @classmethod
    def load(cls, path: Path) -> Runtimes:
        """Read what `save` wrote.

        Raises:
            UsageError: no such file, or something else is in it.
        """
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            name, samples = document["name"], document["samples_ns"]
            whole = isinstance(samples, list) and all(type(sample) is int for sample in samples)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path}: wanted runtimes as JSON (name, samples_ns), found none ({error})") from error
        if not whole or not isinstance(name, str):
            raise UsageError(f"{path}: wanted samples_ns as a list of whole numbers and name as text, found others")
        return cls(np.array(samples, np.int64), name)
