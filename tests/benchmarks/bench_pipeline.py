"""How much of the machine a whole run uses: a clip in, annotated mp4 and JSON lines out.

    python tests/benchmarks/bench_pipeline.py --source clip.mp4
    python tests/benchmarks/bench_pipeline.py --source clip.mp4 --set detector.backend=openvino
    python tests/benchmarks/bench_pipeline.py --source clip.mp4 --stand-in-ms 12 --stand-in-threads 2

Each turn is a whole run. Two figures say how well its stages overlap:

- cores used: CPU seconds per frame x frames per second. As many as may be used: nothing more can be had from overlap.
- of the slowest resource: frames per second over what the slowest one allows by itself. The resources are the cores
  (cores over CPU seconds per frame) and every stage that runs in one thread, measured alone beforehand.

Other work on the machine lowers both. So before and after each turn as many threads as there are cores only count for a
second: the cores that they get are "available", and the figures mean something where those are nearly all.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pipeline.benchmark.clip import prepare_clip
from pipeline.config.build import build_detector, build_run, detector_section_for_tracking, load_run_config
from pipeline.config.outputs import build_sinks, check_outputs
from pipeline.config.schema import RunConfig
from pipeline.core.clock import MonotonicClock
from pipeline.core.cores import usable_cores
from pipeline.core.detections import Detections
from pipeline.core.frame import Frame
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.core.timeline import Timeline
from pipeline.core.tracks import Tracks
from sources.video_file import VideoFileConfig, VideoFileSource

ALONE_FRAMES = 60
SPIN_S = 1.0


class StandIn:
    """A detector of a given cost: keeps one core busy without the interpreter's lock, and finds 8 walking boxes.

    Args:
        busy_s: CPU time per frame (s).
        n_parallel: how many threads may call it at once.
    """

    class_names: tuple[str, ...] = ("person", "car")

    def __init__(self, busy_s: float, n_parallel: int) -> None:
        self.n_parallel = n_parallel
        self._busy_s = busy_s
        self._bytes = bytes(1 << 16)

    def warmup(self) -> None:
        """Nothing to prepare."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """The same boxes in every run."""
        return [self._one(frame) for frame in frames]

    def close(self) -> None:
        """Nothing to release."""

    def _one(self, frame: Frame) -> Detections:
        until = time.thread_time() + self._busy_s
        while time.thread_time() < until:
            zlib.crc32(self._bytes)
        left = np.arange(8) * 140.0 + frame.index % 100
        top = np.full(8, 200.0) + np.arange(8) * 20
        xyxy = np.stack([left, top, left + 60, top + 120], axis=1).astype(np.float32)
        return Detections(xyxy, np.linspace(0.4, 0.9, 8, dtype=np.float32), np.arange(8, dtype=np.int64) % 2)


@dataclass(frozen=True, slots=True)
class Turn:
    """One whole run: rates, and the share of the time in which each stage worked."""

    frames: int
    frames_per_s: float
    cpu_ms_per_frame: float
    cores_used: float
    cores_available: float
    of_the_slowest_resource: float
    busy: dict[str, float]


def cpu_s() -> float:
    """CPU time of this process and of the children that have ended (s)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def cores_available() -> float:
    """Cores that plain counting gets now, beside whatever else the machine does."""

    def spin(until: float, data: bytes) -> None:
        while time.perf_counter() < until:
            zlib.crc32(data)

    began, began_cpu = time.perf_counter(), cpu_s()
    threads = [threading.Thread(target=spin, args=(began + SPIN_S, bytes(1 << 16))) for _ in range(usable_cores())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (cpu_s() - began_cpu) / (time.perf_counter() - began)


def per_frame_alone(config: RunConfig, clip: Path, detector: Detector) -> dict[str, float]:
    """Seconds per frame of decoding, of detection with all its threads, and of writing, each by itself."""
    source_config = VideoFileConfig(path=clip, **config.source.get("video_file", {}))
    source = VideoFileSource(source_config, source_id=clip.stem, clock=MonotonicClock())
    info = source.open()
    frames: list[Frame] = []
    n_decoded = 0
    began = time.perf_counter()
    while (frame := source.read()) is not None:
        n_decoded += 1
        if len(frames) < ALONE_FRAMES:
            frames.append(frame)
    decode_s = (time.perf_counter() - began) / n_decoded
    source.close()

    began = time.perf_counter()
    n_threads = config.runtime.detect_workers or int(getattr(detector, "n_parallel", 1))
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(lambda frame: detector.detect([frame])[0], frames))
    detect_s = (time.perf_counter() - began) / len(frames)

    outputs = check_outputs(config, [source.source_id])
    sinks = [binding.sink for binding in build_sinks(config, outputs, detector.class_names)]
    results = [
        FrameResult(frame, boxes, _as_tracks(boxes), Timeline(*[frame.captured_ns] * 6))
        for frame, boxes in zip(frames, found, strict=True)
    ]
    write_s = {}
    for sink in sinks:
        sink.open(info)
        began = time.perf_counter()
        for result in results:
            sink.write(result)
        sink.close()
        write_s[f"write {type(sink).__name__}"] = (time.perf_counter() - began) / len(frames)
    return {"decode": decode_s, "detect": detect_s, **write_s}


