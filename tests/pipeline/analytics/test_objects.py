from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.analytics.config import SourceRules, StitchConfig
from pipeline.analytics.objects import MOST_IDS, ObjectTable
from pipeline.analytics.view import View

APART = StitchConfig(enabled=False)
HERE, THERE = (300, 300), (900, 300)


@pytest.fixture(scope="module")
def see(make_frame: Callable[..., Any], make_tracks: Callable[..., Any]) -> Callable[..., View]:
    def go(table: ObjectTable, time_s: float, *tracks: Any, **more: Any) -> View:
        return table.see(make_frame(round(time_s * 10), time_s), make_tracks(*(tracks or ([], [])), **more), time_s)

    return go


def test_an_object_keeps_its_slot_until_it_is_forgotten(see: Any) -> None:
    table = ObjectTable(SourceRules(stitch=APART, forget_s=2))
    first = see(table, 0.0, [4, 7], [HERE, THERE])
    assert first.born.tolist() == first.slot.tolist()
    assert (first.gone.tolist(), first.dt_s) == ([], 0.0)
    again = see(table, 1.0, [7], [THERE])
    assert again.slot.tolist() == [first.slot[1]]
    assert (again.born.tolist(), again.gone.tolist(), again.dt_s) == ([], [], 1.0)
    assert see(table, 2.0, [7], [THERE]).gone.tolist() == []
    later = see(table, 2.1, [7], [THERE])
    assert later.gone.tolist() == [first.slot[0]]


def test_what_is_known_of_who_goes_stays_for_that_frame(see: Any) -> None:
    table = ObjectTable(SourceRules(stitch=APART, forget_s=2))
    slot = int(see(table, 1.0, [4], [HERE], class_id=2, predicted=True).slot[0])
    view = see(table, 4.0, [8], [THERE])
    assert view.gone.tolist() == [slot]
    assert view.slot.tolist() != [slot]
    assert table.track_ids(slot) == (4,)
    assert (table.first_s[slot], table.last_s[slot], table.class_id[slot]) == (1.0, 1.0, 2)
    assert table.last_xyxy[slot].tolist() == [280, 220, 320, 300]
    assert table.last_predicted[slot]
    assert see(table, 4.1, [9], [HERE]).slot.tolist() == [slot]
    assert table.track_ids(slot) == (9,)
    assert (table.first_s[slot], table.class_id[slot], table.last_predicted[slot]) == (4.1, 0, False)


def test_of_an_object_with_very_many_ids_the_first_and_the_newest_are_known(see: Any) -> None:
    table = ObjectTable(SourceRules())
    slots = {int(see(table, 0.1 * n, [n + 1], [HERE]).slot[0]) for n in range(3 * MOST_IDS)}
    (slot,) = slots
    newest = range(2 * MOST_IDS + 2, 3 * MOST_IDS + 1)
    assert table.track_ids(slot) == (1, *newest)
    assert len(table.track_ids(slot)) == MOST_IDS


def test_an_id_seen_again_after_it_was_forgotten_is_a_new_object(see: Any) -> None:
    table = ObjectTable(SourceRules(stitch=APART, forget_s=2))
    see(table, 0.0, [4], [HERE])
    view = see(table, 2.5, [4], [HERE])
    assert len(view.born) == len(view.gone) == 1
    assert table.n_by_class == {0: 2}


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([0], [0]),
        ([0, 1], [0, 0]),
        ([0, 1, 1], [0, 0, 1]),
        ([0, 1, 1, 0], [0, 0, 1, 1]),
        ([0, 1, 1, 0, 0], [0, 0, 1, 1, 0]),
        ([2, 5, 7, 5], [2, 2, 2, 5]),
    ],
)
def test_class_is_that_of_most_sightings(sightings: list[int], expected: list[int], see: Any) -> None:
    table = ObjectTable(SourceRules())
    views = [see(table, i / 10, [1, 2], [HERE, THERE], class_id=[c, 3]) for i, c in enumerate(sightings)]
    assert [view.class_id.tolist() for view in views] == [[c, 3] for c in expected]
    # Unique objects are told by their present class.
    assert {c: n for c, n in table.n_by_class.items() if n} == {expected[-1]: 1, 3: 1}


@pytest.mark.parametrize(("anchor", "y"), [("bottom_center", 300), ("center", 260), ("top_center", 220)])
def test_anchor(anchor: str, y: float, see: Any) -> None:
    view = see(ObjectTable(SourceRules(anchor=anchor)), 0.0, [1], [HERE])
    assert view.anchor.tolist() == [[300, y]]


def test_memory_stays_what_the_fullest_moment_needs(see: Any) -> None:
    table = ObjectTable(SourceRules(forget_s=1))
    for i in range(500):
        ids = [2 * i + 1, 2 * i + 2]
        view = see(table, i / 10, ids, [(20 + i, 300), (20 + i, 600)])
    assert view.capacity == 64
    assert len(table._slot_of) == len(table._track_ids) < 30


def test_more_objects_than_room(see: Any) -> None:
    table = ObjectTable(SourceRules(stitch=APART))
    see(table, 0.0, list(range(1, 65)), np.tile(HERE, (64, 1)))
    view = see(table, 0.1, list(range(1, 201)), np.tile(HERE, (200, 1)))
    assert sorted(view.slot.tolist()) == list(range(200))
    assert len(view.born) == 136
    assert view.capacity == 256
    assert [table.track_ids(slot) for slot in view.slot.tolist()] == [(i,) for i in range(1, 201)]


def test_slots_do_not_hang_on_the_order_of_rows(see: Any) -> None:
    one, other = ObjectTable(SourceRules()), ObjectTable(SourceRules())
    a = see(one, 0.0, [5, 3, 9], [HERE, THERE, (600, 600)])
    b = see(other, 0.0, [9, 5, 3], [(600, 600), HERE, THERE])
    assert dict(zip(a.track_id, a.slot, strict=True)) == dict(zip(b.track_id, b.slot, strict=True))


def test_a_frame_without_anybody(see: Any) -> None:
    table = ObjectTable(SourceRules())
    view = see(table, 0.0)
    assert (len(view.slot), view.anchor.shape, view.capacity) == (0, (0, 2), 0)
    see(table, 0.1, [1], [HERE])
    assert len(see(table, 0.2).slot) == 0
