"""Looking at images: what they are, whether they are whole, and remembering it."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.data import image_scan
from detector.data.image_scan import ImageFacts, cache_file, look_at, scan
from detector.data.report import Kind

RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 255, (30, 50, 3), np.uint8)
ALPHA = RNG.integers(0, 255, (30, 50, 4), np.uint8)


def write(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.mark.parametrize(
    ("name", "pixels", "converted"),
    [
        ("a.jpg", COLOUR, ""),
        ("a.png", COLOUR, ""),
        ("a.bmp", COLOUR, ""),
        ("a.webp", COLOUR, ""),
        ("a.tif", COLOUR, ""),
        ("a.jpg", COLOUR[:, :, 0], "1 channel"),
        ("a.png", COLOUR[:, :, 0], "1 channel"),
        ("a.png", ALPHA, "alpha"),
        ("a.png", ALPHA.astype(np.uint16) * 257, "16-bit, alpha"),
        ("a.png", COLOUR.astype(np.uint16) * 257, "16-bit"),
        ("a.png", COLOUR[:, :, 0].astype(np.uint16), "16-bit, 1 channel"),
        ("a.tif", COLOUR.astype(np.uint16) * 257, "16-bit"),
        ("a.webp", ALPHA, "alpha"),
    ],
)
def test_what_an_image_is(tmp_path: Path, name: str, pixels: np.ndarray, converted: str) -> None:
    assert look_at(write(tmp_path / name, pixels)) == ImageFacts(30, 50, converted)


def test_a_palette(tmp_path: Path) -> None:
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + bytes([0, 1]) * 25 for _ in range(30)))
    head = struct.pack(">IIBBBBB", 50, 30, 8, 3, 0, 0, 0)
    parts = (
        chunk(b"IHDR", head),
        chunk(b"PLTE", bytes([255, 0, 0, 0, 0, 255])),
        chunk(b"IDAT", rows),
        chunk(b"IEND", b""),
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert look_at(tmp_path / "a.png") == ImageFacts(30, 50, "palette")


def with_exif(jpeg: bytes, orientation: int, thumbnail: bytes = b"") -> bytes:
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff + thumbnail
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize(("orientation", "shape"), [(1, (30, 50)), (3, (30, 50)), (6, (50, 30)), (8, (50, 30))])
def test_the_shape_is_that_of_the_upright_picture(tmp_path: Path, orientation: int, shape: tuple[int, int]) -> None:
    path = write(tmp_path / "a.jpg", COLOUR)
    path.write_bytes(with_exif(path.read_bytes(), orientation))
    facts = look_at(path)
    assert (facts.height, facts.width) == shape == cv2.imread(str(path)).shape[:2]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("keep", [0.999, 0.6, 0.2])
def test_a_file_that_was_cut_is_found(tmp_path: Path, suffix: str, keep: float) -> None:
    path = write(tmp_path / f"a{suffix}", COLOUR)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    expected = Kind.TRUNCATED_IMAGE if suffix in (".jpg", ".png", ".webp") else Kind.UNREADABLE_IMAGE
    assert look_at(path).fault == expected


def test_a_cut_file_whose_thumbnail_is_whole_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jpg", COLOUR)
    jpeg = path.read_bytes()
    whole = with_exif(jpeg, 1, thumbnail=write(tmp_path / "small.jpg", COLOUR[:8, :8]).read_bytes())
    path.write_bytes(whole)
    assert look_at(path).fault == ""
    path.write_bytes(whole[:-20])
    assert look_at(path).fault == Kind.TRUNCATED_IMAGE


def test_bytes_behind_the_end_do_not_matter(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png"):
        path = write(tmp_path / name, COLOUR)
        path.write_bytes(path.read_bytes() + b"\0" * 64)
        assert look_at(path).fault == ""


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"])
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    facts = look_at(tmp_path / "a.jpg")
    assert facts.fault in (Kind.UNREADABLE_IMAGE, Kind.TRUNCATED_IMAGE)
    assert facts.fault_text
    assert (facts.height, facts.width) == (0, 0)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert look_at(tmp_path / "a.jpg").fault == Kind.MISSING_IMAGE
    assert look_at(tmp_path).fault == Kind.UNREADABLE_IMAGE


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{number}.jpg", COLOUR) for number in range(5)]


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that were really looked at."""
    seen: list[Path] = []

    def look(path: Path) -> ImageFacts:
        seen.append(path)
        return look_at(path)

    monkeypatch.setattr(image_scan, "look_at", look)
    return seen


def test_what_has_not_changed_is_not_looked_at_again(tmp_path: Path, images: list[Path], looked: list[Path]) -> None:
    cache = tmp_path / "cache" / "x.json"
    first = scan([*images, images[0]], workers=2, cache=cache)
    assert sorted(looked) == images
    looked.clear()
    assert scan([*images, images[0]], workers=2, cache=cache) == first
    assert looked == []
    os.utime(images[1], ns=(1, 1))
    images[2].write_bytes(images[2].read_bytes()[:-9])
    images[3].unlink()
    facts = scan(images, workers=1, cache=cache)
    assert sorted(looked) == images[1:4]
    assert [fact.fault for fact in facts] == ["", "", Kind.TRUNCATED_IMAGE, Kind.MISSING_IMAGE, ""]
    looked.clear()
    assert scan(images, workers=1, cache=cache) == facts
    assert looked == [images[3]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: '{"format": 3}',
        lambda text: text.replace(":[", ":[[],"),
        lambda text: text.replace(",30,50,", ',"x",50,'),
        lambda text: text.replace('"",""', '"a fault","",3'),
        lambda text: "\udcff",
    ],
)
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, images: list[Path], damage: object, looked: list[Path]) -> None:
    cache = tmp_path / "x.json"
    first = scan(images, workers=1, cache=cache)
    whole = cache.read_text()
    cache.write_text(damage(whole), errors="surrogateescape")  # type: ignore[operator]
    looked.clear()
    assert scan(images, workers=1, cache=cache) == first
    assert sorted(looked) == images
    assert json.loads(cache.read_text()) == json.loads(whole)
    assert not list(tmp_path.glob(".scan-*"))


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, images: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    scan(images, workers=1, cache=tmp_path / "file" / "x.json")
    assert "the scan cannot be remembered" in caplog.text


def test_the_cache_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACKLIGHT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    train, val = (cache_file(Path("data.yaml"), split) for split in ("train", "val"))
    assert train != val
    assert train.parent == val.parent == tmp_path / "tracklight" / "scans"
