"""What analytics cost: time of an analyst's update, and frames per second of whole runs with and without rules.

    python tests/benchmarks/bench_analytics.py [--source clip.mp4] [--rounds N] [--json out.json]

The rules are 20 lines and 20 zones of six corners, all with loitering and crowding, five with every rule of motion, a
ground plane, a heatmap, and an event per object. 50 objects are in the picture at any time: they walk, stand for a
while, leave, and others come; some 80 events happen per second.

1. Update alone, in CPU time of its thread: a frame's time is that of its best round, as the work is the same in each;
   the figures are the median and the mean over the frames. The parts are measured in rounds of their own.
2. Whole runs: decoding, the default model's network, tracking, and what `--outputs` says. The network's boxes are
   thrown away and 50 moving ones tracked instead. Runs with and without rules take turns, and begin alternately; the
   figures are the medians of the pairs' ratios of frames per second and of CPU time per frame. On a machine with other
   work only the second holds: where all cores are busy, it is what the throughput loses. A video shows the rules too:
   see `--set draw...`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import (
    GroundPlaneConfig,
    HeatmapConfig,
    LineConfig,
    MotionConfig,
    SourceRules,
    ZoneConfig,
)
from pipeline.benchmark.clip import prepare_clip
from pipeline.config.build import build_detector, build_run, detector_section_for_tracking, load_run_config
from pipeline.core.detections import Detections
from pipeline.core.frame import CaptureClock, Frame, StreamInfo
from pipeline.core.protocols import Detector
from pipeline.core.tracks import Tracks

OBJECTS, LINES, ZONES, MOTION_ZONES = 50, 20, 20, 5
FPS, FRAMES = 30.0, 1500
HW = (720, 1280)
NAMES = ("person", "bicycle", "car", "motorcycle", "bus", "truck")


def rules() -> SourceRules:
    """20 lines and 20 zones with everything on."""
    rng = np.random.default_rng(0)
    motion = MotionConfig(
        max_speed=8.0, direction=((0.2, 0.6), (0.8, 0.6)), stopped_s=5.0, sudden_stop_from=4.0, sudden_stop_s=1.0
    )
    turns = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    zones = []
    for i in range(ZONES):
        centre, radius = rng.uniform([0.2, 0.4], [0.8, 0.8]), rng.uniform(0.1, 0.19)
        corners = centre + radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        polygon = tuple((float(x), float(y)) for x, y in corners)
        zones.append(
            ZoneConfig(
                name=f"zone {i}",
                polygon=polygon,
                loiter_s=10.0,
                crowd=12,
                motion=motion if i < MOTION_ZONES else None,
            )
        )
    ends = rng.uniform(0.05, 0.95, (LINES, 2, 2)).tolist()
    lines = tuple(LineConfig(name=f"line {i}", points=((*a,), (*b,))) for i, (a, b) in enumerate(ends))
    plane = GroundPlaneConfig(
        image=((0.1, 0.95), (0.9, 0.95), (0.7, 0.35), (0.3, 0.35)), world_m=((0, 0), (12, 0), (12, 30), (0, 30))
    )
    return SourceRules(lines=lines, zones=tuple(zones), ground_plane=plane, heatmap=HeatmapConfig())


class Crowd:
    """50 people and cars in a picture: each walks, stands, walks on, leaves, and another one comes.

    Args:
        hw: size of the picture (px).
        fps: frames per second of the motion.
    """

    def __init__(self, hw: tuple[int, int] = HW, fps: float = FPS) -> None:
        self._rng = np.random.default_rng(1)
        self._size, self._fps = np.array([hw[1], hw[0]], float), fps
        self._scale = hw[0] / 720
        self._ids = np.arange(1, OBJECTS + 1)
        self._at = self._rng.uniform(0.1, 0.9, (OBJECTS, 2)) * self._size
        self._velocity = np.zeros((OBJECTS, 2))
        self._half = np.zeros((OBJECTS, 2))
        self._class_id = np.zeros(OBJECTS, np.int64)
        self._renew(np.ones(OBJECTS, bool))

    def step(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The next frame: xyxy float32 (50, 4) px, ids and classes int64 (50,)."""
        rng = self._rng
        moves = rng.random(OBJECTS) < np.where(self._moves, 1 - 0.05 / self._fps, 0.3 / self._fps)
        self._moves = moves
        self._at = self._at + self._velocity * moves[:, None] / self._fps
        out = ((self._at < 0) | (self._at > self._size)).any(axis=1)
        if out.any():
            self._at[out] = rng.uniform(0.1, 0.9, (int(out.sum()), 2)) * self._size
            self._ids[out] = self._ids.max() + 1 + np.arange(int(out.sum()))
            self._renew(out)
        middle = self._at + rng.normal(0, 1, (OBJECTS, 2))
        xyxy = np.concatenate([middle - self._half, middle + self._half], axis=1)
        return xyxy.astype(np.float32), self._ids.astype(np.int64), self._class_id.copy()

    def _renew(self, who: np.ndarray) -> None:
        n = int(who.sum())
        self._velocity[who] = self._rng.uniform(-90, 90, (n, 2)) * self._scale
        self._half[who] = self._rng.uniform([15, 40], [30, 80], (n, 2)) * self._scale
        self._class_id[who] = self._rng.integers(0, 3, n)
        if n == OBJECTS:
            self._moves = np.ones(OBJECTS, bool)
        self._moves[who] = True


