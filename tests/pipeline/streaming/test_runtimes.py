from __future__ import annotations

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import ShapeError, UsageError
from pipeline.streaming.runtimes import Runtimes


def test_draws_are_samples_and_repeat_with_the_seed() -> None:
    runtimes = Runtimes(np.array([3, 5, 8]), "three")
    first = list(islice(runtimes.draws(1), 3000))
    assert set(first) == {3, 5, 8}
    assert all(type(draw) is int for draw in first)
    assert first == list(islice(runtimes.draws(1), 3000))
    assert first != list(islice(runtimes.draws(2), 3000))
    assert np.mean(first) == pytest.approx(runtimes.mean_ns, rel=0.03)


def test_the_mean_is_exact() -> None:
    runtimes = Runtimes(np.array([1, 1, 2]), "thirds")
    assert runtimes.exact_mean_ns == Fraction(4, 3)
    assert runtimes.mean_ns == 4 / 3


def test_a_device_that_is_so_many_times_as_slow() -> None:
    assert Runtimes(np.array([10, 15]), "net").scaled(Fraction(2, 3)).samples_ns.tolist() == [7, 10]
    assert Runtimes(np.array([10, 15]), "net").scaled(2).name == "net x 2"


def test_always_the_same() -> None:
    assert Runtimes.constant(33.4).samples_ns.tolist() == [33_400_000]
    assert Runtimes.constant(33.4).name == "33.4 ms"


def test_saved_and_loaded(tmp_path: Path) -> None:
    Runtimes(np.array([7, 2**60]), "größer").save(tmp_path / "runtimes.json")
    loaded = Runtimes.load(tmp_path / "runtimes.json")
    assert (loaded.samples_ns.tolist(), loaded.name) == ([7, 2**60], "größer")


@pytest.mark.parametrize("samples", [[], [1, 0], [5, -1]])
def test_refused(samples: list[int]) -> None:
    with pytest.raises(UsageError, match="runtimes of net: wanted"):
        Runtimes(np.array(samples, np.int64), "net")


def test_refused_as_floats() -> None:
    with pytest.raises(ShapeError, match="int64"):
        Runtimes(np.array([0.03]), "net")


@pytest.mark.parametrize("factor", [0, -1.5])
def test_a_factor_has_to_leave_time(factor: float) -> None:
    with pytest.raises(UsageError, match="above 0"):
        Runtimes.constant(10).scaled(factor)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, "found none"),
        ("{", "found none"),
        ("[]", "found none"),
        ('{"name": "net"}', "samples_ns"),
        ('{"name": "net", "samples_ns": [0.01]}', "whole numbers"),
        ('{"name": "net", "samples_ns": 5}', "whole numbers"),
        ('{"name": 7, "samples_ns": [5]}', "name as text"),
        ('{"name": "net", "samples_ns": [-5]}', "above 0"),
    ],
)
def test_files_that_are_not_runtimes(tmp_path: Path, text: str | None, found: str) -> None:
    path = tmp_path / "runtimes.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=found):
        Runtimes.load(path)
