"""What is measured: one way of running a network, and one job of a measuring process."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pipeline.config.schema import Section

What = Literal["shared", "detector", "end to end"]
"""shared: stages that no configuration changes. detector: preparation, network, boxes. end to end: video to video."""

SHARED_STAGES = ("decode", "track", "draw", "encode")
DETECTOR_STAGES = ("preprocess", "inference", "postprocess")
DETECTOR, END_TO_END = "detector", "end to end"
"""Names of the stages that hold a whole: all of DETECTOR_STAGES, and the whole pipeline."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """One way of running a network.

    Attributes:
        weights: file, or name of `tracklight models`.
        backend: runtime, or `auto`.
        precision: what it computes in, or `auto`.
        img_size: side of the input, px; None = what the weights are meant for.
        batch: frames in one call.
        device: where it runs.
    """

    weights: str
    backend: str = "auto"
    precision: str = "auto"
    img_size: int | None = None
    batch: int = 1
    device: str = "auto"

    @property
    def label(self) -> str:
        """Short; several files of one name are told apart by `labels`."""
        return self.named(Path(self.weights).name)

    def named(self, weights: str) -> str:
        """The label, with that name for the weights."""
        size = f"{self.img_size} px" if self.img_size else "own size"
        device = "" if self.device == "auto" else f" on {self.device}"
        return f"{weights} {self.backend} {self.precision} {size} batch {self.batch}{device}"

    def detector_section(self) -> Section:
        """The detector's section of a run's configuration."""
        section: Section = {"weights": self.weights, "backend": self.backend, "precision": self.precision}
        section["device"] = self.device
        return section if self.img_size is None else {**section, "img_size": self.img_size}


def configurations(
    *,
    weights: Sequence[str],
    backends: Sequence[str],
    precisions: Sequence[str],
    img_sizes: Sequence[int | None],
    batches: Sequence[int],
    device: str,
) -> Iterator[Configuration]:
    """Every combination, the last axis running fastest; doubles once."""
    axes = (weights, backends, precisions, img_sizes, batches)
    for combination in dict.fromkeys(product(*axes)):
        yield Configuration(*combination, device)


def labels(shown: Iterable[Configuration]) -> dict[Configuration, str]:
    """Of configurations that are shown together: short ones, no two alike.

    A file goes by its name, and by as many of its folders as tell it from others of that name.
    """
    every = list(dict.fromkeys(shown))
    files = {one.weights for one in every}
    return {one: one.named(_short_name(one.weights, files)) for one in every}


def _short_name(file: str, files: Collection[str]) -> str:
    parts = Path(file).parts
    others = [Path(other).parts for other in files if other != file]
    for n in range(1, len(parts) + 1):
        if all(other[-n:] != parts[-n:] for other in others):
            return str(Path(*parts[-n:]))
    return file


@dataclass(frozen=True, slots=True)
class Job:
    """What one measuring process does.

    Attributes:
        what: what it measures; `prepare` only opens the network, so that conversions are paid for and faults are known.
        configuration: how the network runs; `shared` needs none.
        clip: video that frames are read from.
        seconds: how long each measurement lasts; None, for `end to end` only, to the end of the clip.
        settings: of the run, as for `--set`; for `end to end` only.
    """

    what: What | Literal["prepare"]
    configuration: Configuration | None
    clip: str
    seconds: float | None
    settings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Job:
        """What `to_json` gave."""
        configuration = Configuration(**values["configuration"]) if values["configuration"] else None
        return cls(**{**values, "configuration": configuration, "settings": tuple(values["settings"])})