def scene() -> list[tuple[Frame, Tracks]]:
    """Frames and tracks of the crowd."""
    crowd, image = Crowd(), np.broadcast_to(np.uint8(0), (*HW, 3))
    frames = []
    for i in range(FRAMES):
        xyxy, ids, class_id = crowd.step()
        tracks = Tracks(xyxy, np.full(OBJECTS, 0.9, np.float32), class_id, ids, np.arange(OBJECTS))
        frames.append((Frame("crowd", i, image, i / FPS, round(i / FPS * 1e9), CaptureClock.FILE), tracks))
    return frames


def timed(analyst: RuleAnalyst, spent: dict[str, float]) -> None:
    """Make the analyst's parts note the time of their last call in `spent` (ns)."""

    def wrap(owner: Any, name: str, label: str) -> None:
        method: Callable[..., Any] = getattr(owner, name)

        def call(*arguments: Any) -> Any:
            begin = time.thread_time_ns()
            result = method(*arguments)
            spent[label] = time.thread_time_ns() - begin
            return result

        setattr(owner, name, call)

    wrap(analyst._objects, "see", "objects")
    for rule in analyst._rules:
        wrap(rule, "update", type(rule).__name__.lower())
    wrap(analyst._heatmap, "update", "heatmap")
    wrap(analyst, "_scene", "scene")


def update_alone(rounds: int) -> dict[str, Any]:
    """Microseconds per frame of an analyst by itself, and of its parts."""
    frames = scene()
    info = StreamInfo("crowd", HW[1], HW[0], FPS, False, FRAMES)
    best: dict[str, np.ndarray] = defaultdict(lambda: np.full(FRAMES, np.inf))
    n_events = 0
    for number in range(2 * rounds):
        analyst, spent = RuleAnalyst(rules(), info, NAMES), dict[str, float]()
        if number % 2:
            timed(analyst, spent)
        n_events = 0
        for i, (frame, tracks) in enumerate(frames):
            begin = time.thread_time_ns()
            events, _ = analyst.update(frame, tracks)
            spent["parts together" if number % 2 else "update"] = time.thread_time_ns() - begin
            n_events += len(events)
            for name, ns in spent.items():
                best[name][i] = min(best[name][i], ns / 1e3)
    return {
        "median_us": float(np.median(best["update"])),
        "mean_us": float(best["update"].mean()),
        "events_per_s": n_events / FRAMES * FPS,
        "parts_us": {name: float(us.mean()) for name, us in best.items() if name != "update"},
    }


