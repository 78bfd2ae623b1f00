"""The cost of latency estimated without labels, against the figure by labels.

    python tests/benchmarks/label_free.py ../shared/data --json label_free.json --plot docs/images/label-free.png

Every MOT sequence below the folder is played at its own rate through a pipeline that takes 20 to 400 ms per frame, in
exact simulated time: detections of MOT15 through ByteTrack, or for MOT17 the published results of a tracker. What it
shows is scored by labels (AP50 without latency minus sAP50) and by its own later outputs. With --compensate, tracks are
shown where they have moved to by then; that takes a tracker, so only MOT15 is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from pipeline.core.arrays import Float64Array
from pipeline.core.detections import Detections
from pipeline.core.latency_cost import LatencyCost
from pipeline.core.motion import TrackMotion
from pipeline.core.tracks import Tracks
from pipeline.evaluation.mot_text import MotRows, read_mot
from pipeline.runtime.latency_account import FRAMES_PER_S
from pipeline.stream_eval.mot_truth import read_mot_truth
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree
from pipeline.streaming.score import average_precision
from pipeline.streaming.self_consistency import SelfConsistency
from pipeline.streaming.shown import show
from pipeline.streaming.simulate import Run, outputs, simulate
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth
from tracker.bytetrack import ByteTracker

RUNTIMES_MS = (20, 50, 100, 200, 400)
STATIC = {"ADL-Rundle-6", "Venice-2", "KITTI-17", "MOT17-02", "MOT17-04", "MOT17-09"}
"""Sequences whose camera stands still."""
VIEWER = "emission"


@dataclass(frozen=True, slots=True)
class Row:
    """One sequence at one runtime; AP50 in points."""

    sequence: str
    fps: float
    is_static: bool
    is_tuned_on: bool
    runtime_ms: int
    offline: float
    lost: float
    share_lost: float

    @property
    def estimated(self) -> float:
        """Points lost, as estimated."""
        return self.offline * self.share_lost

    @property
    def error(self) -> float:
        """Estimated minus labelled, points."""
        return self.estimated - self.lost


class Pipeline:
    """What a pipeline says of the frames of one sequence."""

    def __init__(self, folder: Path, stream: Stream) -> None:
        self._stream = stream
        results = folder / "MPNTrack.txt"
        self._tracked = results.is_file()
        rows = read_mot(results if self._tracked else folder / "det" / "det.txt")
        self._rows = [_of_frame(rows, frame) for frame in range(stream.n_frames)]

    def run(self, frames: Iterable[int]) -> dict[int, Tracks]:
        """The tracks of these frames, given that it sees no others."""
        if self._tracked:
            return {frame: _tracks(self._rows[frame]) for frame in frames}
        return {frame: tracks for frame, (tracks, _) in self._with_motion(frames).items()}

    def moved(self, runs: Sequence[Run]) -> dict[int, Tracks]:
        """As `run`, the tracks moved to the ends of these runs."""
        moved = {}
        said = self._with_motion([run.frame for run in runs])
        for run in runs:
            tracks, motion = said[run.frame]
            ahead_s = (run.end_ns - self._stream.arrival_ns(run.frame)) / 1e9
            moved[run.frame] = replace(tracks, xyxy=motion.moved(tracks.xyxy, ahead_s))
        return moved

    def _with_motion(self, frames: Iterable[int]) -> dict[int, tuple[Tracks, TrackMotion]]:
        tracker = ByteTracker()
        said = {}
        for frame in frames:
            tracks = tracker.update(_detections(self._rows[frame]), frame, frame * self._stream.interval_s)
            said[frame] = tracks, tracker.motion()
        return said


def _of_frame(rows: MotRows, frame: int) -> MotRows:
    of_it = rows.frame == frame + 1
    return MotRows(
        rows.frame[of_it], rows.track_id[of_it], rows.ltwh[of_it], rows.confidence[of_it], rows.class_id[of_it]
    )


def _xyxy(rows: MotRows) -> np.ndarray:
    return np.concatenate([rows.ltwh[:, :2], rows.ltwh[:, :2] + rows.ltwh[:, 2:]], axis=1).astype(np.float32)


def _detections(rows: MotRows) -> Detections:
    return Detections(_xyxy(rows), rows.confidence.astype(np.float32), np.zeros(len(rows), np.int64))


def _tracks(rows: MotRows) -> Tracks:
    none = np.zeros(len(rows), np.int64)
    # Results count objects from 0, Tracks from 1.
    return Tracks(_xyxy(rows), rows.confidence.astype(np.float32), none, rows.track_id + 1, none - 1)


def estimate(
    stream: Stream,
    runs: Sequence[Run],
    said: Mapping[int, Tracks],
    shown: Mapping[int, Tracks],
    frames_per_s: float | None,
) -> LatencyCost:
    """As the pipeline's own later outputs tell."""
    account = SelfConsistency(VIEWER, frames_per_s=frames_per_s)
    for run in runs:
        captured_ns = stream.arrival_ns(run.frame)
        account.shown(VIEWER, run.end_ns, run.frame, captured_ns, shown[run.frame])
        account.said(run.frame, captured_ns, run.end_ns, said[run.frame])
    cost = account.cost(VIEWER)
    assert cost is not None
    return cost


