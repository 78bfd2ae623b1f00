"""What forecasting wins back of the accuracy that latency costs, on labelled sequences with stored detections.

    python tests/benchmarks/streaming_forecast.py DATA SEQUENCE... [--detections det/det.txt] [--spread] [--each]
    python tests/benchmarks/streaming_forecast.py DATA SEQUENCE... --doubt
    python tests/benchmarks/streaming_forecast.py --cost

DATA holds a folder per sequence (seqinfo.ini, gt/gt.txt and the detections). One device runs on the newest frame, never
idle, each run as long as the table says; what is shown of a frame is the last output that is there when it arrives.
Figures are sAP, COCO's AP over IoU 0.50:0.95 of all sequences' boxes together; in brackets how much of what latency
takes (AP without latency less sAP as it comes) a forecast wins back; left out where latency takes less than 1 point.

--spread draws runtimes about the mean: log-normal (sigma 0.2), and one in twenty three times as long. --each prints the
sequences one by one. --doubt prints how often the true place lies within one and two standard deviations of the place
foretold. --cost prints what forecasting takes beside the tracker's update.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest import mock

import numpy as np

from pipeline.core.boxes import iou_matrix, ltwh_to_xyxy
from pipeline.core.detections import Detections
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.mot_truth import read_mot_truth
from pipeline.stream_eval.stored import read_detections
from pipeline.streaming import track_forecast
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.published_forecast import PublishedForecast
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree
from pipeline.streaming.score import average_precision
from pipeline.streaming.shown import Forecast, show
from pipeline.streaming.simulate import simulate
from pipeline.streaming.stream import Stream
from tracker.bytetrack import ByteTrackConfig, ByteTracker

RUNTIMES_MS = (20, 50, 100, 200, 400)
SAMPLES = 20_000
"""Samples of a runtime with a spread."""

Found = Sequence[Detections]


class Moved:
    """The tracks' own boxes, moved by their motion."""

    def __init__(self, motion: dict[int, TrackMotion]) -> None:
        self._motion = motion

    def begin(self, stream: Stream) -> None:
        """Take the stream's rate."""
        self._interval_s = stream.interval_s

    def boxes(self, output: Output, frame: int) -> Boxes:
        """The boxes at a frame."""
        ahead_s = (frame - output.input_frame) * self._interval_s
        xyxy = ltwh_to_xyxy(output.boxes.ltwh).astype(np.float32)
        moved = self._motion[output.input_frame].moved(xyxy, ahead_s).astype(np.float64)
        moved[:, 2:] -= moved[:, :2]
        return Boxes(moved, output.boxes.score, output.boxes.class_id, output.boxes.track_id)


def tracker(stream: Stream | None = None) -> ByteTracker:
    """The tracker as it is without settings."""
    return ByteTracker(ByteTrackConfig())


def runtimes(mean_ms: float, with_spread: bool) -> Runtimes:
    """How long the device takes."""
    if not with_spread:
        return Runtimes.constant(mean_ms)
    rng = np.random.default_rng(0)
    samples = np.exp(rng.normal(0, 0.2, SAMPLES)) * np.where(rng.random(SAMPLES) < 0.05, 3, 1)
    return Runtimes((samples / samples.mean() * mean_ms * 1e6).astype(np.int64), f"{mean_ms} ms")


def runs_of(stream: Stream, device: Runtimes) -> list[tuple[int, int]]:
    """(frame, end in ns) of every run."""
    scheduler = IdleFree()
    scheduler.begin(stream, device)
    return [(run.frame, run.end_ns) for run in simulate(stream, scheduler, device.draws(0))]


def tracked(stream: Stream, found: Found, frames: Sequence[int]) -> Iterator[tuple[int, Tracks, TrackMotion]]:
    """What the tracker says that sees these frames only."""
    follows = tracker()
    for frame in frames:
        tracks = follows.update(found[frame], frame, frame * stream.interval_s)
        yield frame, tracks, follows.motion()


