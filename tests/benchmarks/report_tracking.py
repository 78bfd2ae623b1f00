"""The accuracy tables of docs/tracking.md, as Markdown.

    python tests/benchmarks/report_tracking.py PATH/TO/mot15

The folder holds one folder per sequence, with gt/gt.txt, det/det.txt (scored) and seqinfo.ini.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from collections.abc import Sequence as TypingSequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.core.detections import Detections
from pipeline.evaluation.mot_metrics import MotReport, MotScores, MotSequence, evaluate_mot
from pipeline.evaluation.mot_text import MotRows, SequenceInfo, read_mot, read_seqinfo
from tracker.bytetrack import ByteTrackConfig, ByteTracker

DEFAULT = ByteTrackConfig(per_class=False)
PUBLISHED = ByteTrackConfig(per_class=False, reference_compat=True)
RATES = (30, 15, 10, 5)
BURSTS = (0.05, 0.1, 0.2, 0.5)
SEEDS = range(8)
Choice = Callable[[int], TypingSequence[int]]
"""From the number of frames to the numbers of those that are tracked, ascending from 1."""


@dataclass(frozen=True)
class Sequence:
    info: SequenceInfo
    truth: MotRows
    detected: MotRows

    @classmethod
    def read(cls, folder: Path) -> Sequence:
        return cls(
            read_seqinfo(folder / "seqinfo.ini"),
            read_mot(folder / "gt" / "gt.txt"),
            read_mot(folder / "det" / "det.txt"),
        )

    def detections(self, frame: int) -> Detections:
        rows = self.detected.frame == frame
        ltwh = self.detected.ltwh[rows]
        xyxy = np.column_stack([ltwh[:, :2], ltwh[:, :2] + ltwh[:, 2:]]).astype(np.float32)
        return Detections(xyxy, self.detected.confidence[rows].astype(np.float32), np.zeros(len(xyxy), np.int64))


def track(sequence: Sequence, config: ByteTrackConfig, frames: TypingSequence[int]) -> MotSequence:
    """Track the given frames only; the truth of the others is left out too."""
    tracker = ByteTracker(config)
    tracks = [
        (number, tracker.update(sequence.detections(frame), frame - 1, (frame - 1) / sequence.info.fps))
        for number, frame in enumerate(frames, 1)
    ]
    truth = sequence.truth
    kept = np.isin(truth.frame, frames)
    seen = MotRows(
        np.searchsorted(frames, truth.frame[kept]) + 1,
        truth.track_id[kept],
        truth.ltwh[kept],
        truth.confidence[kept],
        truth.class_id[kept],
    )
    return MotSequence(seen, MotRows.from_tracks(tracks), len(frames))


def score(sequences: dict[str, Sequence], config: ByteTrackConfig, choices: list[Choice]) -> MotReport:
    """Scores over the sequences, each once for every choice of frames."""
    runs = {
        f"{name} {number}" if number else name: track(sequence, config, choice(sequence.info.n_frames))
        for name, sequence in sequences.items()
        for number, choice in enumerate(choices)
    }
    return evaluate_mot(runs, "MOT15")


def every(step: int, first: int) -> Choice:
    return lambda n_frames: range(first, n_frames + 1, step)


def bursts(share: float, seed: int) -> Choice:
    """After each frame 1 to 10 frames are dropped with probability `share`, as a stalling detector would."""

    def choose(n_frames: int) -> list[int]:
        rng, frames = np.random.default_rng(seed), [1]
        while frames[-1] <= n_frames:
            frames.append(frames[-1] + 1 + (int(rng.integers(1, 11)) if rng.random() < share else 0))
        return frames[:-1]

    return choose


def cells(scores: MotScores, runs: int = 1) -> str:
    switches = round(scores.id_switches / runs)
    return f"{100 * scores.hota:.1f} | {100 * scores.mota:.1f} | {100 * scores.idf1:.1f} | {switches}"


def stricter(config: ByteTrackConfig) -> ByteTrackConfig:
    return replace(config, high_score=0.6, new_track_score=0.7, min_iou=0.1)


def print_sequences(sequences: dict[str, Sequence]) -> None:
    print("| sequence | fps | published: HOTA | MOTA | IDF1 | IDSW | default: HOTA | MOTA | IDF1 | IDSW |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    whole = [every(1, 1)]
    published, default = score(sequences, PUBLISHED, whole), score(sequences, DEFAULT, whole)
    for name, sequence in sequences.items():
        left, right = cells(published.per_sequence[name]), cells(default.per_sequence[name])
        print(f"| {name} | {sequence.info.fps:g} | {left} | {right} |")
    print(f"| **all** | | {cells(published.combined)} | {cells(default.combined)} |")
    left, right = (cells(score(sequences, stricter(c), whole).combined) for c in (PUBLISHED, DEFAULT))
    print(f"| all, stricter | | {left} | {right} |")


def print_rates(sequences: dict[str, Sequence]) -> None:
    print(f"\n{', '.join(sequences)}; combined over all ways to choose the first frame, IDSW per run\n")
    print(
        "| fps | published: HOTA | MOTA | IDF1 | IDSW | published, told the rate: HOTA | MOTA | IDF1 | IDSW "
        "| default: HOTA | MOTA | IDF1 | IDSW |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for rate in RATES:
        step = RATES[0] // rate
        choices = [every(step, first) for first in range(1, step + 1)]
        configs = (PUBLISHED, replace(PUBLISHED, nominal_fps=float(rate)), DEFAULT)
        print(f"| {rate} | {' | '.join(cells(score(sequences, c, choices).combined, step) for c in configs)} |")


def print_bursts(sequences: dict[str, Sequence]) -> None:
    print(f"\n{', '.join(sequences)}; combined over {len(SEEDS)} random runs, IDSW per run\n")
    print("| stalls | published: HOTA | MOTA | IDF1 | IDSW | default: HOTA | MOTA | IDF1 | IDSW |")
    print("|---|---|---|---|---|---|---|---|---|")
    for share in BURSTS:
        choices = [bursts(share, seed) for seed in SEEDS]
        row = (cells(score(sequences, c, choices).combined, len(SEEDS)) for c in (PUBLISHED, DEFAULT))
        print(f"| {100 * share:.0f} % | {' | '.join(row)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the accuracy tables of docs/tracking.md.")
    parser.add_argument("mot15", type=Path, help="folder with the MOT15 sequences")
    folders = sorted(f for f in parser.parse_args().mot15.iterdir() if f.is_dir())
    sequences = {folder.name: Sequence.read(folder) for folder in folders}
    print_sequences(sequences)
    full_rate = {name: s for name, s in sequences.items() if s.info.fps == RATES[0]}
    print_rates(full_rate)
    print_bursts(full_rate)


if __name__ == "__main__":
    main()
