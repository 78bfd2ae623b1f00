"""A detector alone, and its three stages: preparation of pictures, network, boxes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from detector.backends import DetectorBackend
from detector.detector import YoloDetector
from detector.open_network import OpenedNetwork, Wanted, open_network
from pipeline.benchmark.configuration import DETECTOR, DETECTOR_STAGES, Configuration
from pipeline.benchmark.measured import Measured
from pipeline.benchmark.shared_stages import first_frames
from pipeline.benchmark.stopwatch import Stopwatch, time_calls
from pipeline.benchmark.usage import cpu_s, peak_memory_mb
from pipeline.config.build import detector_config
from pipeline.core.arrays import ImageArray

_HELD_FRAMES = 16


class ObservedBackend:
    """A backend that notes when its work began and ended, on a GPU including what was still queued there.

    Args:
        backend: does the work.
    """

    def __init__(self, backend: DetectorBackend) -> None:
        self._backend = backend
        self.spans: list[tuple[float, float, float, float]] = []
        """Of each call: begin and end (s), CPU time at begin and end (s)."""

    def infer(self, images: torch.Tensor) -> Any:
        """What the backend gives."""
        began_s, began_cpu_s = time.perf_counter(), cpu_s()
        output = self._backend.infer(images)
        if self._backend.device.type == "cuda":
            torch.cuda.synchronize(self._backend.device)
        self.spans.append((began_s, time.perf_counter(), began_cpu_s, cpu_s()))
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def open_observed(configuration: Configuration) -> tuple[YoloDetector, ObservedBackend, dict[str, object]]:
    """The detector of a configuration, warmed up, its backend observed; and what `auto` stood for.

    Raises:
        TracklightError: it cannot run here.
    """
    config = detector_config(configuration.detector_section())
    wanted = Wanted(config.backend, config.precision, config.device, config.threads)
    opened = open_network(config.weights, config.weights_sha256, wanted)
    observed = ObservedBackend(opened.backend)
    detector = YoloDetector(config, network=opened._replace(backend=cast(DetectorBackend, observed)))
    detector.warmup()
    return detector, observed, what_ran(opened, detector)


def what_ran(opened: OpenedNetwork, detector: YoloDetector) -> dict[str, object]:
    """What `auto` stood for: backend, precision, device, height and width of the largest input."""
    return {
        # Each backend is a file of its name.
        "backend": type(opened.backend).__module__.rsplit(".", 1)[-1],
        "precision": opened.backend.precision,
        "device": str(opened.backend.device),
        "input_hw": detector.input_hw,
    }


def prepare(configuration: Configuration) -> Measured:
    """Open the network and run it once: what it is converted to is kept from then on, and faults are known.

    Raises:
        TracklightError: it cannot run here.
    """
    began_s = time.perf_counter()
    detector, _, ran = open_observed(configuration)
    try:
        detector.detect_images([np.full((*detector.input_hw, 3), 114, np.uint8)])
    finally:
        detector.close()
    return Measured(load_s=time.perf_counter() - began_s, ran=ran)


def measure_detector(configuration: Configuration, clip: Path, seconds: float) -> Measured:
    """Time the detector on frames of the clip for `seconds`, one call after another.

    Raises:
        TracklightError: it cannot run here, or the clip cannot be read.
    """
    began_s = time.perf_counter()
    detector, observed, ran = open_observed(configuration)
    load_s = time.perf_counter() - began_s
    _, images = first_frames(clip, max(_HELD_FRAMES, configuration.batch))
    calls = _Calls(detector, observed, _batches(images, configuration.batch))
    try:
        whole = time_calls(calls.detect, seconds, frames_per_call=configuration.batch)
    finally:
        detector.close()
    stages = {**calls.stages(whole.calls), DETECTOR: whole}
    return Measured(stages, peak_memory_mb(), load_s, ran, {"objects_per_frame": calls.objects_per_frame})


class _Calls:
    """Calls of a detector, split where its backend begins and ends."""

    def __init__(
        self, detector: YoloDetector, observed: ObservedBackend, batches: Sequence[Sequence[ImageArray]]
    ) -> None:
        self._detector = detector
        self._observed = observed
        self._batches = batches
        self._splits: list[tuple[int, tuple[float, float], tuple[float, float], tuple[float, float]]] = []
        self._objects = self._frames = 0

    def detect(self, k: int) -> None:
        """One call."""
        batch = self._batches[k % len(self._batches)]
        self._observed.spans.clear()
        began_s, began_cpu_s = time.perf_counter(), cpu_s()
        found = self._detector.detect_images(batch)
        whole = (time.perf_counter() - began_s, cpu_s() - began_cpu_s)
        # A backend with a largest batch is called several times; what lies between is preparation of nothing new.
        spans = self._observed.spans
        before = (spans[0][0] - began_s, spans[0][2] - began_cpu_s)
        inside = (sum(s[1] - s[0] for s in spans), sum(s[3] - s[2] for s in spans))
        after = (whole[0] - before[0] - inside[0], whole[1] - before[1] - inside[1])
        self._splits.append((len(batch), before, inside, after))
        self._objects += sum(map(len, found))
        self._frames += len(batch)

    def stages(self, n_last: int) -> dict[str, Any]:
        """Figures of the three stages over the last calls, those before having been warm-up."""
        watches = [Stopwatch() for _ in DETECTOR_STAGES]
        for frames, *parts in self._splits[-n_last:]:
            for watch, (wall_s, spent_s) in zip(watches, parts, strict=True):
                watch.add(wall_s, spent_s, frames)
        return {name: watch.figures() for name, watch in zip(DETECTOR_STAGES, watches, strict=True)}

    @property
    def objects_per_frame(self) -> float:
        """Boxes that it found."""
        return self._objects / self._frames


def _batches(images: Sequence[ImageArray], size: int) -> list[list[ImageArray]]:
    """Full batches of frames in their order; one that begins again at the first frame where there are too few."""
    whole = [list(images[i : i + size]) for i in range(0, len(images) - size + 1, size)]
    return whole or [[images[i % len(images)] for i in range(size)]]
