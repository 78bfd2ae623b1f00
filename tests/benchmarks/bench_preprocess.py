"""Time from a decoded frame to the network's input, and what `detect` costs besides the network.

    taskset -c 0 python tests/benchmarks/bench_preprocess.py [--json out.json]

"usual way": resize, border, channels, layout and scaling as separate steps over new arrays, down to float planes.
"pictures": what `detect` does, straight into bytes that lie where those of the frame before lay; the network takes
these as they are. "besides the network": a whole call of `detect` with a network that gives logits of 50 boxes at once.
Frames are used in turn, so that none lies in a cache because it was the one before.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from bench_nms import TINY, maps

from detector.detector import DetectorConfig, YoloDetector
from detector.head_spec import HeadSpec
from detector.open_network import OpenedNetwork
from detector.preprocess import CanvasMemory, each_batch
from pipeline.core.arrays import ImageArray
from pipeline.core.protocols import IoSpec

SIZES_HW = {"720p": (720, 1280), "1080p": (1080, 1920), "480p": (480, 854)}
SIDE_PX = 640
N_FRAMES = 16
SECONDS = 1.0
"""Each way is timed for so long, in turns of one call."""


class InstantNetwork:
    """A backend that costs nothing: the same logits for every picture of 640x384."""

    device = torch.device("cpu")
    precision = "fp32"
    head: HeadSpec = TINY
    io_spec = IoSpec(stride=32, fixed_hw=None, max_batch=None, num_classes=80, output="maps")

    def __init__(self) -> None:
        self._maps = maps(TINY, above=50)

    def infer(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Logits of 50 boxes."""
        return self._maps

    def close(self) -> None:
        """Nothing is held."""


def usual_way(image: ImageArray) -> np.ndarray:
    """Float planes (1, 3, h, w), RGB in 0..1, a step at a time."""
    ratio = min(SIDE_PX / image.shape[0], SIDE_PX / image.shape[1])
    width, height = round(image.shape[1] * ratio), round(image.shape[0] * ratio)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    x, y = -width % 32, -height % 32
    padded = cv2.copyMakeBorder(
        resized, y // 2, y - y // 2, x // 2, x - x // 2, cv2.BORDER_CONSTANT, value=(114, 114, 114)
    )
    planes = np.ascontiguousarray(padded[:, :, ::-1].transpose(2, 0, 1))
    return planes[None].astype(np.float32) / 255


def ways() -> dict[str, Callable[[ImageArray], Any]]:
    """What is timed, by name."""
    memory = CanvasMemory()
    network = OpenedNetwork(InstantNetwork(), tuple(map(str, range(80))), (SIDE_PX, SIDE_PX), "yolov7")
    detector = YoloDetector(DetectorConfig(), network=network)
    return {
        "usual way": usual_way,
        "pictures": lambda image: list(each_batch([image], (SIDE_PX, SIDE_PX), "yolov7", memory, stride=32)),
        "besides the network": lambda image: detector.detect_images([image]),
    }


def measure(frames: list[ImageArray]) -> dict[str, tuple[float, float]]:
    """Best and median milliseconds by way."""
    spent: dict[str, list[float]] = {name: [] for name in ways()}
    calls = ways()
    for k in count():
        for number, (name, call) in enumerate(calls.items()):
            began_ns = time.perf_counter_ns()
            call(frames[(k + 5 * number) % N_FRAMES])
            spent[name].append((time.perf_counter_ns() - began_ns) / 1e6)
        if sum(map(sum, spent.values())) > SECONDS * 1e3 * len(calls):
            break
    return {name: (min(times), statistics.median(times)) for name, times in spent.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Time what comes before the network, and what detect adds to it.")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    target = parser.parse_args().json
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    figures = {}
    for size, (height, width) in SIZES_HW.items():
        # Noise: nothing here depends on what a picture shows.
        figures[size] = measure([rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(N_FRAMES)])
    print("milliseconds per frame: best (median)\n")
    print(f"{'':22s}" + "".join(f"{name:>20s}" for name in ways()))
    for size, by_way in figures.items():
        cells = "".join(f"{f'{best:.3f} ({median:.3f})':>20s}" for best, median in by_way.values())
        print(f"{size + ' to 640':22s}{cells}")
    if target:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        by_size = {
            size: {name: {"best_ms": best, "median_ms": median} for name, (best, median) in by_way.items()}
            for size, by_way in figures.items()
        }
        target.write_text(json.dumps({**machine, "per_frame": by_size}, indent=1) + "\n")


if __name__ == "__main__":
    main()
