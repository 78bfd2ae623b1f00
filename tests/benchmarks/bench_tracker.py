"""Time of one `ByteTracker.update` at several numbers of objects.

    python tests/benchmarks/bench_tracker.py [--json out.json]

Objects walk at constant speed; boxes are noisy, one in twelve is missed, one in six has a low score, and false boxes
come and go. Detections are made beforehand. The figure is the median over frames of the best of three runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

from pipeline.core.detections import Detections
from tracker import kernels
from tracker.bytetrack import ByteTrackConfig, ByteTracker

OBJECTS = (10, 50, 200)
FRAMES = 300
FPS = 30.0
RUNS = 3


def scene(n: int, seed: int = 0) -> list[Detections]:
    """Detections of n walking people in a picture that grows with their number."""
    rng = np.random.default_rng(seed)
    side = 250 * np.sqrt(n)
    centre, velocity = rng.uniform(0, side, (n, 2)), rng.uniform(-2, 2, (n, 2))
    half = np.column_stack([rng.uniform(15, 30, n), rng.uniform(40, 80, n)])
    frames = []
    for _ in range(FRAMES):
        centre = centre + velocity
        velocity = np.where((centre < 0) | (centre > side), -velocity, velocity)
        seen = rng.random(n) > 1 / 12
        false = rng.uniform(0, side, (rng.poisson(n / 20), 2))
        middle = np.concatenate([centre[seen] + rng.normal(0, 1, (int(seen.sum()), 2)), false])
        size = np.concatenate([half[seen], np.full((len(false), 2), 30.0)])
        score = np.where(rng.random(len(middle)) < 1 / 6, rng.uniform(0.15, 0.45, len(middle)), 0.9)
        xyxy = np.concatenate([middle - size, middle + size], axis=1)
        frames.append(Detections(xyxy.astype(np.float32), score.astype(np.float32), np.zeros(len(middle), np.int64)))
    return frames


def microseconds(frames: list[Detections], config: ByteTrackConfig, backend: str) -> float:
    """Median time of an update, of the best of several runs."""
    best = np.inf
    for _ in range(RUNS):
        tracker = ByteTracker(config, backend=backend)
        spent = []
        for i, detections in enumerate(frames):
            begin = time.perf_counter_ns()
            tracker.update(detections, i, i / FPS)
            spent.append(time.perf_counter_ns() - begin)
        best = min(best, float(np.median(spent)) / 1e3)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the tracker.")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    target = parser.parse_args().json
    names = ["numpy"] + (["cython"] if kernels.BACKEND == "cython" else [])
    figures = {
        f"{backend}-{n}{'-compat' if compat else ''}": microseconds(
            scene(n), ByteTrackConfig(reference_compat=compat, per_class=not compat), backend
        )
        for backend in names
        for n in OBJECTS
        for compat in (False, True)
    }
    for name, value in figures.items():
        print(f"{name:20s} {value:9.1f} us per frame")
    if target:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        target.write_text(json.dumps({**machine, "us_per_frame": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