def table(data: Sequence[tuple[Labelled, Found]], with_spread: bool) -> None:
    """Print sAP by runtime and forecast."""
    truth = [labelled.truth for labelled, _ in data]

    def ap(boxes: list[Sequence[Boxes]]) -> float:
        return 100 * (average_precision(truth, [dict(enumerate(one)) for one in boxes]).ap or 0.0)

    offline = ap([[Boxes.of_detections(d) for d in found] for _, found in data])
    every = [
        [Boxes.of_tracks(tracks) for _, tracks, _ in tracked(labelled.truth.stream, found, range(len(found)))]
        for labelled, found in data
    ]
    offline_tracks = ap(list(every))
    names = ", ".join(t.stream.name for t in truth)
    print(f"\n{names}: AP without latency {offline:.2f}, of the tracks {offline_tracks:.2f}\n")
    print("| runtime | as it comes | the paper's | ours, found boxes only | ours | tracks | tracks, moved |")
    print("|---|---|---|---|---|---|---|")
    for mean_ms in RUNTIMES_MS:
        device = runtimes(mean_ms, with_spread)
        columns: list[list[Sequence[Boxes]]] = [[] for _ in range(6)]
        for labelled, found in data:
            stream = labelled.truth.stream
            runs = runs_of(stream, device)
            by_frame = {
                frame: (tracks, motion) for frame, tracks, motion in tracked(stream, found, [r[0] for r in runs])
            }
            seen = [Output(end, frame, Boxes.of_detections(found[frame])) for frame, end in runs]
            followed = [Output(end, frame, Boxes.of_tracks(by_frame[frame][0])) for frame, end in runs]

            def shown(outputs: list[Output], forecast: Forecast | None, stream: Stream = stream) -> Sequence[Boxes]:
                return show(outputs, stream, forecast=forecast).boxes

            columns[0].append(shown(seen, None))
            columns[1].append(shown(seen, PublishedForecast()))
            with mock.patch.object(track_forecast, "MISSED_S", -1.0):
                columns[2].append(shown(seen, track_forecast.TrackForecast(tracker)))
            columns[3].append(shown(seen, track_forecast.TrackForecast(tracker)))
            columns[4].append(shown(followed, None))
            columns[5].append(shown(followed, Moved({frame: motion for frame, (_, motion) in by_frame.items()})))
        scores = [ap(column) for column in columns]
        cells = [f"{scores[0]:.2f}", *(won(score, scores[0], offline) for score in scores[1:4])]
        cells += [f"{scores[4]:.2f}", won(scores[5], scores[4], offline_tracks)]
        print(f"| {mean_ms} ms | {' | '.join(cells)} |", flush=True)


def won(score: float, late: float, offline: float) -> str:
    """A score, and which part of the loss it wins back."""
    return f"{score:.2f} ({(score - late) / (offline - late):.0%})" if offline - late >= 1 else f"{score:.2f}"


def doubt(data: Sequence[tuple[Labelled, Found]]) -> None:
    """Print how often the true middle lies within one and two standard deviations, per coordinate."""
    print("| every | ahead | boxes | within 1 sigma (68 %) | within 2 (95 %) |")
    print("|---|---|---|---|---|")
    for mean_ms in (20, 100, 200):
        for steps in (0, 1, 2):
            off: list[float] = []
            for labelled, found in data:
                off += _off(labelled, found, mean_ms, steps)
            sigmas = np.array(off)
            ahead = "0" if steps == 0 else f"{steps} x {mean_ms} ms"
            shares = " | ".join(f"{(sigmas < k).mean():.0%}" for k in (1, 2))
            print(f"| {mean_ms} ms | {ahead} | {len(sigmas) // 2} | {shares} |", flush=True)


