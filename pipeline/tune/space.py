"""What is tried: weights, sizes, backends and precisions, in the order in which they are worth measuring."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch

from detector.download import file_sha256
from detector.open_network import RUNS
from detector.zoo import DEFAULT_WEIGHTS, list_models, resolve_weights
from pipeline.benchmark.configuration import Configuration
from pipeline.core.errors import UsageError

DEFAULT_SIZES = (320, 416, 640)
BACKENDS = ("openvino", "onnxruntime", "tensorrt", "eager")
"""Those that are mostly faster first."""
PRECISIONS = ("fp32", "bf16", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Network:
    """What decides which boxes are found; the backend only decides how soon.

    Attributes:
        weights: file, or name of `tracklight models`.
        img_size: side of the input, px.
        precision: what it computes in.
    """

    weights: str
    img_size: int | None
    precision: str

    @classmethod
    def of(cls, configuration: Configuration, precision: str) -> Network:
        """That of a configuration which computes in this precision."""
        return cls(configuration.weights, configuration.img_size, precision)


@dataclass(frozen=True, slots=True)
class Space:
    """Everything that is to be tried.

    Attributes:
        weights: files, or names of `tracklight models`.
        img_sizes: sides of the input, px.
        backends: runtimes; None = those that are there, slow ones left out as soon as they are known to be.
        precisions: what to compute in; None = each backend's best in floats.
        device: where it runs.
    """

    weights: Sequence[str]
    img_sizes: Sequence[int]
    backends: Sequence[str] | None = None
    precisions: Sequence[str] | None = None
    device: str = "cpu"

    def groups(self) -> Iterator[tuple[Configuration, ...]]:
        """The configurations, those of one model, size and wish of precision together; small inputs first.

        Raises:
            CheckpointError: weights that cannot be had.
            UsageError: none of the backends runs a file.
        """
        kinds = {weights: self._kinds(weights) for weights in dict.fromkeys(self.weights)}
        for img_size, weights in product(dict.fromkeys(self.img_sizes), kinds):
            precisions, backends = kinds[weights]
            for precision in precisions:
                yield tuple(
                    Configuration(weights, backend, precision, img_size, 1, self.device) for backend in backends
                )

    def _kinds(self, weights: str) -> tuple[Sequence[str], Sequence[str]]:
        """Precisions and backends of a file."""
        suffix = resolve_weights(weights).suffix
        backends = tuple(dict.fromkeys(self.backends or self._usual_backends()))
        if suffix not in RUNS:
            return tuple(dict.fromkeys(self.precisions or ("auto",))), backends
        able = tuple(backend for backend in backends if backend in RUNS[suffix])
        if not able:
            raise UsageError(
                f"{weights}: wanted a backend that runs {suffix} files ({', '.join(RUNS[suffix])}), "
                f"found {', '.join(backends)}"
            )
        return ("auto",), able

    def _usual_backends(self) -> tuple[str, ...]:
        return tuple(name for name in BACKENDS if name != ("tensorrt" if self.device == "cpu" else "openvino"))


def usual_device() -> str:
    """A GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def usual_weights() -> list[str]:
    """The model that ships with the project, and those of `tracklight models` that are on disk, light ones first."""
    there = [row.weights for row in list_models() if row.on_disk is not None and row.weights.name != DEFAULT_WEIGHTS]
    return [DEFAULT_WEIGHTS, *(one.name for one in sorted(there, key=lambda one: one.gflops))]


def weights_digest(weights: str) -> str:
    """SHA-256 of a weight file; of an OpenVINO model both of its files count."""
    path = resolve_weights(weights)
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    return "-".join(file_sha256(part) for part in parts if part.is_file())
