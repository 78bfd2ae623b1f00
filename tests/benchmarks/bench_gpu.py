"""Latency and throughput of networks on a GPU: plain eager fp16 against ours, in turns within one run.

    python tests/benchmarks/bench_gpu.py [--json out.json] [--models yolov7 ...] [--backends plain eager tensorrt]

- `plain`: the network as published, in fp16, neither fused nor channels-last: the way most scripts run it. Its input
  lies on the GPU already, as planes.
- `eager`: ours: fused, channels-last, pictures of bytes, replayed from CUDA graphs. Its input lies on the GPU too.
- `tensorrt`: the same network as an engine, where TensorRT is installed; built for this batch, kept in the cache.

All give the logits of the head; decoding and suppression are outside. Weights are random: they change no time. The
figure is the median over rounds of CUDA event times, each round over several calls, the contestants in turns. `peak` is
what this chip reaches in a large matrix product and a large convolution in the same precision, measured in the same
run; `of peak` is the network's 2 * multiply-adds over its time, as a fraction of the matrix product's.

`--device cpu` runs the same code with bf16 or fp32 and host clocks: for correctness, its times say nothing.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from torch import nn

from detector.backends.eager import EagerBackend, EagerConfig
from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.models import DetectionModel, build_model, count_gflops
from detector.preprocess import to_planes

MODELS = ("yolov7-tiny", "yolov7", "yolov7-w6", "yolov7-e6e")
BATCHES = (1, 32)
CONTESTANTS = ("plain", "eager", "tensorrt")
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
WARM_UP_CALLS = 8
"""More than the calls before a shape is recorded."""
MOST_ERROR = {"fp16": 0.03, "bf16": 0.15, "fp32": 1e-3}
"""Norm of the difference over the norm, from the plain network in fp32."""

Call = Callable[[], Any]


class Figure(NamedTuple):
    """Milliseconds per call of one contestant, and how far its logits are from the plain network in fp32."""

    model: str
    batch: int
    size_px: int
    contestant: str
    ms: float
    images_per_s: float
    speed_up: float
    of_peak: float
    error: float


class Bench(NamedTuple):
    """What all measurements share."""

    device: torch.device
    precision: str
    rounds: int
    calls: int


def milliseconds(bench: Bench, calls: dict[str, Call]) -> dict[str, float]:
    """Median time of a call of each contestant; in every round each of them runs several calls in a row."""
    for call in calls.values():
        for _ in range(WARM_UP_CALLS):
            call()
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(bench.rounds):
        for name, call in calls.items():
            spent[name].append(_one_round(bench, call))
    return {name: statistics.median(times) for name, times in spent.items()}


def _one_round(bench: Bench, call: Call) -> float:
    if bench.device.type == "cpu":
        began = time.perf_counter()
        for _ in range(bench.calls):
            call()
        return (time.perf_counter() - began) * 1e3 / bench.calls
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize(bench.device)
    begin.record()
    for _ in range(bench.calls):
        call()
    end.record()
    torch.cuda.synchronize(bench.device)
    return begin.elapsed_time(end) / bench.calls


@torch.inference_mode()
def peak_tflops(bench: Bench, side: int) -> dict[str, float]:
    """What the chip reaches: a product of two matrices of that side, and a 3x3 convolution of as much work."""
    dtype, device = DTYPES[bench.precision], bench.device
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    channels, cells = side // 16, side // 32
    x = torch.randn(32, channels, cells, cells, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, dtype)
    convolution = convolution.to(memory_format=torch.channels_last)
    ms = milliseconds(bench, {"matmul": lambda: a @ b, "conv": lambda: convolution(x)})
    work = {"matmul": 2 * side**3, "conv": 2 * 32 * cells**2 * channels**2 * 9}
    return {name: work[name] / ms[name] / 1e9 for name in ms}


@torch.inference_mode()
def compare(bench: Bench, name: str, batch: int, size_px: int, contestants: list[str], peak: float) -> list[Figure]:
    """All contestants on one network and batch.

    Raises:
        RuntimeError: the logits of one of them are not those of the network.
    """
    torch.manual_seed(0)
    model = _lively(build_model(name, form="training")).eval()
    pictures = torch.randint(0, 256, (batch, size_px, size_px, 3), dtype=torch.uint8).to(bench.device)
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "random.safetensors"
        save_checkpoint(weights, model, tuple(f"class {n}" for n in range(80)), input_hw=(size_px, size_px))
        calls = {kind: _MAKERS[kind](bench, weights, pictures) for kind in contestants}
    reference = model.to(bench.device).logits(to_planes(pictures[:1], "yolov7"))
    errors = {kind: _error(call(), reference) for kind, call in calls.items()}
    for kind, error in errors.items():
        if not error < MOST_ERROR[bench.precision]:
            raise RuntimeError(f"{name}, batch {batch}: {kind} is off by {error:.3f} of the logits' norm")
    del reference, model
    ms = milliseconds(bench, calls)
    work = count_gflops(build_model(name), (size_px, size_px)) * batch
    first = ms[contestants[0]]
    return [
        Figure(
            name, batch, size_px, kind, t, batch * 1e3 / t, first / t, work / t / peak if peak else 0.0, errors[kind]
        )
        for kind, t in ms.items()
    ]


def _lively(model: DetectionModel) -> DetectionModel:
    """Fresh weights let signals die out on their way, and zeros are faster to multiply than numbers."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1.7)
    return model