class Labels:
    """AP50 by labels. Boxes of the same score are ranked by lot, not in the order of their frames."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth

    def ap50(self, found: dict[int, Boxes]) -> float:
        """AP50, 0 to 1."""
        lots = np.random.default_rng(0)
        ranked = {
            frame: Boxes(b.ltwh, b.score - 0.004 * lots.random(len(b)), b.class_id, b.track_id)
            for frame, b in found.items()
        }
        with contextlib.redirect_stdout(io.StringIO()):
            ap50 = average_precision([self._truth], [ranked]).ap50
        assert ap50 is not None
        return ap50


@dataclass(frozen=True, slots=True)
class Settings:
    """How sequences are measured."""

    runtimes_ms: Sequence[int]
    frames_per_s: float | None
    compensate: bool


def measure(folder: Path, is_tuned_on: bool, settings: Settings) -> list[Row]:
    """One sequence at every runtime."""
    truth = read_mot_truth(folder).truth
    stream, labels = truth.stream, Labels(truth)
    pipeline = Pipeline(folder, stream)
    offline = labels.ap50({f: Boxes.of_tracks(t) for f, t in pipeline.run(range(stream.n_frames)).items()})
    rows = []
    for runtime_ms in settings.runtimes_ms:
        scheduler, runtimes = IdleFree(), Runtimes.constant(runtime_ms)
        scheduler.begin(stream, runtimes)
        runs = simulate(stream, scheduler, runtimes.draws(0))
        said = pipeline.run([run.frame for run in runs])
        shown = pipeline.moved(runs) if settings.compensate else said
        boxes = {frame: Boxes.of_tracks(tracks) for frame, tracks in shown.items()}
        lost = offline - labels.ap50(dict(enumerate(show(outputs(runs, boxes.__getitem__), stream).boxes)))
        cost = estimate(stream, runs, said, shown, settings.frames_per_s)
        assert cost.ap50_lost is not None
        rows.append(
            Row(
                sequence=folder.name,
                fps=float(stream.fps),
                is_static=folder.name in STATIC,
                is_tuned_on=is_tuned_on,
                runtime_ms=runtime_ms,
                offline=100 * offline,
                lost=100 * lost,
                share_lost=cost.ap50_lost,
            )
        )
    return rows


def rank_correlation(a: Iterable[float], b: Iterable[float]) -> float:
    """Spearman's."""
    return float(spearmanr(list(a), list(b)).statistic)


