from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.analytics.analyst import RuleAnalyst
from pipeline.analytics.config import LineConfig, SourceRules, StitchConfig
from pipeline.analytics.objects import ObjectTable

FPS = 30.0
Sighting = tuple[int, tuple[float, float]]


@pytest.fixture(scope="module")
def objects(make_frame: Callable[..., Any], make_tracks: Callable[..., Any]) -> Callable[..., list[tuple[int, ...]]]:
    """The ids of each object, of tracks given frame by frame as (id, bottom centre)."""

    def go(frames: list[list[Sighting]], *, classes: dict[int, int] | None = None, **stitch: Any) -> Any:
        table = ObjectTable(SourceRules(stitch=StitchConfig(**stitch)))
        slots: set[int] = set()
        for index, seen in enumerate(frames):
            ids = [number for number, _ in seen]
            of = [(classes or {}).get(number, 0) for number in ids]
            tracks = make_tracks(ids, [place for _, place in seen], of or 0)
            slots.update(table.see(make_frame(index, index / FPS), tracks, index / FPS).slot.tolist())
        return sorted(table.track_ids(slot) for slot in slots)

    return go


def still(number: int, x: float, n: int) -> list[list[Sighting]]:
    return [[(number, (x, 300))]] * n


def walking(number: int, first: int, n: int, px_per_frame: float = 8, y: float = 300) -> list[list[Sighting]]:
    return [[(number, (100 + px_per_frame * i, y))] for i in range(first, first + n)]


def nobody(n: int) -> list[list[Sighting]]:
    return [[]] * n


def together(*paths: list[list[Sighting]]) -> list[list[Sighting]]:
    return [[seen for frame in frames for seen in frame] for frames in zip(*paths, strict=True)]


CASES: dict[str, tuple[list[list[Sighting]], list[tuple[int, ...]]]] = {
    "at once": (still(1, 300, 10) + still(2, 300, 5), [(1, 2)]),
    "after a short gap": (still(1, 300, 10) + nobody(10) + still(2, 300, 5), [(1, 2)]),
    "after too long a gap": (still(1, 300, 10) + nobody(31) + still(2, 300, 5), [(1,), (2,)]),
    "beside": (still(1, 300, 10) + still(2, 345, 5), [(1,), (2,)]),
    "a little aside, at once": (still(1, 300, 10) + still(2, 330, 5), [(1, 2)]),
    "a little aside, later": (still(1, 300, 10) + nobody(20) + still(2, 330, 5), [(1,), (2,)]),
    "walked on": (walking(1, 0, 10) + nobody(20) + walking(2, 30, 5), [(1, 2)]),
    "stopped while unseen": (walking(1, 0, 10) + nobody(5) + [[(2, (172, 300))]] * 5, [(1, 2)]),
    "still in view": (together(still(1, 300, 10), nobody(5) + still(2, 302, 5)), [(1,), (2,)]),
    "thrice": (still(1, 300, 5) + still(2, 300, 5) + still(3, 300, 5), [(1, 2, 3)]),
    "the first id again": (still(1, 300, 5) + still(2, 300, 5) + still(1, 300, 5), [(1, 2)]),
    "the first id elsewhere": (
        [*still(1, 300, 5), *still(2, 300, 5), *together(still(2, 300, 5), still(1, 800, 5))],
        [(1,), (1, 2)],
    ),
    "two that pass each other": (
        together(walking(1, 0, 15), [[(2, (580 - 8 * i, 300))] for i in range(15)])
        + nobody(25)
        + together(walking(3, 40, 5), [[(4, (580 - 8 * i, 300))] for i in range(40, 45)]),
        [(1, 3), (2, 4)],
    ),
    "one for two": (
        [*together(still(1, 300, 5), still(2, 308, 5)), [(3, (306, 300))]],
        [(1,), (2, 3)],
    ),
    "two for one": ([*still(1, 300, 5), [(2, (310, 300)), (3, (302, 300))]], [(1, 3), (2,)]),
}


