"""Still images: which, in what order, in what form."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import SourceError
from pipeline.core.frame import Frame
from sources.images import ImagesConfig, ImagesSource, find_images, read_image

Draw = Callable[[int, int, int], np.ndarray]


def play(path: str | tuple[str, ...], **config: object) -> tuple[list[Frame], dict[str, int]]:
    source = ImagesSource(ImagesConfig(path=path, **config), source_id="stills", clock=MonotonicClock())
    try:
        info = source.open()
        assert info.is_live is False
        return list(iter(source.read, None)), dict(source.counters)
    finally:
        source.close()


@pytest.fixture
def folder(tmp_path: Path, drawn: Draw) -> Path:
    for i in (0, 1, 2, 10, 11):
        cv2.imwrite(str(tmp_path / f"img{i}.png"), drawn(i, 160, 120))
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*", "img*.png", "**/*.png"])
def test_folder_and_globs_come_in_natural_order(folder: Path, number: Callable, pattern: str) -> None:
    frames, _ = play(str(folder / pattern))
    assert [number(f.image) for f in frames] == [0, 1, 2, 10, 11]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert all(f.pts_s is None for f in frames)


def test_one_file_and_a_list_in_its_own_order(folder: Path, number: Callable) -> None:
    assert [number(f.image) for f in play(str(folder / "img10.png"))[0]] == [10]
    frames, _ = play((str(folder / "img11.png"), str(folder / "img1.png")))
    assert [number(f.image) for f in frames] == [11, 1]


def test_a_folder_with_glob_characters_in_its_name(tmp_path: Path, drawn: Draw) -> None:
    odd = tmp_path / "cam[1] *"
    odd.mkdir()
    cv2.imwrite(str(odd / "a.png"), drawn(1, 160, 120))
    assert len(play(str(odd))[0]) == 1


def test_fps_gives_media_time(folder: Path) -> None:
    frames, _ = play(str(folder), fps=4)
    assert [f.pts_s for f in frames] == [0, 0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff", "ppm"])
def test_formats(tmp_path: Path, drawn: Draw, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    cv2.imwrite(str(path), drawn(5, 160, 120))
    image = read_image(path)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - drawn(5, 160, 120)).mean() < 3


def test_deep_grey_and_transparent_images_become_bgr_bytes(tmp_path: Path, drawn: Draw) -> None:
    image = drawn(3, 160, 120)
    deep, grey, clear = tmp_path / "deep.png", tmp_path / "grey.png", tmp_path / "clear.png"
    cv2.imwrite(str(deep), image.astype(np.uint16) * 257)
    cv2.imwrite(str(grey), image[..., 0])
    cv2.imwrite(str(clear), np.dstack([image, np.zeros(image.shape[:2], np.uint8)]))
    assert np.abs(read_image(deep).astype(int) - image).max() <= 1
    assert np.array_equal(read_image(grey), np.repeat(image[..., :1], 3, axis=2))
    assert np.array_equal(read_image(clear), image)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path: Path, drawn: Draw, orientation: int) -> None:
    upright = drawn(7, 160, 128)
    undo = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(undo[orientation](upright)))[1].tobytes()
    tiff = b"MM\x00\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    exif = b"Exif\x00\x00" + tiff
    path = tmp_path / "phone.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    image = read_image(path)
    assert image.shape == upright.shape
    assert np.abs(image.astype(int) - upright).mean() < 4


def test_a_damaged_image_is_left_out_and_counted(
    folder: Path, number: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "img1.png").write_bytes(b"\x89PNG\r\n\x1a\n but then nothing")
    (folder / "img2.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        frames, counters = play(str(folder), fps=1)
    assert [number(f.image) for f in frames] == [0, 10, 11]
    assert [f.index for f in frames] == [0, 1, 2]
    assert [f.pts_s for f in frames] == [0, 3, 4]
    assert counters == {"corrupt": 2}
    assert "img1.png" in caplog.text
    assert "empty file" in caplog.text


def test_sizes_may_differ(tmp_path: Path, drawn: Draw) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), drawn(0, 160, 120))
    cv2.imwrite(str(tmp_path / "b.png"), drawn(0, 200, 90))
    frames, _ = play(str(tmp_path))
    assert [f.shape_hw for f in frames] == [(120, 160), (90, 200)]


def test_nothing_that_can_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing there"):
        find_images(str(tmp_path / "missing.png"))
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with pytest.raises(SourceError, match="none of the 1 can be read"):
        play(str(tmp_path))
