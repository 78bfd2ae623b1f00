"""Verb `doctor`: versions, devices, codecs and extras of this machine."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import shutil
import sys

from pipeline.runtime.report import environment

EXTRAS = {
    "eval": ("faster_coco_eval", "trackeval"),
    "train": ("matplotlib", "tensorboard", "faster_coco_eval"),
    "export": ("onnx", "onnxruntime"),
    "openvino": ("openvino", "nncf", "onnx"),
    "tensorrt": ("tensorrt", "onnx", "onnxruntime"),
    "bench": ("matplotlib",),
    "interop": ("supervision", "pandas"),
    "store": ("pyarrow", "pandas"),
    "postgres": ("psycopg",),
    "ray": ("ray",),
    "web": ("fastapi", "uvicorn", "websockets"),
    "mqtt": ("paho",),
    "metrics": ("prometheus_client",),
}
"""Modules that each extra brings."""

RUNTIMES = {"eager": "torch", "onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
"""The package that each backend runs in."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This verb has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the sections, one after another."""
    sections = {
        "machine": _machine(),
        "devices": _devices(),
        "runtimes": _runtimes(),
        "video": _video(),
        "compiled code": _compiled(),
        "extras": _extras(),
        "display": _display(),
    }
    for title, rows in sections.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:<22}{value}")
    return 0


def _machine() -> dict[str, object]:
    from pipeline.benchmark.machine import cpu_features, memory_gb

    facts = environment()
    versions = facts["versions"]
    memory = memory_gb()
    return {
        **{name: facts[name] for name in ("python", "platform", "cpu")},
        "usable cores": f"{facts['usable_cores']} (affinity and container quota)",
        "CPU features": " ".join(cpu_features()) or "not told by this system",
        "memory": "not told by this system" if memory is None else f"{memory} GB",
        **(versions if isinstance(versions, dict) else {}),
    }


def _devices() -> dict[str, object]:
    import torch

    rows: dict[str, object] = {"torch threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            rows[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    else:
        rows["cuda"] = "none (torch sees no CUDA device)"
    return rows


def _runtimes() -> dict[str, object]:
    """The version of each backend's runtime, or how to get it."""
    rows: dict[str, object] = {}
    for backend, package in RUNTIMES.items():
        extra = next((extra for extra, modules in EXTRAS.items() if package in modules), None)
        try:
            rows[f"backend {backend}"] = f"{package} {importlib.metadata.version(package)}{_providers(backend)}"
        except importlib.metadata.PackageNotFoundError:
            rows[f"backend {backend}"] = f"not installed: pip install 'tracklight[{extra}]'"
    return rows


def _providers(backend: str) -> str:
    """What ONNX Runtime was built for: its CPU and GPU packages have one name."""
    if backend != "onnxruntime":
        return ""
    from detector.backends.onnxruntime import import_onnxruntime

    providers = import_onnxruntime().get_available_providers()
    return f" ({', '.join(name.removesuffix('ExecutionProvider') for name in providers)})"


def _video() -> dict[str, object]:
    import av
    from av.codec.hwaccel import hwdevices_available

    rows: dict[str, object] = {"FFmpeg libavcodec": ".".join(map(str, av.library_versions["libavcodec"]))}
    for name in ("h264", "hevc", "vp9", "av1", "mjpeg"):
        rows[f"decode {name}"] = "yes" if name in av.codecs_available else "no"
    rows["encode h264"] = ", ".join(n for n in ("libx264", "h264_nvenc", "h264_vaapi") if _can_encode(n)) or "no"
    rows["hardware decoding"] = ", ".join(hwdevices_available()) or "none in this build"
    return rows


def _can_encode(name: str) -> bool:
    import av

    try:
        av.Codec(name, "w")
    except ValueError:
        return False
    return True


def _compiled() -> dict[str, object]:
    from detector.box_kernels import BACKEND as BOXES
    from pipeline.analytics.kernels import BACKEND as RULES
    from tracker.kernels import BACKEND as TRACKER

    hint = " (slower; the compiled module was not built: pip install -e . with a compiler)"
    return {
        name: used if used == "cython" else used + hint
        for name, used in (("boxes of networks", BOXES), ("tracker", TRACKER), ("analytics", RULES))
    }


def _extras() -> dict[str, object]:
    rows: dict[str, object] = {}
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        rows[f"[{extra}]"] = "installed" if not absent else f"needs {', '.join(absent)}"
    return rows


def _display() -> dict[str, object]:
    if sys.platform.startswith("linux"):
        named = {name: os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY") if os.environ.get(name)}
        shown = ", ".join(f"{name}={value}" for name, value in named.items()) or "none (no DISPLAY, no WAYLAND_DISPLAY)"
    else:
        shown = sys.platform
    return {"screen": shown, "ffplay": shutil.which("ffplay") or "not installed"}
