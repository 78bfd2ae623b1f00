"""The whole pipeline against the YOLOv7 authors' loop: video in, annotated video and boxes out, on two cores.

    python tests/benchmarks/bench_end_to_end.py [--source clip.mp4] [--weights FILE] [--int8 FILE.xml] [--json out.json]

Everything runs in processes of its own, in turns, over all frames of one clip. A rate is frames over the time from the
first read to the closed files, the first slow call of a network included, loading it not. `ratio` compares within a
round. `cores` is the CPU time per frame times frames per second in the middle of the run: of two cores, 1.85 is what
this project asks of itself (docs/performance.md).

Without --weights: yolov7-tiny with the stand-in weights of stand_in_weights.py; the tracker then takes boxes of low
scores too, since theirs are chance, so that more is drawn. The int8 file is made with frames of the clip, as
`tracklight export` makes it, or is the one of --int8.

Measure on a quiet machine. PyTorch's threads wait for each other by spinning: beside other programs the authors' loop
slows down far more than the rest, and ratios to it come out too high.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from stand_in_weights import make_weights

from detector.checkpoint import load_checkpoint
from detector.export.calibration import calibration_canvases, read_calibration
from detector.export.header import ExportHeader
from pipeline.benchmark.clip import prepare_clip
from pipeline.benchmark.configuration import END_TO_END, Configuration, Job
from pipeline.benchmark.figures import over_repeats, ratio_by_turns
from pipeline.benchmark.machine import machine
from pipeline.benchmark.processes import run_job
from pipeline.core.errors import BackendError, MissingExtraError

ROOT = Path(__file__).resolve().parents[2]
REAL_CLIP = (
    Path(os.environ.get("TRACKLIGHT_SHARED", ROOT.parent / "shared")) / "data" / "clips" / "mmdetection_demo.mp4"
)
AUTHORS = "authors' loop"
WANTED = {"int8": 5.0, "fp32": 3.0, "bf16": 3.0}
WANTED_CORES = 1.85
CALIBRATION_FRAMES = 64
LOW_SCORES = tuple(
    f"tracker.{name}={value}"
    for name, value in {
        "high_score": 0.25,
        "new_track_score": 0.25,
        "fuse_score": "false",
        "min_iou": 0.05,
        "min_iou_new": 0.05,
    }.items()
)
Row = dict[str, float]


def authors(weights: Path, clip: Path, side_px: int) -> Row:
    """One run of the baseline."""
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "figures.json"
        command = [sys.executable, str(Path(__file__).with_name("authors_loop.py"))]
        command += ["--weights", str(weights), "--source", str(clip), "--out", f"{folder}/out"]
        command += ["--img-size", str(side_px), "--json", str(figures)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
        found = json.loads(figures.read_text())
    cores = found["cpu_s_per_frame"] * found["frames_per_s"]
    names = ("frames_per_s", "cpu_s_per_frame", "objects_per_frame", "peak_memory_mb")
    return {**{name: found[name] for name in names}, "cores": cores, "video_mb": found["video_bytes"] / 1e6}


def ours(configuration: Configuration, clip: Path, settings: tuple[str, ...]) -> Row:
    """One run of the pipeline."""
    measured = run_job(Job("end to end", configuration, str(clip), None, settings))
    notes, whole = measured.notes, measured.stages[END_TO_END]
    return {
        "frames_per_s": float(notes["whole_run_frames_per_s"]),  # type: ignore[arg-type]
        "cpu_s_per_frame": whole.cpu_s_per_frame,
        "objects_per_frame": float(notes["objects_per_frame"]),  # type: ignore[arg-type]
        "peak_memory_mb": measured.peak_memory_mb or 0.0,
        "cores": float(notes["cores_busy"]),  # type: ignore[arg-type]
        "video_mb": float(notes["mp4_bytes"]) / 1e6,  # type: ignore[arg-type]
    }


def int8_file(weights: Path, clip: Path, side_px: int, folder: Path) -> list[Path]:
    """The weights rounded to 8 bits as `tracklight export` does it; none where that does not work here.

    Not through `export` itself: it keeps a file only if it finds what the network finds, and what untrained weights
    find is too near to chance for that.
    """
    target = folder / "int8.xml"
    loaded = load_checkpoint(weights)
    header = ExportHeader.of(loaded, input="pixels", output="maps")
    canvases = calibration_canvases(
        read_calibration(clip, CALIBRATION_FRAMES), (side_px, side_px), header.preprocess, header.stride
    )
    try:
        from detector.export.quantise import quantise

        quantise(loaded.model, header, canvases, target)
    except (MissingExtraError, BackendError) as error:
        print(f"cannot run here: openvino int8: {error}")
        return []
    return [target]


def runs(args: argparse.Namespace, weights: Path, int8: list[Path], clip: Path) -> dict[str, Callable[[], Row]]:
    """What is measured, by name: only what can run here."""
    chosen = [Configuration(str(weights), b, p, args.img_size) for b, p in (("eager", "fp32"), ("eager", "bf16"))]
    chosen += [Configuration(str(weights), "onnxruntime", "fp32", args.img_size)]
    chosen += [Configuration(str(weights), "openvino", p, args.img_size) for p in ("fp32", "bf16")]
    chosen += [Configuration(str(path), "openvino", "int8", args.img_size) for path in int8]
    found: dict[str, Callable[[], Row]] = {AUTHORS: lambda: authors(weights, clip, args.img_size)}
    for one in chosen:
        name = f"{one.backend} {one.precision}"
        if args.only and name not in args.only:
            continue
        try:
            run_job(Job("prepare", one, str(clip), None))
        except BackendError as error:
            print(f"cannot run here: {name}: {error}")
            continue
        settings = () if args.weights else LOW_SCORES
        found[name] = lambda one=one, settings=settings: ours(one, clip, settings)  # type: ignore[misc]
    return found


def in_turns(todo: dict[str, Callable[[], Row]], rounds: int) -> dict[str, list[Row]]:
    """Every run once a round, there and back again."""
    rows: dict[str, list[Row]] = {name: [] for name in todo}
    for turn in range(rounds):
        for name in todo if turn % 2 == 0 else reversed(todo):
            rows[name].append(todo[name]())
            print(f"round {turn + 1} of {rounds}: {name}: {rows[name][-1]['frames_per_s']:.1f} frames/s", flush=True)
    return rows


def print_rows(rows: dict[str, list[Row]]) -> None:
    """The table, and whether it is what this project wants."""
    base = [row["frames_per_s"] for row in rows[AUTHORS]]
    head = ("", "frames/s", "±", "ratio", "lowest", "CPU ms/frame", "cores", "objects", "MB", "video MB", "wanted")
    print(f"\n{head[0]:<18}" + "".join(f"{name:>13}" for name in head[1:]))
    for name, found in rows.items():
        middle = {key: over_repeats([row[key] for row in found]) for key in found[0]}
        rate, ratio = middle["frames_per_s"], ratio_by_turns([row["frames_per_s"] for row in found], base)
        wanted = WANTED.get(name.split()[-1])
        met = "" if wanted is None else f"{wanted:g}x: {'yes' if ratio.median >= wanted else 'no'}"
        cells = (
            *(f"{rate.median:.1f}", f"{rate.relative / 2:.0%}", f"{ratio.median:.2f}x", f"{ratio.low:.2f}x"),
            f"{middle['cpu_s_per_frame'].median * 1e3:.1f}",
            *(f"{middle['cores'].median:.2f}", f"{middle['objects_per_frame'].median:.1f}"),
            *(f"{middle['peak_memory_mb'].median:.0f}", f"{middle['video_mb'].median:.2f}", met),
        )
        print(f"{name:<18}" + "".join(f"{cell:>13}" for cell in cells))
    print(f"\ncores: {WANTED_CORES} of 2 is wanted; it can only be reached while no other program runs.")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the whole pipeline against the authors' loop.")
    parser.add_argument(
        "--source", type=Path, help="default: the 720p clip of the reference data, else one that is made"
    )
    parser.add_argument("--weights", type=Path, help="yolov7-tiny; default: stand-in weights")
    parser.add_argument("--int8", type=Path, nargs="*", default=[], help="quantised files of the same weights")
    parser.add_argument("--img-size", type=int, default=640)
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--only", nargs="*", help="names of the table, such as 'openvino bf16'")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.cores])
    source = args.source or (REAL_CLIP if REAL_CLIP.is_file() else None)
    with tempfile.TemporaryDirectory() as folder:
        # What the stand-in weights are converted to is of no use to anybody later.
        os.environ["TRACKLIGHT_CACHE"] = f"{folder}/cache"
        clip = prepare_clip(source, Path(folder), min_frames=args.frames)
        weights = args.weights or make_weights(
            clip.path, Path(folder) / "yolov7-tiny.safetensors", side_px=args.img_size
        )
        int8 = args.int8 or int8_file(weights, clip.path, args.img_size, Path(folder))
        about = machine()
        print(
            f"{about['cpu']}, {about['usable_cores']} cores, load before {about['load_before']}; {clip.frames} frames"
        )
        rows = in_turns(runs(args, weights, int8, clip.path), args.rounds)
    print_rows(rows)
    if args.json:
        args.json.write_text(json.dumps({"machine": about, "clip": clip.name, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
