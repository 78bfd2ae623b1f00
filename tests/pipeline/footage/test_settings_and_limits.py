"""Settings that cannot work, and sources that end early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from pipeline.config.validate import validated
from pipeline.core.errors import ConfigError
from pipeline.core.frame import Frame, StreamInfo
from pipeline.core.protocols import Source
from pipeline.core.result import FrameResult
from pipeline.footage.limited_source import LimitedSource
from pipeline.footage.settings import FootageSettings


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"every_s": 0}, "no picture would be taken"),
        ({"every_s": -1}, "every_s"),
        ({"conf": 0.3, "unsure": 0.4}, "unsure <= conf"),
        ({"split": (0.8, 0.3)}, "make 1"),
        ({"split": (1.2, -0.2)}, "above 0"),
        ({"split": ()}, "split"),
        ({"min_difference": 1.5}, "min_difference"),
        ({"max_per_source": 0}, "max_per_source"),
        ({"duration_s": 0}, "duration_s"),
    ],
)
def test_settings_that_cannot_work_are_told(values: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        validated(FootageSettings, values, "from-video")


def test_shares_have_names() -> None:
    assert FootageSettings(split=(0.7, 0.2, 0.1)).shares == {"train": 0.7, "val": 0.2, "test": 0.1}
    assert FootageSettings(split=(1.0,)).shares == {"train": 1.0}


class _Listed:
    source_id = "listed"
    counters: Mapping[str, int] = {"corrupt": 1}

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self.calls: list[str] = []

    def open(self) -> StreamInfo:
        return StreamInfo("listed", 128, 96, None, False, None)

    def read(self) -> Frame | None:
        return self._frames.pop(0) if self._frames else None

    def interrupt(self) -> None:
        self.calls.append("interrupt")

    def close(self) -> None:
        self.calls.append("close")


@pytest.mark.parametrize(("duration_s", "expected"), [(0.5, 5), (None, 10), (100.0, 10)])
def test_a_source_ends_after_its_duration(
    duration_s: float | None, expected: int, result: Callable[..., FrameResult]
) -> None:
    source = LimitedSource(_Listed([result(i, pts_s=7 + i / 10).frame for i in range(10)]), duration_s)
    assert isinstance(source, Source)
    source.open()
    n = 0
    while source.read() is not None:
        n += 1
    assert n == expected


def test_without_media_time_the_clock_counts(result: Callable[..., FrameResult]) -> None:
    inner = _Listed([result(i, pts_s=None).frame for i in range(3)])
    source = LimitedSource(inner, 0.1)
    assert sum(source.read() is not None for _ in range(3)) == 3
    source.interrupt()
    source.close()
    assert inner.calls == ["interrupt", "close"]
    assert (source.source_id, source.counters) == ("listed", {"corrupt": 1})
