"""Many live streams on this machine: does latency grow, is every frame accounted for, what does one more stream cost?

    python tests/benchmarks/bench_streams.py --seconds 300
    python tests/benchmarks/bench_streams.py --seconds 60 --set runtime.batch=4

Every stream is a 1280x720 H.264 clip that is decoded and played in real time, over and over, with the rules of a live
source: the detector gets its newest frame. The streams are out of step with each other, as cameras are. Memory is
measured in processes of their own, with few and many streams.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.benchmark.clip import prepare_clip
from pipeline.config.build import build_detector, detector_section_for_tracking, load_run_config, tracker_factory
from pipeline.config.schema import RunConfig
from pipeline.core.clock import MonotonicClock
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.result import FrameResult
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from sinks.jsonl import JsonlConfig, JsonlSink
from sources.replay import ReplayConfig, ReplaySource
from sources.video_file import VideoFileConfig, VideoFileSource

MOST_MB_PER_STREAM = 40.0
MOST_GROWTH = 1.25
"""The last part's p95 latency over the first part's; the bar is "no growth", the rest is other work on the machine."""
WARM_UP_S = 5.0
PARTS = 5


class LateStart(ReplaySource):
    """A stream that begins a while after the others: cameras are not in step."""

    def __init__(self, delay_s: float, make_file: VideoFileConfig, fps: float, *, source_id: str) -> None:
        clock = MonotonicClock()

        def make() -> VideoFileSource:
            return VideoFileSource(make_file, source_id=source_id, clock=clock)

        super().__init__(ReplayConfig(fps=fps, loop=True), make, source_id=source_id, clock=clock)
        self._delay_s = delay_s
        self._stopped = threading.Event()

    def read(self) -> Frame | None:
        """The next frame; the first one late."""
        delay_s, self._delay_s = self._delay_s, 0.0
        if delay_s:
            self._stopped.wait(delay_s)
        return super().read()

    def interrupt(self) -> None:
        """End the delay too."""
        self._stopped.set()
        super().interrupt()


class LatencySink:
    """Keeps when each frame was due and how long it took to its result."""

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self) -> None:
        self.due_and_latency_ns: list[tuple[int, int]] = []

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Note one frame."""
        emitted = result.timeline.emitted
        if emitted is not None:
            due = result.frame.captured_ns
            self.due_and_latency_ns.append((due, emitted - due))

    def close(self) -> None:
        """Nothing to release."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the run: frames emitted, percentiles of their latency from the instant they were due (ms), and the
    memory at its end (MB)."""

    begin_s: float
    frames: int
    p50_ms: float
    p95_ms: float
    max_ms: float
    rss_mb: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of several streams."""

    streams: int
    seconds: float
    produced: int
    emitted: int
    dropped: dict[str, int]
    mean_batch: float
    detect_busy: float
    cores_used: float
    rss_mb: float
    spans: list[Span]


def rss_mb() -> float:
    """Memory that this process occupies now (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def run_streams(config: RunConfig, clip: Path, n_streams: int, fps: float, seconds: float) -> Outcome:
    """Play `n_streams` streams for a while."""
    file = VideoFileConfig(path=clip, **{"threads": 1, **config.source.get("video_file", {})})
    sources = [LateStart(i / n_streams / fps, file, fps, source_id=f"cam{i:02d}") for i in range(n_streams)]
    detector = build_detector(detector_section_for_tracking(config))
    latency = LatencySink()
    runtime = config.runtime
    settings = RunnerSettings(
        max_batch=runtime.batch, batch_wait_s=runtime.batch_wait_s, detect_workers=runtime.detect_workers
    )
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        lines = JsonlSink(JsonlConfig(path=Path(folder) / "out.jsonl"), class_names=detector.class_names)
        sinks = [SinkBinding("latency", latency), SinkBinding("jsonl", lines)]
        runner = Runner(sources, detector, tracker_factory(config.tracker), sinks, settings)
        timers = [threading.Timer(n * seconds / PARTS, lambda: memory.append(rss_mb())) for n in range(1, PARTS)]
        timers.append(threading.Timer(seconds, runner.stop))
        for timer in timers:
            timer.start()
        cpu_began = sum(os.times()[:2])
        report = runner.run()
        cores = (sum(os.times()[:2]) - cpu_began) / report.wall_s
        for timer in timers:
            timer.join()
    memory.append(rss_mb())
    detector.close()
    accounts = runner.ledger.snapshot().values()
    dropped = {reason: sum(a.dropped[reason] for a in accounts) for a in accounts for reason in a.dropped}
    emitted = sum(account.emitted for account in accounts)
    batches = report.stages["detect"].duration.count
    busy = report.stages["detect"].busy or 0.0
    return Outcome(
        n_streams,
        seconds,
        sum(account.produced for account in accounts),
        emitted,
        dropped,
        emitted / max(batches, 1),
        busy,
        cores,
        memory[-1],
        _spans(latency.due_and_latency_ns, memory, seconds),
    )


def _spans(rows: Sequence[tuple[int, int]], memory: Sequence[float], seconds: float) -> list[Span]:
    """Equal parts (minutes, in a run of five), the first without the warm-up."""
    begin_ns = min(due for due, _ in rows)
    spans = []
    for part in range(PARTS):
        low_s, high_s = part * seconds / PARTS, (part + 1) * seconds / PARTS
        low_s = max(low_s, min(WARM_UP_S, seconds / 10))
        inside = sorted(took / 1e6 for due, took in rows if low_s <= (due - begin_ns) / 1e9 < high_s)
        if inside:
            p50, p95 = (inside[int(q * (len(inside) - 1))] for q in (0.5, 0.95))
            spans.append(Span(low_s, len(inside), p50, p95, inside[-1], memory[part]))
    return spans


def mb_per_stream(given: argparse.Namespace, clip: Path) -> dict[int, float]:
    """Memory of runs with 1, half and all streams (MB), each in its own process."""
    found = {}
    for n in sorted({1, max(given.streams // 2, 1), given.streams}):
        settings = [word for setting in given.set for word in ("--set", setting)]
        words = ["--source", str(clip), "--streams", str(n), "--fps", str(given.fps), "--only-memory", *settings]
        command = [sys.executable, __file__, *words, "--seconds", str(given.memory_seconds)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[n] = float(text.split()[-1])
    return found


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="the clip that every stream plays; absent = one that is made here")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--fps", type=float, default=5.0, help="of each stream")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--memory-seconds", type=float, default=20.0, help="length of the runs that measure memory")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in `run`")
    parser.add_argument("--only-memory", action="store_true", help="print the memory of this one run and nothing else")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    return parser.parse_args()


def main() -> int:
    """Print the table and the verdicts; 1 where one fails."""
    given = arguments()
    config = load_run_config(None, {"sources": ["any.mp4"]}, given.set)
    with tempfile.TemporaryDirectory() as folder:
        clip = given.source or prepare_clip(None, Path(folder), min_frames=1).path
        if given.only_memory:
            print(run_streams(config, clip, given.streams, given.fps, given.seconds).rss_mb)
            return 0
        outcome = run_streams(config, clip, given.streams, given.fps, given.seconds)
        memory = mb_per_stream(given, clip)
    verdicts = _print(outcome, memory)
    if given.json:
        document = {"outcome": asdict(outcome), "rss_mb": memory, "verdicts": verdicts}
        given.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if all(verdicts.values()) else 1


def _print(outcome: Outcome, memory: dict[int, float]) -> dict[str, bool]:
    print(
        f"{outcome.streams} streams, {outcome.seconds:.0f} s: {outcome.produced} frames read, "
        f"{outcome.emitted} emitted, dropped "
        f"{outcome.dropped or 'none'}; {outcome.mean_batch:.2f} frames a batch, detector busy "
        f"{outcome.detect_busy:.0%}, {outcome.cores_used:.2f} cores"
    )
    print(f"{'from s':>8}{'frames':>9}{'p50 ms':>9}{'p95 ms':>9}{'max ms':>9}{'MB':>8}")
    for span in outcome.spans:
        print(
            f"{span.begin_s:>8.0f}{span.frames:>9}{span.p50_ms:>9.1f}{span.p95_ms:>9.1f}{span.max_ms:>9.1f}{span.rss_mb:>8.0f}"
        )
    counts = sorted(memory)
    each = (memory[counts[-1]] - memory[counts[0]]) / max(counts[-1] - counts[0], 1)
    print(f"memory: {', '.join(f'{n} streams {mb:.0f} MB' for n, mb in memory.items())}: {each:.1f} MB for one more")
    first, last = outcome.spans[0], outcome.spans[-1]
    steady = statistics.median(span.p95_ms for span in outcome.spans[1:])
    verdicts = {
        "latency does not grow": last.p95_ms <= MOST_GROWTH * max(first.p95_ms, steady),
        "every frame is accounted for": outcome.produced == outcome.emitted + sum(outcome.dropped.values()),
        f"one more stream costs {MOST_MB_PER_STREAM:.0f} MB or less": each <= MOST_MB_PER_STREAM,
        "memory does not grow": outcome.rss_mb <= 1.05 * outcome.spans[PARTS // 2].rss_mb,
    }
    for text, holds in verdicts.items():
        print(f"{'yes' if holds else 'NO':>4}  {text}")
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
