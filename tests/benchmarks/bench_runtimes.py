"""What this project adds to a runtime's own time, on one model at 720p.

    python tests/benchmarks/bench_runtimes.py --weights yolov7-tiny.pt --img-size 640 [--json out.json]

Three things are timed per runtime, in turns of one call, in one process, on the same picture:

    raw       the runtime's own call, nothing around it: arrays in its own form in, arrays out
    infer     the backend: the letterboxed picture in, tensors out
    detect    a detector on a 720p frame: letterbox, backend, decoding, suppression, boxes in the frame

Wanted: infer <= 1.10 x raw, and detect <= 1.15 x infer. To add a runtime, add a function to RUNTIMES that gives its raw
call for a picture and its opened network. (OpenVINO has more to be told: see bench_openvino.py.)
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from detector.detector import DetectorConfig, YoloDetector
from detector.open_network import OpenedNetwork, Wanted, opener
from detector.preprocess import make_batches
from detector.zoo import DEFAULT_WEIGHTS, resolve_weights

WANTED = {"infer / raw": 1.10, "detect / infer": 1.15}


class Bench(NamedTuple):
    """An opened network, and its runtime's own call on letterboxed pictures uint8 (1, h, w, 3)."""

    network: OpenedNetwork
    raw: Callable[[np.ndarray], Callable[[], Any]]


def onnxruntime(path: Path, threads: int) -> Bench:
    """The backend's own session: threads of a second one would spin beside it and slow both down."""
    network = opener("onnxruntime")(path, Wanted("onnxruntime", "fp32", "cpu", threads))
    session = network.backend._session

    def raw(canvases: np.ndarray) -> Callable[[], Any]:
        feed = {session.get_inputs()[0].name: canvases}
        return lambda: session.run(None, feed)

    return Bench(network, raw)


def openvino(path: Path, threads: int) -> Bench:
    """The backend's own request, its input set once; an .xml runs in its own precision."""
    network = opener("openvino")(path, Wanted("openvino", "auto", "cpu", threads))
    backend = network.backend

    def raw(canvases: np.ndarray) -> Callable[[], Any]:
        backend.infer(torch.from_numpy(canvases))
        request = backend._request(canvases.shape)
        return lambda: (request.start_async(), request.wait())

    return Bench(network, raw)


RUNTIMES: dict[str, Callable[[Path, int], Bench]] = {"onnxruntime": onnxruntime, "openvino": openvino}


def measure(bench: Bench, frame: np.ndarray, img_size: int | None, rounds: int) -> dict[str, float]:
    """Median ms of the three calls, and their ratios: medians over the rounds, each of which runs all three."""
    network = bench.network
    detector = YoloDetector(DetectorConfig(img_size=img_size), network=network)
    stride = network.backend.io_spec.stride
    (batch,) = make_batches([frame], detector.input_hw, network.preprocess, stride=stride)
    canvases = torch.from_numpy(batch.canvases)
    calls: dict[str, Callable[[], Any]] = {
        "raw": bench.raw(batch.canvases),
        "infer": lambda: network.backend.infer(canvases),
        "detect": lambda: detector.detect_images([frame]),
    }
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        # Who comes first changes, so that none always finds the caches as another left them.
        order = list(calls)[number % 3 :] + list(calls)[: number % 3]
        for name in order:
            began = time.perf_counter()
            calls[name]()
            times[name].append(1000 * (time.perf_counter() - began))
    medians = {f"{name} ms": statistics.median(taken) for name, taken in times.items()}
    ratios = {
        f"{a} / {b}": statistics.median(x / y for x, y in zip(times[a], times[b], strict=True))
        for a, b in (("infer", "raw"), ("detect", "infer"))
    }
    return {**medians, **ratios, "input height": batch.canvases.shape[1], "input width": batch.canvases.shape[2]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=DEFAULT_WEIGHTS)
    parser.add_argument("--img-size", type=int, default=640)
    parser.add_argument("--picture", help="a frame, resized to 720p (default: noise)")
    parser.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=list(RUNTIMES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    if args.picture:
        frame = np.asarray(cv2.resize(cv2.imread(args.picture), (1280, 720)), np.uint8)
    path = resolve_weights(args.weights)
    results = {}
    print(f"{path.name} at {args.img_size}, 720p, {args.threads} threads, {platform.processor() or platform.machine()}")
    for name in args.runtime:
        bench = RUNTIMES[name](path, args.threads)
        results[name] = measured = measure(bench, frame, args.img_size, args.rounds)
        bench.network.backend.close()
        columns = [f"{key} {measured[key]:.2f}" for key in ("raw ms", "infer ms", "detect ms", *WANTED)]
        missed = [f"{key} <= {limit}" for key, limit in WANTED.items() if measured[key] > limit]
        print(f"{name:<12} " + "   ".join(columns) + ("   MISSED: " + ", ".join(missed) if missed else "   ok"))
    if args.json:
        Path(args.json).write_text(json.dumps({"weights": path.name, "results": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