def _off(labelled: Labelled, found: Found, mean_ms: float, steps: int) -> list[float]:
    """By how many sigmas the foretold middles of true people are off, x and y."""
    truth, stream = labelled.truth, labelled.truth.stream
    frames = [run[0] for run in runs_of(stream, Runtimes.constant(mean_ms))]
    ahead = steps * max(round(mean_ms / 1e3 * float(stream.fps)), 1)
    off: list[float] = []
    for frame, tracks, motion in tracked(stream, found, frames):
        if not len(tracks) or frame + ahead >= stream.n_frames:
            continue
        here, there = truth.boxes[frame], truth.boxes[frame + ahead]
        iou = iou_matrix(tracks.xyxy.astype(np.float64), ltwh_to_xyxy(here.ltwh))
        then = {int(i): ltwh for i, ltwh in zip(there.track_id, there.ltwh, strict=True)}
        std = motion.std_after(ahead * stream.interval_s)
        moved = motion.moved(tracks.xyxy, ahead * stream.interval_s)
        for row in range(len(tracks)):
            best = int(iou[row].argmax()) if iou.shape[1] else -1
            if best < 0 or iou[row, best] < 0.5 or int(here.track_id[best]) not in then:
                continue
            left, top, width, height = then[int(here.track_id[best])]
            middle = (moved[row, :2] + moved[row, 2:]) / 2
            off += [
                float(abs(middle[0] - left - width / 2) / std[row]),
                float(abs(middle[1] - top - height / 2) / std[row]),
            ]
    return off


def _built(build: str, _: Stream) -> ByteTracker:
    return ByteTracker(backend=build)


def cost() -> None:
    """Print what motion and forecast take beside an update; the best of many turns, taken alternately."""
    print("| objects | build | update | motion | moved | forecast of a frame | motion and moved / update |")
    print("|---|---|---|---|---|---|---|")
    for n in (50, 500):
        for build in ("cython", "numpy"):
            rng = np.random.default_rng(0)
            corner = np.column_stack([100.0 * (np.arange(n) % 25), 120.0 * (np.arange(n) // 25)])
            frames = []
            for _ in range(60):
                box = np.column_stack([corner, corner + np.array([40, 100])]) + rng.normal(0, 1, (n, 4))
                frames.append(Detections(box.astype(np.float32), np.full(n, 0.9, np.float32), np.zeros(n, np.int64)))
            follows = ByteTracker(backend=build)
            stream = Stream("cost", 30, len(frames), 2600, 2600)  # type: ignore[arg-type]
            forecast = track_forecast.TrackForecast(partial(_built, build))
            forecast.begin(stream)
            best = [np.inf] * 4
            for index, detections in enumerate(frames):
                output = Output(stream.arrival_ns(index), index, Boxes.of_detections(detections))
                forecast.boxes(output, index)
                marks = [time.perf_counter_ns()]
                tracks = follows.update(detections, index, index / 30)
                marks.append(time.perf_counter_ns())
                motion = follows.motion()
                marks.append(time.perf_counter_ns())
                motion.moved(tracks.xyxy, 0.1)
                marks.append(time.perf_counter_ns())
                forecast.boxes(output, index + 3)
                marks.append(time.perf_counter_ns())
                if index >= 10:
                    best = [
                        min(b, (after - before) / 1e3) for b, (before, after) in zip(best, pairwise(marks), strict=True)
                    ]
            update, move, moved, whole = best
            cells = (f"{update:.0f} us", f"{move:.1f} us", f"{moved:.1f} us", f"{whole:.0f} us")
            print(f"| {n} | {build} | {' | '.join(cells)} | {(move + moved) / update:.0%} |")


def main() -> None:
    """Read the command line and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("sequences", nargs="*")
    parser.add_argument("--detections", default="det/det.txt")
    for flag in ("spread", "each", "doubt", "cost"):
        parser.add_argument(f"--{flag}", action="store_true")
    given = parser.parse_args()
    if given.cost:
        cost()
        return
    if given.data is None or not given.sequences:
        parser.error("DATA and at least one SEQUENCE are needed")
    data = []
    for name in given.sequences:
        labelled = read_mot_truth(given.data / name)
        data.append((labelled, read_detections(given.data / name / given.detections, labelled)))
    show_them: Callable[[Sequence[tuple[Labelled, Found]]], None] = (
        doubt if given.doubt else lambda some: table(some, given.spread)
    )
    if given.each:
        for one in data:
            show_them([one])
    show_them(data)


if __name__ == "__main__":
    main()