def summary(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Errors over groups of rows, in points of AP50."""
    groups = {
        "all": list(rows),
        "tuned on": [row for row in rows if row.is_tuned_on],
        "others": [row for row in rows if not row.is_tuned_on],
        "camera stands": [row for row in rows if row.is_static],
        "camera moves": [row for row in rows if not row.is_static],
        "25 frames/s and more": [row for row in rows if row.fps >= 25],
        "14 frames/s and less": [row for row in rows if row.fps < 25],
        **{f"{ms} ms": [row for row in rows if row.runtime_ms == ms] for ms in sorted({r.runtime_ms for r in rows})},
    }
    return {name: _errors(group) for name, group in groups.items() if len(group) > 1}


def _errors(rows: Sequence[Row]) -> dict[str, float]:
    errors = _of(rows, "error")
    share_errors = 100 * (_of(rows, "share_lost") - _of(rows, "lost") / _of(rows, "offline"))
    return {
        "n": len(rows),
        "mean_absolute_error": float(np.abs(errors).mean()),
        "mean_error": float(errors.mean()),
        "worst_error": float(errors[np.abs(errors).argmax()]),
        "rank_correlation": rank_correlation(_of(rows, "estimated"), _of(rows, "lost")),
        "share_mean_absolute_error": float(np.abs(share_errors).mean()),
        "share_rank_correlation": rank_correlation(_of(rows, "share_lost"), _of(rows, "lost")),
    }


def without_offline_ap(rows: Sequence[Row]) -> float:
    """Mean absolute error (points) if a sequence's own offline AP50 is not known, but the mean of the others is."""
    offline = {row.sequence: row.offline for row in rows}
    guess = {name: np.mean([ap for other, ap in offline.items() if other != name]) for name in offline}
    return float(np.mean([abs(guess[row.sequence] * row.share_lost - row.lost) for row in rows]))


def _of(rows: Sequence[Row], name: str) -> Float64Array:
    return np.array([getattr(row, name) for row in rows], np.float64)


def markdown(rows: Sequence[Row]) -> str:
    """A line per sequence, `labelled / estimated` per runtime."""
    runtimes = sorted({row.runtime_ms for row in rows})
    lines = [
        "| sequence | frames/s | camera | AP50 | " + " | ".join(f"{ms} ms" for ms in runtimes) + " |",
        "|---|--:|---|--:|" + "--:|" * len(runtimes),
    ]
    for name, group in itertools.groupby(rows, key=lambda row: row.sequence):
        of_sequence = list(group)
        first = of_sequence[0]
        cells = " | ".join(f"{row.lost:.1f} / {row.estimated:.1f}" for row in of_sequence)
        mark = " *" if first.is_tuned_on else ""
        camera = "stands" if first.is_static else "moves"
        lines.append(f"| {name}{mark} | {first.fps:g} | {camera} | {first.offline:.1f} | {cells} |")
    return "\n".join(lines)


def plot(rows: Sequence[Row], path: Path) -> None:
    """Estimated against labelled, as a picture."""
    from detector.data.chart import COLORS, new_figure, save_figure

    figure = new_figure(5.2, 4.8)
    axes = figure.subplots()
    most = 5 + max(row.lost for row in rows)
    axes.plot([-2, most], [-2, most], color="#999999", linewidth=1, zorder=1)
    axes.fill_between([-2, most], [-3.5, most - 1.5], [-0.5, most + 1.5], color="#999999", alpha=0.2, linewidth=0)
    for color, marker, is_tuned_on, name in ((COLORS[0], "o", True, "tuned on"), (COLORS[5], "D", False, "others")):
        group = [row for row in rows if row.is_tuned_on is is_tuned_on]
        axes.scatter(
            _of(group, "lost"), _of(group, "estimated"), s=18, color=color, marker=marker, label=name, zorder=2
        )
    axes.set(
        xlabel="points of AP50 lost, by labels", ylabel="estimated without labels", xlim=(-2, most), ylim=(-2, most)
    )
    axes.legend(frameon=False)
    save_figure(figure, path)


def main() -> int:
    """Measure, print, and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mot15/ and mot17/")
    parser.add_argument("--runtimes", type=int, nargs="+", default=RUNTIMES_MS, help="ms per frame")
    parser.add_argument(
        "--per-second", type=float, default=FRAMES_PER_S, help="frames asked about, as in a run; 0 = every one"
    )
    parser.add_argument("--compensate", action="store_true", help="move tracks to when they are shown")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="a .png")
    options = parser.parse_args()
    settings = Settings(options.runtimes, options.per_second or None, options.compensate)
    which = "mot15" if options.compensate else "mot1*"
    folders = sorted(path.parents[1] for path in options.data.glob(f"{which}/*/gt/gt.txt"))
    if not folders:
        parser.error(f"{options.data}: wanted mot15/NAME/gt/gt.txt, found none")
    rows: list[Row] = []
    for number, folder in enumerate(folders):
        rows += measure(folder, number % 2 == 0, settings)
        print(f"{folder.name}: done", file=sys.stderr)
    groups = summary(rows)
    print(markdown(rows))
    print("\nlabelled / estimated, points of AP50 lost; * = tuned on\n")
    for name, figures in groups.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3g}" for key, value in figures.items()))
    guessed = without_offline_ap(rows)
    print(f"mean absolute error where the AP50 without latency is guessed from the other sequences: {guessed:.2f}")
    if options.json:
        document = {"rows": [asdict(row) for row in rows], "summary": groups, "offline_ap_guessed": guessed}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.plot:
        plot(rows, options.plot)
    passed = groups["all"]["mean_absolute_error"] <= 1.5 and groups["all"]["rank_correlation"] >= 0.9
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
