from __future__ import annotations

import logging

import numpy as np
import pytest

from sinks.mosaic import Mosaic
from sinks.picture_size import PictureSize, letterbox


@pytest.mark.parametrize(("hw", "even_hw"), [((4, 6), (4, 6)), ((5, 6), (6, 6)), ((5, 7), (6, 8)), ((1, 1), (2, 2))])
def test_odd_sides_repeat_their_last_row_and_column(hw: tuple[int, int], even_hw: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*hw, 3), np.uint8)
    size = PictureSize(hw, "out.mp4")
    got = size.fit(image)
    assert (size.height_px, size.width_px) == got.shape[:2] == even_hw
    assert np.array_equal(got[: hw[0], : hw[1]], image)
    assert np.array_equal(got[-1, : hw[1]], image[-1])
    assert np.array_equal(got[: hw[0], -1], image[:, -1])


def test_another_size_is_letterboxed_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    size = PictureSize((40, 80), "out.mp4")
    with caplog.at_level(logging.WARNING):
        got = [size.fit(np.full((100, 100, 3), 200, np.uint8)) for _ in range(3)][-1]
    assert got.shape == (40, 80, 3)
    assert (got[:, 20:60] == 200).all()
    assert not got[:, :20].any()
    assert not got[:, 60:].any()
    assert [record.message for record in caplog.records] == [
        "out.mp4: the picture changed from 80x40 to 100x100; it is scaled into the first size"
    ]


@pytest.mark.parametrize("hw", [(1, 1000), (1000, 1), (3, 3), (2160, 3840)])
def test_letterbox_takes_any_proportions(hw: tuple[int, int]) -> None:
    got = letterbox(np.full((*hw, 3), 255, np.uint8), (36, 64))
    assert got.shape == (36, 64, 3)
    assert got.any()


def test_one_source_is_shown_as_it_is() -> None:
    mosaic = Mosaic((90, 160))
    mosaic.add("a")
    image = np.zeros((10, 20, 3), np.uint8)
    assert mosaic.update("a", image) is image


def test_sources_share_the_window_in_a_grid() -> None:
    mosaic = Mosaic((200, 400))
    for name in "abc":
        mosaic.add(name)
    for value, name in enumerate("abc", start=1):
        grid = mosaic.update(name, np.full((100, 200, 3), 50 * value, np.uint8))
    assert grid.shape == (200, 400, 3)
    centres = [int(grid[y, x, 0]) for y, x in ((60, 100), (60, 300), (160, 100), (160, 300))]
    assert centres == [50, 100, 150, 0]
    grid = mosaic.update("b", np.full((100, 200, 3), 222, np.uint8))
    assert int(grid[60, 300, 0]) == 222
    assert int(grid[60, 100, 0]) == 50
