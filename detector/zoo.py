"""Published weights: what they are, under which licence, and how to get them.

A digest stands here only if independent public sources give it for the file. Weights without one are downloaded over
HTTPS on trust, once: see docs/decisions/0010-weights-and-digests.md.
"""

from __future__ import annotations

import difflib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from detector.download import download, file_sha256
from pipeline.core.errors import CheckpointError, UsageError

_log = logging.getLogger(__name__)

DEFAULT_WEIGHTS = "street"
"""What runs when the user names no weights: the project's own model, docs/models/street.md."""

_SHIPPED_FOLDER = Path(__file__).with_name("weights")

_YOLOV7 = "https://github.com/WongKinYiu/yolov7/releases/download/v0.1/"
_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_MIT = "https://github.com/WongKinYiu/YOLO/releases/download/v1.0-alpha/"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """One weight file with a name.

    Attributes:
        name: what to pass as weights.
        url: where it is published; empty: it is a part of this package.
        file_name: its name in the cache, or in the package.
        licence: short name of the licence that its publisher put it under.
        sha256: hexadecimal digest, or None where it is not known.
        params_m: parameters of the fused deploy graph, millions.
        gflops: 2 * multiply-adds of one image at `size_px`, thousand millions.
        size_px: side of the square input.
        ap: published COCO val2017 AP of all 80 classes, a fraction of 1; None where there is none.
        ap_size_px: side of the input at which `ap` was measured.
    """

    name: str
    url: str
    file_name: str
    licence: str
    sha256: str | None
    params_m: float
    gflops: float
    size_px: int
    ap: float | None
    ap_size_px: int


_SHA256 = {
    "yolov7.pt": "d1ac3c74eb96a3eec77949c0f37a06bc272756606ff011d9353f7abff4e0c71d",
    "yolov7-e6e.pt": "b370120a414bf32b5d65fc808e5a32c8d9b3c63902d1bc41894fc9d86eccf9cb",
    "yolox_nano.pth": "cd28f55fbbc1829f99d9ac9b38a16d259a22889739c8728ea877610201feff7b",
    "yolox_tiny.pth": "9de513de589ac98bb92d3bca53b5af7b9acfa9b0bacb831f7999d0f7afaee8f0",
    "yolox_s.pth": "f55ded7181e1b0c13285c56e7790b8f0e8f8db590fe4edb37f0b7f345c913a30",
    "yolox_m.pth": "60076992b32da82951c90cfa7bd6ab70eba9eda243e08b940a396f60ac2d19b6",
    "yolox_l.pth": "1e6b7fa6240375370b2a8a8eab9066b3cdd43fd1d0bfa8d2027fd3a51def2917",
    "yolox_x.pth": "5652330b6ae860043f091b8f550a60c10e1129f416edfdb65c259be6caf355cf",
    "yolox_darknet.pth": "b5905e9faf500a2608c93991f91a41a6150bcd2dd30986865a73becd94542fa1",
}


def _yolov7(
    name: str, params_m: float, gflops: float, size_px: int, ap: float, ap_size_px: int | None = None
) -> PublishedWeights:
    file_name = f"{name}.pt"
    sha256 = _SHA256.get(file_name)
    at_px = ap_size_px or size_px
    return PublishedWeights(
        name, _YOLOV7 + file_name, file_name, "GPL-3.0", sha256, params_m, gflops, size_px, ap, at_px
    )


def _yolox(name: str, params_m: float, gflops: float, size_px: int, ap: float, file_name: str = "") -> PublishedWeights:
    file_name = file_name or f"{name.replace('-', '_')}.pth"
    sha256 = _SHA256[file_name]
    return PublishedWeights(
        name, _YOLOX + file_name, file_name, "Apache-2.0", sha256, params_m, gflops, size_px, ap, size_px
    )


