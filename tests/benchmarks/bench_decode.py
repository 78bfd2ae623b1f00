"""Frames per second of VideoFileSource and of a bare PyAV loop over the same file, in turns within one run.

python tests/benchmarks/bench_decode.py clip.mp4
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av

from pipeline.core.clock import MonotonicClock
from sources.video_file import VideoFileConfig, VideoFileSource

TURNS = 7


def ours(path: Path) -> int:
    """Read every frame through the source."""
    source = VideoFileSource(VideoFileConfig(path=path), source_id="bench", clock=MonotonicClock())
    source.open()
    n = 0
    while source.read() is not None:
        n += 1
    source.close()
    return n


def bare(path: Path) -> int:
    """The loop that one writes first: automatic threads, `to_ndarray`."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for frame in container.decode(video=0) if frame.to_ndarray(format="bgr24") is not None)


def frames_per_s(read: Callable[[Path], int], path: Path) -> float:
    """One pass over the file."""
    began = time.perf_counter()
    return read(path) / (time.perf_counter() - began)


def main() -> None:
    """Print the medians and their ratio."""
    path = Path(sys.argv[1])
    rates: dict[str, list[float]] = {"VideoFileSource": [], "bare PyAV loop": []}
    for _ in range(TURNS):
        rates["VideoFileSource"].append(frames_per_s(ours, path))
        rates["bare PyAV loop"].append(frames_per_s(bare, path))
    first, second = (statistics.median(values) for values in rates.values())
    for name, values in rates.items():
        print(f"{name:<18}{statistics.median(values):8.0f} frames/s (median of {TURNS})")
    print(f"ratio {first / second:.2f}")


if __name__ == "__main__":
    main()
