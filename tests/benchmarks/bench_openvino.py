"""OpenVINO beside itself and beside PyTorch: what our backend adds to the bare runtime, per precision and size.

    python tests/benchmarks/bench_openvino.py WEIGHTS CLIP [--json out.json] [--seconds 3]

WEIGHTS are PyTorch weights (`stand_in_weights.py` makes some where no published file can be had); int8 is calibrated on
frames of the clip. In every round each way runs in turn, so that a busy machine is busy for all of them.

    eager      PyTorch, fp32, fused, channels last
    raw        a loop over one request of a compiled model, with the properties that OpenVINO's own benchmark sets
    backend    OpenVinoBackend.infer, one caller
    detector   YoloDetector.detect_images: letterbox, backend, boxes

wall: what a frame takes; cpu: seconds of processor time of the whole process per frame, which a busy machine hardly
changes. The second table is frames/s of one caller with all cores beside as many callers as cores.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import torch

from detector.backends import Precision
from detector.backends.eager import EagerBackend, EagerConfig
from detector.backends.openvino import OpenVinoBackend, OpenVinoConfig
from detector.checkpoint import LoadedCheckpoint, load_checkpoint
from detector.cpu_features import has_fast_bf16
from detector.detector import DetectorConfig, YoloDetector
from detector.export.calibration import calibration_canvases, read_calibration
from detector.export.header import ExportHeader
from detector.export.openvino_ir import import_openvino, read_ir, write_openvino
from detector.export.quantise import quantise
from detector.open_network import OpenedNetwork
from detector.preprocess import make_batches
from pipeline.core.arrays import ImageArray
from pipeline.core.cores import usable_cores

Way = Callable[[], object]
Figures = dict[str, float]

HINTS: dict[Precision, str] = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
CORES = usable_cores()


def main() -> None:
    parser = argparse.ArgumentParser(description="OpenVINO beside itself and beside PyTorch.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("clip", type=Path)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=3, help="per way and row")
    args = parser.parse_args()
    loaded = load_checkpoint(args.weights)
    frames = list(read_calibration(args.clip, 32))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(loaded, frames, Path(folder))
        print(f"{args.weights.name}, {CORES} cores; ms per frame, wall median (best) | cpu median")
        for square in (False, True):
            rows += latencies(loaded, files, frames, args.seconds, square=square)
        print("frames/s: 1 caller | a caller per core")
        for precision, file in files.items():
            rows.append(throughput(precision, file, loaded, frames, args.seconds))
    if args.json:
        args.json.write_text(json.dumps({"weights": args.weights.name, "cores": CORES, "rows": rows}, indent=1))


def write_files(loaded: LoadedCheckpoint, frames: list[ImageArray], folder: Path) -> dict[Precision, Path]:
    """An .xml for each precision that this CPU has."""
    header = ExportHeader.of(loaded, input="pixels", output="maps")
    stride = loaded.model.max_stride
    write_openvino(loaded.model, header, folder / "float.xml")
    canvases = calibration_canvases(iter(frames), loaded.input_hw, header.preprocess, stride)
    quantise(loaded.model, header, canvases, folder / "int8.xml")
    floats: dict[Precision, Path] = {"fp32": folder / "float.xml"}
    if has_fast_bf16():
        floats["bf16"] = folder / "float.xml"
    return {**floats, "int8": folder / "int8.xml"}


def latencies(
    loaded: LoadedCheckpoint, files: dict[Precision, Path], frames: list[ImageArray], seconds: float, *, square: bool
) -> list[dict[str, Any]]:
    """All ways of all precisions at one input size, in turn."""
    stride = None if square else loaded.model.max_stride
    canvas = make_batches(frames[:1], loaded.input_hw, loaded.header.preprocess, stride=stride)[0].canvases
    images = torch.from_numpy(canvas)
    eager = EagerBackend(loaded.model, EagerConfig(device="cpu", threads=CORES))
    ways: dict[tuple[str, str], Way] = {("fp32", "eager"): partial(eager.infer, images)}
    for precision, file in files.items():
        backend = OpenVinoBackend(file, OpenVinoConfig(device="cpu", precision=precision, threads=CORES))
        detector = YoloDetector(
            DetectorConfig(rect=not square, threads=CORES),
            network=OpenedNetwork(backend, loaded.class_names, loaded.input_hw, loaded.header.preprocess),
        )
        ways[precision, "raw"] = raw_loop(file, precision, images)
        ways[precision, "backend"] = partial(backend.infer, images)
        ways[precision, "detector"] = detect_loop(detector, frames)
    figures = in_turn(ways, seconds)
    size = "x".join(map(str, images.shape[1:3]))
    rows = []
    for (precision, way), found in figures.items():
        beside = figures[precision, "raw"] if way in ("backend", "detector") else None
        ratio = "" if beside is None else f"  {found['cpu_ms'] / beside['cpu_ms']:.3f} of raw (cpu)"
        text = f"{found['wall_ms']:7.2f} ({found['best_ms']:6.2f}) | {found['cpu_ms']:7.2f}{ratio}"
        print(f"{size} {precision:5}{way:9}{text}", flush=True)
        rows.append({"size": size, "precision": precision, "way": way, **found})
    return rows


def raw_loop(file: Path, precision: Precision, images: torch.Tensor) -> Way:
    """What OpenVINO's benchmark does: a static model, one request, input set once."""
    openvino = import_openvino("a benchmark")
    ir, _ = read_ir(file)
    ir.reshape(openvino.PartialShape(list(images.shape)))
    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": CORES,
        "INFERENCE_PRECISION_HINT": HINTS[precision],
        # Bound to cores it waits for whoever works there too, and would look slower than it is.
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(ir, "CPU", properties).create_infer_request()
    request.set_input_tensor(openvino.Tensor(images.numpy().copy()))

    def run() -> None:
        request.start_async()
        request.wait()

    return run