_WEIGHTS: tuple[PublishedWeights, ...] = (
    PublishedWeights("street", "", "street.safetensors", "Apache-2.0", None, 1.5, 1.5, 416, None, 416),
    PublishedWeights("yolov7-mit", _MIT + "v7.pt", "yolov7-mit.pt", "MIT", None, 36.9, 104.5, 640, 0.512, 640),
    _yolov7("yolov7-tiny", 6.2, 13.7, 640, 0.352, ap_size_px=416),
    _yolov7("yolov7", 36.9, 104.5, 640, 0.512),
    _yolov7("yolov7x", 71.3, 189.7, 640, 0.529),
    _yolov7("yolov7-w6", 70.4, 359.7, 1280, 0.546),
    _yolov7("yolov7-e6", 97.2, 514.4, 1280, 0.559),
    _yolov7("yolov7-d6", 133.8, 701.7, 1280, 0.563),
    _yolov7("yolov7-e6e", 151.7, 842.2, 1280, 0.568),
    _yolox("yolox-nano", 0.9, 1.1, 416, 0.258),
    _yolox("yolox-tiny", 5.0, 6.5, 416, 0.328),
    _yolox("yolox-s", 9.0, 26.9, 640, 0.405),
    _yolox("yolox-m", 25.3, 74.0, 640, 0.469),
    _yolox("yolox-l", 54.2, 156.0, 640, 0.497),
    _yolox("yolox-x", 99.0, 282.5, 640, 0.511),
    _yolox("yolox-darknet53", 63.7, 185.5, 640, 0.477, "yolox_darknet.pth"),
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One line of the `models` verb: the published weights, and where they lie here (None: not downloaded)."""

    weights: PublishedWeights
    on_disk: Path | None


def cache_dir() -> Path:
    """Where downloaded weights are kept: $TRACKLIGHT_CACHE, else tracklight/ in the user's cache folder."""
    named = os.environ.get("TRACKLIGHT_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tracklight"


def list_models() -> list[ModelRow]:
    """All published weights, with those that are in the cache."""
    return [ModelRow(entry, path if (path := _place(entry)).is_file() else None) for entry in _WEIGHTS]


def resolve_weights(text: str, sha256: str | None = None) -> Path:
    """The file for a path or a published name; a published one that is not in the cache is downloaded.

    Args:
        text: path of a weight file, or a name of `list_models()`.
        sha256: hexadecimal digest that the file must have, in place of the published one.

    Raises:
        CheckpointError: no such file and no such name, another digest, or the download failed.
        UsageError: no weights are named.
    """
    if not text:
        raise UsageError("weights: wanted a file or the name of a model, found an empty text; see `tracklight models`")
    # The publishers write yolox_nano in file names and yolox-nano elsewhere; both are the same model.
    entry = next((entry for entry in _WEIGHTS if entry.name == text.replace("_", "-")), None)
    path = Path(text).expanduser()
    if entry is None or path.is_file():
        _require_file(path, text)
        if sha256 is not None:
            _require_digest(path, sha256)
        return path
    if not entry.url:
        path = _place(entry)
        _require_file(path, text)
        if sha256 is not None:
            _require_digest(path, sha256)
        return path
    return _fetch(entry, sha256)


def _place(entry: PublishedWeights) -> Path:
    """Where a file is, or would be."""
    return (cache_dir() if entry.url else _SHIPPED_FOLDER) / entry.file_name


def _require_file(path: Path, text: str) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path}: wanted a weight file, found a folder; name a file in it")
    if path.is_file():
        return
    if text == DEFAULT_WEIGHTS:
        raise CheckpointError(f"{path}: the default weights are missing from this installation; install it again")
    near = difflib.get_close_matches(text, [entry.name for entry in _WEIGHTS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`tracklight models` lists the names"
    raise CheckpointError(f"weights: wanted a file or the name of a model, found neither at {text!r}; {hint}")


def _fetch(entry: PublishedWeights, sha256: str | None) -> Path:
    path = _place(entry)
    wanted = sha256 or entry.sha256 or _recorded(path)
    if path.is_file():
        if wanted is not None:
            _require_digest(path, wanted)
        return path
    digest = download(entry.url, path, wanted)
    if wanted is None:
        _record(path, digest)
        _log.warning(
            "%s: no digest is published for it; taken on trust over HTTPS, SHA-256 %s is kept and checked from now on",
            path.name,
            digest,
        )
    else:
        _log.info("%s: downloaded, SHA-256 as expected (licence of these weights: %s)", path.name, entry.licence)
    return path


def _record_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _record(path: Path, digest: str) -> None:
    _record_of(path).write_text(f"{digest}  {path.name}\n", encoding="utf-8")


def _recorded(path: Path) -> str | None:
    record = _record_of(path)
    return record.read_text(encoding="utf-8").split()[0] if record.is_file() else None


def _require_digest(path: Path, wanted: str) -> None:
    found = file_sha256(path)
    if found != wanted.lower():
        raise CheckpointError(
            f"{path}: wanted SHA-256 {wanted.lower()}, found {found}; delete the file to fetch it anew"
        )