def _as_tracks(boxes: Detections) -> Tracks:
    rows = np.arange(len(boxes), dtype=np.int64)
    return Tracks(boxes.xyxy, boxes.confidence, boxes.class_id, rows + 1, rows)


def turn(config: RunConfig, detector: Detector, alone_s: dict[str, float]) -> Turn:
    """One run from beginning to end."""
    before = cores_available()
    with build_run(config, detector=detector) as built:
        cpu_began = cpu_s()
        report = built.runner.run()
        spent_s = cpu_s() - cpu_began
    available = (before + cores_available()) / 2
    frames = sum(source.emitted for source in report.sources.values())
    rate, per_frame_s = frames / report.wall_s, spent_s / frames
    slowest = min(usable_cores() / per_frame_s, *(1 / seconds for seconds in alone_s.values()))
    busy = {name.split("/")[-1]: stage.busy for name, stage in report.stages.items() if stage.busy is not None}
    return Turn(frames, rate, per_frame_s * 1e3, rate * per_frame_s, available, rate / slowest, busy)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="a clip; absent = one that is made here")
    parser.add_argument("--frames", type=int, default=600, help="the clip is repeated to at least so many")
    parser.add_argument("--weights", help="weights or a model's name; absent = the default model")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in `run`")
    parser.add_argument("--stand-in-ms", type=float, help="no network: a detector that works so long for each frame")
    parser.add_argument("--stand-in-threads", type=int, default=1, help="how many frames it works on at once")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    """Print every turn and the median."""
    given = arguments()
    with tempfile.TemporaryDirectory() as folder:
        clip = prepare_clip(given.source, Path(folder), min_frames=given.frames).path
        outputs = [str(Path(folder) / "out.mp4"), str(Path(folder) / "out.jsonl")]
        flags = {"sources": [str(clip)], "outputs": outputs, "exist_ok": True}
        weights = {"detector": {"weights": given.weights}} if given.weights else {}
        config = load_run_config(None, {**flags, **weights}, given.set)
        if given.stand_in_ms is not None:
            detector: Detector = StandIn(given.stand_in_ms / 1e3, given.stand_in_threads)
        else:
            detector = build_detector(detector_section_for_tracking(config))
        detector.warmup()
        alone_s = per_frame_alone(config, clip, detector)
        turns = [turn(config, detector, alone_s) for _ in range(given.turns)]
        detector.close()
    _print(alone_s, turns)
    if given.json:
        given.json.write_text(json.dumps({"alone_s": alone_s, "turns": [asdict(t) for t in turns]}, indent=1) + "\n")


def _print(alone_s: dict[str, float], turns: Sequence[Turn]) -> None:
    print(f"alone, frames/s: {', '.join(f'{name} {1 / seconds:.0f}' for name, seconds in alone_s.items())}")
    columns = ("frames/s", "CPU ms/frame", f"of {usable_cores()} cores", "available", "of slowest")
    print(f"{'':8}{''.join(f'{column:>14}' for column in columns)}  busy")

    def line(name: str, figure: Callable[[Callable[[Turn], float]], float], busy: str) -> None:
        cells = (
            f"{figure(lambda t: t.frames_per_s):>14.1f}{figure(lambda t: t.cpu_ms_per_frame):>14.1f}",
            f"{figure(lambda t: t.cores_used):>14.2f}{figure(lambda t: t.cores_available):>14.2f}",
            f"{figure(lambda t: t.of_the_slowest_resource):>14.2f}",
        )
        print(f"{name:8}{''.join(cells)}  {busy}")

    for number, one in enumerate(turns, 1):
        busy = " ".join(f"{name} {share:.0%}" for name, share in one.busy.items())
        line(f"turn {number}", lambda read, one=one: read(one), busy)  # type: ignore[misc]
    line("median", lambda read: statistics.median(map(read, turns)), "")


if __name__ == "__main__":
    main()
