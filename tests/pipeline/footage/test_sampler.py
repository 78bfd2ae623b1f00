"""Which frames are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from pipeline.core.arrays import ImageArray
from pipeline.core.result import FrameResult
from pipeline.footage.sampler import SETTLED_FRAMES, FrameSampler

Result = Callable[..., FrameResult]
Scene = Callable[..., ImageArray]


def _chosen(sampler: FrameSampler, results: Sequence[FrameResult]) -> dict[int, str]:
    why = {r.frame.index: sampler.why(r.frame) for r in results}
    return {index: reason for index, reason in why.items() if reason is not None}


@pytest.mark.parametrize(
    ("every_s", "expected"), [(1.0, [0, 10, 20]), (0.3, list(range(0, 30, 3))), (0.01, list(range(30))), (9.0, [0])]
)
def test_frames_at_equal_steps_of_time(every_s: float, expected: list[int], result: Result, scene: Scene) -> None:
    still = scene(0)
    results = [result(i, still, pts_s=5 + i / 10) for i in range(30)]
    assert list(_chosen(FrameSampler(every_s, False), results)) == expected


def test_a_gap_gives_one_frame_and_keeps_the_beat(result: Result, scene: Scene) -> None:
    times = [0.0, 0.5, 3.2, 3.9, 4.0, 4.1, 5.3, 6.0]
    results = [result(i, scene(0), pts_s=at) for i, at in enumerate(times)]
    assert list(_chosen(FrameSampler(1.0, False), results)) == [0, 2, 4, 6, 7]


def test_without_media_time_every_frame_is_looked_at(result: Result, scene: Scene) -> None:
    results = [result(i, scene(0), pts_s=None) for i in range(4)]
    assert list(_chosen(FrameSampler(1.0, False), results)) == [0, 1, 2, 3]


def test_scenes_are_taken_once_they_have_settled(result: Result, scene: Scene) -> None:
    images = [*[scene(1)] * 10, *[scene(2)] * 12, *[scene(3)] * 8]
    chosen = _chosen(FrameSampler(0, True), [result(i, image) for i, image in enumerate(images)])
    after = SETTLED_FRAMES - 1
    assert chosen == {after: "scene", 10 + after: "scene", 22 + after: "scene"}


def test_scenes_add_to_the_interval(result: Result, scene: Scene) -> None:
    images = [*[scene(1)] * 14, *[scene(2)] * 10]
    chosen = _chosen(FrameSampler(1.0, True), [result(i, image) for i, image in enumerate(images)])
    assert chosen == {0: "interval", 2: "scene", 10: "interval", 16: "scene", 20: "interval"}


def test_steady_motion_is_no_scene(result: Result, scene: Scene) -> None:
    wide = np.concatenate([scene(seed) for seed in range(6)], axis=1)
    images = [np.ascontiguousarray(wide[:, i * 16 : i * 16 + 128]) for i in range(40)]
    chosen = _chosen(FrameSampler(0, True), [result(i, image) for i, image in enumerate(images)])
    assert len(chosen) <= 2


def test_each_still_image_is_a_scene_of_its_own(result: Result, scene: Scene) -> None:
    results = [result(i, scene(i), pts_s=None) for i in range(4)]
    assert _chosen(FrameSampler(0, True), results) == dict.fromkeys(range(4), "scene")
