"""How far an archive is, told in frames."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.archive.account import Account
from pipeline.archive.done import Done
from pipeline.archive.find import FoundVideo
from pipeline.archive.job import Advanced, Begun, Outcome
from pipeline.cli.archive_progress import summary


class Watch:
    now = 100.0

    def __call__(self) -> float:
        return self.now


VIDEOS = (FoundVideo("long.mp4", 8000, 1), FoundVideo("short.mp4", 1000, 1), FoundVideo("other.mp4", 1000, 1))


def test_time_left_goes_by_frames(make_done: Callable[..., Done]) -> None:
    watch = Watch()
    account = Account(VIDEOS, {}, now=watch)
    before = account.progress()
    assert (before.n_frames_expected, before.left_s, before.frames_per_s) == (None, None, 0.0)
    watch.now = 110.0
    account.hear(Begun("long.mp4", 800))
    account.hear(Begun("short.mp4", 100))
    watch.now = 120.0
    account.hear(Advanced("long.mp4", 100))
    account.finish(make_done("short.mp4", n_frames=100))
    progress = account.progress()
    # 1000 bytes of the third are 100 frames, as in the others; 20 frames/s since the first video was opened.
    assert (progress.n_frames, progress.n_frames_expected) == (200, 1000)
    assert progress.frames_per_s == pytest.approx(20.0)
    assert progress.left_s == pytest.approx(40.0)
    assert dict(progress.running) == {"long.mp4": 100}
    assert summary(progress) == "1/3 videos, 200/~1000 frames, 20.0 frames/s, 0:00:40 left"


def test_what_was_done_before_counts_for_no_pace(make_done: Callable[..., Done]) -> None:
    watch = Watch()
    account = Account(VIDEOS, {"long.mp4": make_done("long.mp4", n_frames=800)}, now=watch)
    assert account.progress().n_frames_expected == 1000
    watch.now = 110.0
    account.hear(Begun("short.mp4", None))
    watch.now = 120.0
    account.hear(Advanced("short.mp4", 50))
    progress = account.progress()
    assert progress.frames_per_s == pytest.approx(5.0)
    assert progress.left_s == pytest.approx(30.0)


def test_videos_that_are_given_up_leave_no_frames(make_done: Callable[..., Done]) -> None:
    account = Account(VIDEOS, {}, now=Watch())
    account.hear(Begun("long.mp4", 800))
    account.hear(Advanced("long.mp4", 300))
    account.hear(Outcome("long.mp4", "failed", reason="no memory"))
    account.hear(Outcome("short.mp4", "corrupt", reason="no video"))
    account.hear(Outcome("other.mp4", "stopped"))
    progress = account.progress()
    assert (progress.n_given_up, progress.n_frames, progress.n_frames_expected) == (2, 0, 0)
    assert dict(progress.running) == {}


def test_a_second_try_begins_from_nothing() -> None:
    account = Account(VIDEOS, {}, now=Watch())
    for n_frames in (300, 20):
        account.hear(Begun("long.mp4", 800))
        account.hear(Advanced("long.mp4", n_frames))
    assert account.progress().n_frames == 20


def test_a_limit_of_frames_bounds_the_estimate() -> None:
    account = Account(VIDEOS, {}, most=60, now=Watch())
    account.hear(Begun("short.mp4", 60))
    assert account.progress().n_frames_expected == 180
