"""Dividing pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data.split import BLOCK_PICTURES, parse_parts, split_in_time, split_stratified
from pipeline.core.errors import UsageError


def test_parts_are_read_in_their_order() -> None:
    assert list(parse_parts("train=0.7, val=0.2,test=0.1").items()) == [("train", 0.7), ("val", 0.2), ("test", 0.1)]
    assert parse_parts("all=1") == {"all": 1.0}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train", "wanted name=share"),
        ("train=a", "wanted name=share"),
        ("train=0.8", "make 1 together"),
        ("train=1.2,val=-0.2", "above 0"),
        ("a=0.5,a=0.5", "once"),
        ("=1", "plain name"),
        ("../a=1", "plain name"),
        ("a=nan,b=0.5", "make 1"),
    ],
)
def test_parts_that_cannot_be_are_refused(text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        parse_parts(text)


def test_every_class_and_the_pictures_are_divided_by_the_shares() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(1000)
    counts = np.stack([rng.poisson(rate, 1000) for rate in (3.0, 0.5, 0.02, 0.0)], axis=1)
    parts = split_stratified(groups, counts, (0.7, 0.2, 0.1))
    for part, share in enumerate((0.7, 0.2, 0.1)):
        chosen = parts == part
        assert chosen.mean() == pytest.approx(share, abs=0.03)
        for column in range(3):
            total = counts[:, column].sum()
            assert counts[chosen, column].sum() == pytest.approx(share * total, abs=max(1.5, 0.03 * total))


def test_the_seed_decides_among_equals() -> None:
    groups, counts = np.arange(50), np.ones((50, 1), np.int64)
    first = split_stratified(groups, counts, (0.8, 0.2), seed=0)
    assert (first == split_stratified(groups, counts, (0.8, 0.2), seed=0)).all()
    assert (first != split_stratified(groups, counts, (0.8, 0.2), seed=1)).any()
    assert (first == 1).sum() == 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.integers(0, 10))
def test_groups_stay_together(groups: list[int], seed: int) -> None:
    counts = np.random.default_rng(seed).integers(0, 3, (len(groups), 2))
    parts = split_stratified(np.array(groups), counts, (0.6, 0.4), seed)
    in_time = split_in_time(["a"] * len(groups), np.array(groups), (0.6, 0.4))
    for found in (parts, in_time):
        assert found.shape == (len(groups),)
        assert set(found.tolist()) <= {0, 1}
        for group in set(groups):
            assert len({part for part, own in zip(found.tolist(), groups, strict=True) if own == group}) == 1


def test_a_recording_is_cut_into_stretches_of_time() -> None:
    parts = split_in_time(["a"] * 20, np.arange(20), (0.8, 0.2))
    assert parts.tolist() == [0] * 16 + [1] * 4
    three = split_in_time(["a"] * 20, np.arange(20), (0.7, 0.2, 0.1))
    assert three.tolist() == [0] * 14 + [1] * 4 + [2] * 2


def test_a_long_recording_is_validated_at_all_times() -> None:
    n = 4 * BLOCK_PICTURES
    parts = split_in_time(["a"] * n, np.arange(n), (0.8, 0.2))
    assert parts.sum() == n * 0.2
    assert np.count_nonzero(np.diff(parts)) == 7
    assert all(parts[start : start + BLOCK_PICTURES].sum() == 10 for start in range(0, n, BLOCK_PICTURES))


def test_short_recordings_go_whole_and_make_up_the_shares() -> None:
    names = [name for number in range(50) for name in [f"clip{number}"] * 2]
    parts = split_in_time(names, np.arange(100), (0.8, 0.2)).reshape(50, 2)
    assert (parts[:, 0] == parts[:, 1]).all()
    assert parts[:, 0].sum() == pytest.approx(10, abs=1)


def test_look_alikes_of_two_recordings_follow_the_majority() -> None:
    groups = np.arange(20)
    groups[[0, 1, 19]] = 0
    parts = split_in_time(["a"] * 10 + ["b"] * 10, groups, (0.8, 0.2))
    assert parts.tolist() == [0] * 8 + [1, 1] + [0] * 8 + [1, 0]
