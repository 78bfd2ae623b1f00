"""Time of one tracker update at several numbers of objects, against ByteTrack as its authors lay it out.

    python tests/benchmarks/bench_tracker.py [--rounds N] [--json out.json]

Objects walk at constant speed; boxes are noisy, one in twelve is missed, one in six has a low score, and false boxes
come and go. Detections are made beforehand, in the form that each tracker takes. All trackers run over the same scene
in turn, several rounds long; a frame's time is that of its best round, as the work is the same in each, and the figure
is the median over the frames: so ratios hold on a busy machine too. Where `visiontrack-cpp` (PyPI) can be imported it
is timed beside the others, with its own settings and without its Mahalanobis gate, which ByteTrack does not have.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tracker_baseline import BaselineTracker

from pipeline.core.detections import Detections
from tracker import kernels
from tracker.bytetrack import ByteTrackConfig, ByteTracker

OBJECTS = (10, 50, 200)
FRAMES = 300
FPS = 30.0
AUTHORS_US = {10: 412, 50: 1659, 200: 7121}
"""The authors' own program, measured once on such a machine: the baseline must not be slower."""

Update = Callable[[int, Any], object]
"""Takes the number of a frame and its detections."""


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


def doubles(frames: list[Detections]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The same detections as trackers outside the house take them."""
    return [(d.xyxy.astype(np.float64), d.confidence.astype(np.float64)) for d in frames]


def ours(backend: str, compat: bool) -> Update:
    """A tracker of the house."""
    tracker = ByteTracker(ByteTrackConfig(reference_compat=compat, per_class=not compat), backend=backend)
    return lambda i, detections: tracker.update(detections, i, i / FPS)


def baseline() -> Update:
    """The authors' algorithm."""
    tracker = BaselineTracker()
    return lambda _, detections: tracker.update(*detections)


def visiontrack(**settings: bool) -> Update:
    """A tracker of visiontrack-cpp."""
    import visiontrack_cpp

    tracker = visiontrack_cpp.ByteTracker(visiontrack_cpp.TrackerConfig(**settings))
    return lambda _, detections: tracker.update(*detections)


def contestants() -> dict[str, tuple[Callable[[], Update], bool]]:
    """By name: how to make the tracker, and whether it takes `Detections`."""
    found: dict[str, tuple[Callable[[], Update], bool]] = {"baseline": (baseline, False)}
    for backend in kernels.MODULES if kernels.BACKEND == "cython" else ["numpy"]:
        found[backend] = partial(ours, backend, compat=False), True
        found[f"{backend} compat"] = partial(ours, backend, compat=True), True
    if importlib.util.find_spec("visiontrack_cpp") is not None:
        found["visiontrack"] = visiontrack, False
        found["visiontrack ungated"] = partial(visiontrack, use_mahalanobis_gating=False), False
    return found


def frame_us(update: Update, frames: list[Any]) -> np.ndarray:
    """Time of every update over a scene, microseconds."""
    spent = []
    for i, detections in enumerate(frames):
        begin = time.perf_counter_ns()
        update(i, detections)
        spent.append(time.perf_counter_ns() - begin)
    return np.array(spent) / 1e3


def measure(n: int, rounds: int) -> dict[str, float]:
    """Microseconds per frame of every tracker at n objects."""
    frames = scene(n)
    plain = doubles(frames)
    best = dict.fromkeys(contestants(), np.full(FRAMES, np.inf))
    for _ in range(rounds):
        for name, (make, takes_detections) in contestants().items():
            best[name] = np.minimum(best[name], frame_us(make(), frames if takes_detections else plain))
    return {name: float(np.median(us)) for name, us in best.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the tracker against ByteTrack as its authors lay it out.")
    parser.add_argument("--rounds", type=int, default=5, help="how often every tracker runs over every scene")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    args = parser.parse_args()
    figures = {n: measure(n, args.rounds) for n in OBJECTS}
    print("microseconds per frame; in brackets how many times as fast as the baseline\n")
    print(f"{'objects':20s}" + "".join(f"{n:>20d}" for n in OBJECTS))
    for name in contestants():
        cells = [f"{us[name]:.1f} ({us['baseline'] / us[name]:.1f} x)" for us in figures.values()]
        print(f"{name:20s}" + "".join(f"{cell:>20s}" for cell in cells))
    print(f"{'(authors program)':20s}" + "".join(f"{AUTHORS_US[n]:>20d}" for n in OBJECTS))
    if args.json:
        machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
        args.json.write_text(json.dumps({**machine, "us_per_frame": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
