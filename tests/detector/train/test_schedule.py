"""Learning rate, momentum and accumulation by step."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from detector.train.schedule import Schedule, Warmup, one_cycle, settings_at


@pytest.fixture(scope="module")
def golden(golden_dir: Path) -> dict[str, Any]:
    return dict(json.loads((golden_dir / "train" / "prepost_train.json").read_text()))


@pytest.mark.parametrize(("ratio", "epochs"), [(0.1, 300), (0.2, 300), (0.01, 30)])
@pytest.mark.parametrize(("short", "shape"), [("cos", "cosine"), ("lin", "linear")])
def test_rates_equal_the_reference(golden: dict[str, Any], ratio: float, epochs: int, short: str, shape: Any) -> None:
    wanted = golden["lr_schedule"][f"{short}_lrf{ratio}_ep{epochs}"]
    step = epochs // 30
    found = [one_cycle(number * step, epochs, ratio, shape) for number in range(len(wanted))]
    assert found == pytest.approx(wanted, abs=1e-12)


def test_warmup_equals_the_reference(golden: dict[str, Any]) -> None:
    for row in golden["warmup"]:
        schedule = Schedule(lr=0.01, final_ratio=0.1, momentum=0.937)
        assert row["ni"] // row["nb"] == row["epoch"]
        assert schedule.warmup.steps(row["nb"]) == row["nw"]
        found = settings_at(
            row["ni"], schedule, epochs=row["epochs"], steps_per_epoch=row["nb"], batch_size=row["batch"]
        )
        wanted = (row["lr_bias_group"], row["lr_other"], row["momentum"], row["accumulate"])
        assert found == pytest.approx(wanted, rel=1e-12, abs=1e-15)
        assert isinstance(found.accumulate, int)


def test_least_warmup_can_be_lowered_for_small_sets() -> None:
    assert Warmup(min_steps=100).steps(10) == 100
    assert Warmup(min_steps=0).steps(10) == 30
    assert Warmup(epochs=0).steps(10) == 0


def test_without_warmup_the_first_step_has_the_full_rate() -> None:
    schedule = Schedule(lr=0.02, warmup=Warmup(epochs=0))
    found = settings_at(0, schedule, epochs=10, steps_per_epoch=5, batch_size=8)
    assert found == (0.02, 0.02, 0.937, 8)


@pytest.mark.parametrize("shape", ["cosine", "linear"])
def test_one_epoch_is_possible(shape: Any) -> None:
    assert one_cycle(0, 1, 0.1, shape) == 1


@pytest.mark.parametrize(
    "wrong", [{"lr": 0}, {"final_ratio": 0}, {"shape": "step"}, {"momentum": 1.0}, {"nominal_batch": 0}, {"lrf": 0.1}]
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Schedule(**wrong)


@given(
    step=st.integers(0, 5000),
    epochs=st.integers(1, 50),
    steps_per_epoch=st.integers(1, 100),
    batch_size=st.integers(1, 256),
    warmup=st.builds(Warmup, epochs=st.floats(0, 5), min_steps=st.integers(0, 1000)),
    shape=st.sampled_from(["cosine", "linear"]),
)
def test_settings_stay_within_their_bounds(
    step: int, epochs: int, steps_per_epoch: int, batch_size: int, warmup: Warmup, shape: Any
) -> None:
    schedule = Schedule(warmup=warmup, shape=shape)
    step %= epochs * steps_per_epoch
    found = settings_at(step, schedule, epochs=epochs, steps_per_epoch=steps_per_epoch, batch_size=batch_size)
    slack = 1 + 1e-9
    assert 0 <= found.lr_other <= schedule.lr * slack
    assert found.lr_other <= found.lr_bias * slack
    assert found.lr_bias <= max(warmup.bias_lr, schedule.lr) * slack
    assert warmup.momentum <= found.momentum * slack
    assert found.momentum <= schedule.momentum * slack
    assert 1 <= found.accumulate <= max(1, round(schedule.nominal_batch / batch_size))


@given(ratio=st.floats(0.001, 1), epochs=st.integers(2, 500), shape=st.sampled_from(["cosine", "linear"]))
def test_rate_never_rises(ratio: float, epochs: int, shape: Any) -> None:
    rates = [one_cycle(epoch, epochs, ratio, shape) for epoch in range(epochs)]
    assert rates[0] == 1
    assert all(a >= b - 1e-12 for a, b in pairwise(rates))
    assert rates[-1] >= ratio - 1e-12