@pytest.mark.parametrize(("frames", "expected"), CASES.values(), ids=CASES.keys())
def test_who_goes_on_for_whom(frames: Any, expected: Any, objects: Any) -> None:
    assert objects(frames) == expected


def test_another_class_is_another_object(objects: Any) -> None:
    frames = still(1, 300, 5) + still(2, 300, 5)
    assert objects(frames, classes={2: 1}) == [(1,), (2,)]
    assert objects(frames, classes={1: 1, 2: 1}) == [(1, 2)]


def test_another_size_is_another_object(make_frame: Callable[..., Any], make_tracks: Callable[..., Any]) -> None:
    table = ObjectTable(SourceRules())
    slots = []
    for index, box in enumerate([[300, 200, 340, 280], [300, 190, 345, 280], [280, 80, 380, 280]]):
        view = table.see(make_frame(index, index / FPS), make_tracks([index + 1], [box]), index / FPS)
        slots.append(int(view.slot[0]))
    assert slots[0] == slots[1] != slots[2]
    assert table.track_ids(slots[0]) == (1, 2)


def test_switched_off(objects: Any) -> None:
    assert objects(still(1, 300, 5) + still(2, 300, 5), enabled=False) == [(1,), (2,)]


def test_settings(objects: Any) -> None:
    late = still(1, 300, 10) + nobody(40) + still(2, 300, 5)
    assert objects(late) == [(1,), (2,)]
    assert objects(late, gap_s=2) == [(1, 2)]
    aside = still(1, 300, 10) + nobody(20) + still(2, 320, 5)
    assert objects(aside) == [(1,), (2,)]
    assert objects(aside, min_iou=0.3) == [(1, 2)]


def test_a_crossing_in_two_tracks_is_one_with_both_ids(
    make_frame: Callable[..., Any], make_info: Callable[..., Any], make_tracks: Callable[..., Any]
) -> None:
    line = LineConfig(name="line", points=((0, 360), (1280, 360)))
    analyst = RuleAnalyst(SourceRules(units="px", lines=(line,)), make_info(fps=FPS), ("person",))
    events = []
    # Walks down 4 px per frame; the tracker loses it at the line, and calls it 2 once it finds it again.
    for index in range(60):
        y = 250 + 4 * index
        seen = [] if 25 <= index < 32 else [1 if index < 25 else 2]
        told, scene = analyst.update(make_frame(index, index / FPS), make_tracks(seen, [(640, y)] * len(seen)))
        events += told
    assert scene.crossings.tolist() == [[1, 0]]
    assert scene.n_objects == {"person": 1}
    (crossing,) = (event for event in events if event.rule == "line")
    assert crossing.track_ids == (1, 2)
    assert crossing.start_s == pytest.approx(27.5 / FPS)
    (end,) = analyst.finish().events
    assert (end.track_ids, end.phase) == ((1, 2), "end")
    assert end.event_id == events[0].event_id


def test_unique_objects_of_broken_tracks(sequence: str, mot17: Callable[..., Any]) -> None:
    """MOT17's own number of people, within a sixth, from tracks that break four times per person and more.

    Most of the difference is people whom the ground truth itself gives a new id while they are hidden for a moment.
    """

    def n_objects(rules: SourceRules, **how: Any) -> int:
        footage = mot17(sequence, **how)
        analyst = RuleAnalyst(rules, footage.info, ("person",))
        for frame, tracks in footage:
            _, scene = analyst.update(frame, tracks)
        return int(scene.n_objects["person"])

    people = len(np.unique(np.concatenate([tracks.track_id for _, tracks in mot17(sequence)])))
    broken = n_objects(SourceRules(stitch=StitchConfig(enabled=False)), drop=0.1, break_ids=True)
    assert broken > 5 * people
    assert n_objects(SourceRules(), drop=0.1, break_ids=True) == pytest.approx(people, rel=0.16)