def detect_loop(detector: YoloDetector, frames: list[ImageArray]) -> Way:
    """The frames one after another, over and over."""
    turn = cycle(frames)
    return lambda: detector.detect_images([next(turn)])


def in_turn(ways: dict[tuple[str, str], Way], seconds: float) -> dict[tuple[str, str], Figures]:
    """Each way runs once per round; rounds until every way has had its seconds."""
    wall: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    cpu: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
    for way in list(ways.values()) * 3:
        way()
    began = time.perf_counter()
    while time.perf_counter() - began < seconds * len(ways) or len(next(iter(wall.values()))) < 10:
        for key, way in ways.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            way()
            wall[key].append((time.perf_counter() - start) * 1e3)
            cpu[key].append((time.process_time() - start_cpu) * 1e3)
    return {
        key: {
            "wall_ms": statistics.median(wall[key]),
            "best_ms": min(wall[key]),
            "cpu_ms": statistics.median(cpu[key]),
            "n": len(wall[key]),
        }
        for key in ways
    }


def throughput(
    precision: Precision, file: Path, loaded: LoadedCheckpoint, frames: list[ImageArray], seconds: float
) -> dict[str, Any]:
    """Frames/s of the network, one caller and several, in alternating slices."""
    stride = loaded.model.max_stride
    canvas = make_batches(frames[:1], loaded.input_hw, loaded.header.preprocess, stride=stride)[0].canvases
    images = torch.from_numpy(canvas)
    one = OpenVinoBackend(file, OpenVinoConfig(device="cpu", precision=precision, threads=CORES, streams=1))
    many = OpenVinoBackend(file, OpenVinoConfig(device="cpu", precision=precision, threads=CORES, streams=CORES))
    rates: dict[str, list[float]] = {"one": [], "many": []}
    with ThreadPoolExecutor(CORES) as pool:
        for turn in range(7):
            for name, backend, callers in (("one", one, 1), ("many", many, CORES)):
                n_done, took = _run(pool, backend, images, callers, seconds / 6)
                if turn:
                    rates[name].append(n_done / took)
    row = {"precision": precision, **{name: statistics.median(rate) for name, rate in rates.items()}}
    print(f"{precision:5} {row['one']:6.1f} | {row['many']:6.1f}", flush=True)
    return row


def _run(
    pool: ThreadPoolExecutor, backend: OpenVinoBackend, images: torch.Tensor, callers: int, seconds: float
) -> tuple[int, float]:
    def loop() -> int:
        n_done = 0
        while time.perf_counter() - began < seconds:
            backend.infer(images)
            n_done += 1
        return n_done

    began = time.perf_counter()
    n_done = sum(future.result() for future in [pool.submit(loop) for _ in range(callers)])
    return n_done, time.perf_counter() - began


if __name__ == "__main__":
    main()
