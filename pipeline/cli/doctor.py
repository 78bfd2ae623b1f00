"""Verb `doctor`: versions, devices, codecs and extras of this machine."""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys

from pipeline.runtime.report import environment

EXTRAS = {
    "eval": ("faster_coco_eval", "trackeval"),
    "export": ("onnx", "onnxruntime"),
    "interop": ("supervision",),
}
"""Modules that each extra brings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This verb has no options."""


def run(args: argparse.Namespace) -> int:
    """Print the sections, one after another."""
    sections = {
        "machine": _machine(),
        "devices": _devices(),
        "video": _video(),
        "tracker": _tracker(),
        "extras": _extras(),
        "display": _display(),
    }
    for title, rows in sections.items():
        print(title)
        for name, value in rows.items():
            print(f"  {name:<22}{value}")
    return 0


def _machine() -> dict[str, object]:
    facts = environment()
    versions = facts.pop("versions")
    return facts | (versions if isinstance(versions, dict) else {})


def _devices() -> dict[str, object]:
    import torch

    rows: dict[str, object] = {"torch threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            rows[f"cuda:{i}"] = torch.cuda.get_device_name(i)
    else:
        rows["cuda"] = "none (torch sees no CUDA device)"
    return rows


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


def _tracker() -> dict[str, object]:
    from tracker.kernels import BACKEND

    hint = (
        "" if BACKEND == "cython" else " (slower; the compiled module was not built: pip install -e . with a compiler)"
    )
    return {"kernels": BACKEND + hint}


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