class CrowdDetector:
    """The network's work and the crowd's boxes.

    Args:
        detector: does the work.
        hw: size of the pictures (px).
        n_frames: how many frames a run can have.
    """

    def __init__(self, detector: Detector, hw: tuple[int, int], n_frames: int) -> None:
        self._detector = detector
        self.class_names = detector.class_names
        self.n_parallel = int(getattr(detector, "n_parallel", 1))
        crowd = Crowd(hw)
        self._found = []
        for _ in range(n_frames):
            xyxy, _, class_id = crowd.step()
            self._found.append(Detections(xyxy, np.full(OBJECTS, 0.9, np.float32), class_id))

    def warmup(self) -> None:
        """As the network."""
        self._detector.warmup()

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """What the crowd does at these frames."""
        self._detector.detect(frames)
        return [self._found[frame.index] for frame in frames]

    def close(self) -> None:
        """The caller closes the network."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One whole run."""

    frames_per_s: float
    cpu_ms_per_frame: float


def turn(flags: dict[str, Any], detector: Detector, analytics: dict[str, Any], settings: list[str]) -> Turn:
    """One run from beginning to end."""
    config = load_run_config(None, {**flags, **analytics}, settings)
    with build_run(config, detector=detector) as built:
        cpu_began = time.process_time()
        report = built.runner.run()
        cpu_s = time.process_time() - cpu_began
    frames = sum(source.emitted for source in report.sources.values())
    return Turn(frames / report.wall_s, cpu_s * 1e3 / frames)


def whole_runs(
    source: Path | None, outputs: list[str], frames: int, rounds: int, settings: list[str]
) -> list[tuple[Turn, Turn]]:
    """Runs without and with rules, by pairs."""
    with tempfile.TemporaryDirectory() as folder:
        clip = prepare_clip(source, Path(folder), min_frames=frames)
        written = [str(Path(folder) / name) for name in outputs]
        flags = {"sources": [str(clip.path)], "outputs": written, "exist_ok": True}
        config = load_run_config(None, flags, settings)
        network = build_detector(detector_section_for_tracking(config))
        network.warmup()
        detector = CrowdDetector(network, (clip.height_px, clip.width_px), clip.frames)
        with_rules = {"analytics": {"sources": {"*": plain(asdict(rules()))}}}
        turn(flags, detector, with_rules, settings)
        pairs = []
        for number in range(rounds):
            order = [{}, with_rules] if number % 2 else [with_rules, {}]
            one, other = (turn(flags, detector, analytics, settings) for analytics in order)
            pairs.append((one, other) if number % 2 else (other, one))
        network.close()
    return pairs


def plain(values: Any) -> Any:
    """Rules as a configuration file has them: lists, and nothing that is None."""
    if isinstance(values, dict):
        return {name: plain(value) for name, value in values.items() if value is not None}
    if isinstance(values, list | tuple):
        return [plain(value) for value in values]
    return values


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--source", type=Path, help="a clip; absent = one that is made here")
    parser.add_argument("--frames", type=int, default=300, help="the clip is repeated to at least so many")
    parser.add_argument("--outputs", default="out.mp4,out.jsonl", help="what the runs write")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-runs", action="store_true", help="the update alone")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting, as in `run`")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args()
    alone = update_alone(given.rounds)
    print(f"update alone: median {alone['median_us']:.0f} us, mean {alone['mean_us']:.0f} us per frame")
    print(f"{alone['events_per_s']:.1f} events/s; parts, us: ", end="")
    print(", ".join(f"{name} {us:.0f}" for name, us in alone["parts_us"].items()))
    pairs = []
    if not given.no_runs:
        pairs = whole_runs(given.source, given.outputs.split(","), given.frames, given.rounds, given.set)
        show("frames/s", [(without.frames_per_s, with_.frames_per_s) for without, with_ in pairs])
        show("CPU ms per frame", [(without.cpu_ms_per_frame, with_.cpu_ms_per_frame) for without, with_ in pairs])
    if given.json:
        runs = [{"without": asdict(without), "with": asdict(with_)} for without, with_ in pairs]
        given.json.write_text(json.dumps({"update_alone": alone, "whole_runs": runs}, indent=1) + "\n")


def show(what: str, pairs: Sequence[tuple[float, float]]) -> None:
    """A line for either figure."""
    ratios = [with_ / without for without, with_ in pairs]
    told = ", ".join(f"{without:.1f} {with_:.1f}" for without, with_ in pairs)
    print(f"{what} without and with rules: {told}; with / without: median {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
