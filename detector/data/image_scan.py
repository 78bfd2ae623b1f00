"""Looks at every image once: its size as decoded, what it is, whether it is whole. Remembers that between runs."""

from __future__ import annotations

import hashlib
import json
import logging
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import cv2
import numpy as np

from detector.data.report import Kind
from detector.zoo import cache_dir

_log = logging.getLogger(__name__)

_FORMAT = f"scan 1, OpenCV {cv2.__version__}"
_SOS, _EOI = 0xDA, b"\xff\xd9"
_PNG_HEAD, _PNG_TAIL = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_PNG_PALETTE, _PNG_KINDS_WITH_ALPHA = 3, (4, 6)


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What one look at an image file told.

    Attributes:
        height: of the decoded image, upright by its EXIF mark, px; 0 where there is a fault.
        width: likewise.
        converted: what the file holds if that is not 8-bit colour, such as `16-bit`; empty otherwise.
        fault: value of the `Kind` of problem, or empty.
        fault_text: what was found.
    """

    height: int = 0
    width: int = 0
    converted: str = ""
    fault: str = ""
    fault_text: str = ""


def look_at(path: Path) -> ImageFacts:
    """Read and decode one image file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return ImageFacts(fault=Kind.MISSING_IMAGE, fault_text="no such file")
    except OSError as error:
        return ImageFacts(fault=Kind.UNREADABLE_IMAGE, fault_text=error.strerror or str(error))
    if not data:
        return ImageFacts(fault=Kind.UNREADABLE_IMAGE, fault_text="an empty file (0 bytes)")
    if not _has_its_end(data):
        # Checked before decoding: some decoders fill the missing rest of a picture with grey and say nothing.
        return ImageFacts(fault=Kind.TRUNCATED_IMAGE, fault_text="the end of the picture is missing; copy it again")
    pixels = _decode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        return ImageFacts(fault=Kind.UNREADABLE_IMAGE, fault_text="not a picture that OpenCV can decode")
    height, width = pixels.shape[:2]
    return ImageFacts(height, width, _conversion(data))


def scan(paths: Sequence[Path], *, workers: int, cache: Path | None) -> list[ImageFacts]:
    """Look at all images in a pool of threads; those that have not changed since the last scan are remembered.

    Args:
        paths: image files.
        workers: threads.
        cache: file of the last scan, made or replaced; a damaged one is rebuilt. None: nothing is remembered.

    Returns:
        one per path, in the same order.
    """
    known = _load(cache) if cache is not None else {}
    stamps = [_stamp(path) for path in paths]
    facts: dict[Path, ImageFacts] = {}
    for path, stamp in zip(paths, stamps, strict=True):
        entry = known.get(str(path))
        if stamp is not None and entry is not None and entry[0] == stamp:
            facts[path] = entry[1]
    new = list(dict.fromkeys(path for path in paths if path not in facts))
    facts.update(zip(new, _look_at_all(new, workers), strict=True))
    entries = {str(path): (stamp, facts[path]) for path, stamp in zip(paths, stamps, strict=True) if stamp is not None}
    if cache is not None and entries != known:
        _save(cache, entries)
    return [facts[path] for path in paths]


def cache_file(path: Path, split: str) -> Path:
    """Where the scan of one split of a data set is remembered: in the user's cache folder."""
    digest = hashlib.sha256(f"{path.absolute()}\n{split}".encode()).hexdigest()
    return cache_dir() / "scans" / f"{path.stem}-{digest[:16]}.json"


def _look_at_all(paths: Sequence[Path], workers: int) -> list[ImageFacts]:
    if not paths:
        return []
    pool = ThreadPoolExecutor(workers, thread_name_prefix="scan")
    try:
        return list(pool.map(look_at, paths))
    finally:
        # Ctrl-C must not wait for a hundred thousand pictures.
        pool.shutdown(cancel_futures=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in ns."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _load(cache: Path) -> dict[str, tuple[tuple[int, int], ImageFacts]]:
    try:
        document = json.loads(cache.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            return {}
        return {path: ((size, time), _facts(*rest)) for path, (size, time, *rest) in document["images"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        _log.info("%s: the remembered scan cannot be used (%s); images are looked at again", cache, error)
        return {}


def _facts(height: int, width: int, converted: str, fault: str, fault_text: str) -> ImageFacts:
    if not (isinstance(height, int) and isinstance(width, int) and (fault == "" or fault in list(Kind))):
        raise ValueError("an entry that no scan writes")
    return ImageFacts(height, width, converted, fault, fault_text)


def _save(cache: Path, entries: dict[str, tuple[tuple[int, int], ImageFacts]]) -> None:
    images = {path: [*stamp, *astuple(facts)] for path, (stamp, facts) in entries.items()}
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=cache.parent, prefix=".scan-", delete=False, encoding="utf-8") as part:
            try:
                json.dump({"format": _FORMAT, "images": images}, part, separators=(",", ":"))
                part.close()
                Path(part.name).replace(cache)
            finally:
                Path(part.name).unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s: the scan cannot be remembered (%s); the next start looks at all images again", cache, error)


def _decode(data: bytes, flags: int) -> np.ndarray[Any, Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


def _has_its_end(data: bytes) -> bool:
    """False where a JPEG, PNG or WebP file lacks its end mark; what follows the mark does not matter."""
    if data.startswith(b"\xff\xd8"):
        return data.find(_EOI, _start_of_scan(data)) >= 0
    if data.startswith(_PNG_HEAD):
        return data.rfind(_PNG_TAIL) >= 0
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return True


def _start_of_scan(data: bytes) -> int:
    """Where a JPEG's picture begins: behind its header segments, which may hold a whole JPEG as thumbnail."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF and data[place + 1] != _SOS:
        # Any number of 0xFF may stand before a marker.
        place += 1 if data[place + 1] == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return min(place, len(data))


def _conversion(data: bytes) -> str:
    """What the file holds, if that is not 8-bit colour."""
    if data.startswith(b"\xff\xd8"):
        return {1: "1 channel", 4: "4 channels (CMYK)"}.get(_jpeg_channels(data), "")
    if data.startswith(_PNG_HEAD):
        bits, kind = struct.unpack_from("BB", data, 24)
        if kind == _PNG_PALETTE:
            return "palette"
        return _described(bits == 16, 1 if kind in (0, 4) else 3, kind in _PNG_KINDS_WITH_ALPHA)
    pixels = _decode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return ""
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    return _described(pixels.dtype != np.uint8, min(channels, 3), channels == 4)


def _described(deep: bool, channels: int, alpha: bool) -> str:
    parts = (deep and "16-bit", channels == 1 and "1 channel", alpha and "alpha")
    return ", ".join(part for part in parts if part)


def _jpeg_channels(data: bytes) -> int:
    place = 2
    while place + 10 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[place + 9]
        place += 1 if marker == 0xFF else 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 3