def _error(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> float:
    first = torch.cat([level[:1].float().flatten() for level in found])
    return float((first - (flat := torch.cat([level.flatten() for level in wanted]))).norm() / flat.norm())


def _plain(bench: Bench, weights: Path, pictures: torch.Tensor) -> Call:
    model = load_checkpoint(weights).model.to(bench.device, DTYPES[bench.precision])
    planes = to_planes(pictures, "yolov7", DTYPES[bench.precision])
    return lambda: model.logits(planes)


def _eager(bench: Bench, weights: Path, pictures: torch.Tensor) -> Call:
    config = EagerConfig(device=str(bench.device), precision=bench.precision)
    backend = EagerBackend(load_checkpoint(weights).model, config)
    return lambda: backend.infer(pictures)


def _tensorrt(bench: Bench, weights: Path, pictures: torch.Tensor) -> Call:
    from detector.backends.tensorrt import TensorRtBackend, TensorRtConfig
    from detector.export.header import ExportHeader
    from detector.export.tensorrt import EngineSettings, write_engine

    loaded = load_checkpoint(weights)
    batch, height, width, _ = pictures.shape
    header = ExportHeader.of(loaded, input="pixels", output="maps").model_copy(
        update={"precision": bench.precision, "batch": batch, "fixed_hw": (height, width)}
    )
    engine = weights.with_suffix(".engine")
    write_engine(loaded.model, header, engine, settings=EngineSettings(device=str(bench.device)))
    backend = TensorRtBackend(engine, TensorRtConfig(device=str(bench.device)))
    return lambda: backend.infer(pictures)


_MAKERS: dict[str, Callable[[Bench, Path, torch.Tensor], Call]] = {
    "plain": _plain,
    "eager": _eager,
    "tensorrt": _tensorrt,
}


def table(figures: list[Figure], peak: dict[str, float]) -> str:
    """The figures as text."""
    lines = [f"measured peak: {peak['matmul']:.1f} TFLOP/s matrix product, {peak['conv']:.1f} convolution", ""]
    lines.append(
        f"{'model':<13}{'batch':>5}{'px':>6}  {'':<9}{'ms':>9}{'images/s':>10}{'ratio':>7}{'of peak':>9}{'error':>9}"
    )
    lines += [
        f"{f.model:<13}{f.batch:>5}{f.size_px:>6}  {f.contestant:<9}{f.ms:>9.3f}{f.images_per_s:>10.1f}"
        f"{f.speed_up:>7.2f}{f.of_peak:>9.1%}{f.error:>9.4f}"
        for f in figures
    ]
    return "\n".join(lines)


def _tensorrt_is_there() -> bool:
    try:
        import tensorrt  # noqa: F401
    except ImportError:
        return False
    return True


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Networks on a GPU: plain eager against ours.")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=DTYPES, help="default: fp16, on the CPU bf16")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=list(BATCHES))
    parser.add_argument("--img-size", type=int, help="side in px; default: what each model is meant for")
    parser.add_argument("--backends", nargs="+", choices=CONTESTANTS, help="the first one is the measure of the others")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=10, help="calls per round")
    parser.add_argument("--peak-side", type=int, default=8192, help="side of the matrices that measure the peak")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser.parse_args()


def main() -> None:
    """Measure, print the table and write it."""
    args = _arguments()
    device = torch.device(args.device)
    precision = args.precision or ("fp16" if device.type == "cuda" else "bf16")
    bench = Bench(device, precision, args.rounds, args.calls)
    there = [kind for kind in CONTESTANTS if kind != "tensorrt" or (device.type == "cuda" and _tensorrt_is_there())]
    contestants = args.backends or there
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    print(f"{chip}, torch {torch.__version__}, {precision}, medians of {bench.rounds} rounds of {bench.calls} calls")
    peak = peak_tflops(bench, args.peak_side)
    figures: list[Figure] = []
    for name in args.models:
        for batch in args.batches:
            size_px = args.img_size or build_model(name).default_hw[0]
            figures += compare(bench, name, batch, size_px, contestants, peak["matmul"])
            if device.type == "cuda":
                torch.cuda.empty_cache()
    print(table(figures, peak))
    if args.json:
        document = {
            "chip": chip,
            "torch": torch.__version__,
            "precision": precision,
            "peak_tflops": peak,
            "figures": [figure._asdict() for figure in figures],
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
