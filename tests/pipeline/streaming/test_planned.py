from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from pipeline.streaming.boxes import Boxes
from pipeline.streaming.matching import match
from pipeline.streaming.planned import Plan, Planned
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree, Scheduler, ShrinkingTail
from pipeline.streaming.simulate import outputs, simulate
from pipeline.streaming.stream import Stream

LONG = Stream("long", Fraction(30), 1000, 640, 480)


def mean_staleness(scheduler: Scheduler, runtimes: Runtimes, seed: int) -> float:
    scheduler.begin(LONG, runtimes)
    runs = simulate(LONG, scheduler, runtimes.draws(seed))
    return match(outputs(runs, lambda _: Boxes.empty()), LONG).mean_staleness


def best_by_value_iteration(runtimes: list[float], parts: int) -> float:
    """Smallest long-run mean staleness, found another way: on a lattice, state by state.

    Runtimes are whole numbers of 1/parts of a frame. A state is (part of the interval, age of what stands).
    """
    ticks = [round(runtime * parts) for runtime in runtimes]
    ages = max(ticks) // parts + 6
    value = np.zeros((parts, ages + 1))
    for _ in range(4000):
        new = np.zeros_like(value)
        for part in range(parts):
            for age in range(1, ages + 1):
                choices = [_per_frame(value, part, age, [_run(age, *divmod(part + tick, parts)) for tick in ticks])]
                if age < ages:
                    choices.append(_per_frame(value, part, age, [(1, 0, age + 1, age + 1.0)]))
                new[part, age] = min(choices)
        change = (new - value)[:, 1:]
        value = new - new[0, 1]
        if change.max() - change.min() < 1e-6:
            return float(change.mean())
    raise AssertionError("value iteration did not settle")


def _run(age: int, passed: int, end: int) -> tuple[int, int, int, float]:
    """Frames that a run and a wait after it last, the state that they leave, and the staleness summed over them."""
    if passed == 0:
        return 1, 0, 1, 1.0
    answered_itself = age if end == 0 else 0
    return passed, end, passed, sum(age + i for i in range(1, passed + 1)) - answered_itself


def _per_frame(value: np.ndarray, part: int, age: int, steps: list[tuple[int, int, int, float]]) -> float:
    """Steps of different lengths made one length by staying put at times (Schweitzer's transformation)."""
    duration = np.mean([frames for frames, _, _, _ in steps])
    cost = np.mean([cost for _, _, _, cost in steps])
    after = np.mean([value[end, new_age] for _, end, new_age, _ in steps])
    share = 0.5 / duration
    return float(cost / duration + share * after + (1 - share) * value[part, age])


@pytest.mark.parametrize(
    ("runtimes", "parts"),
    [
        ([1.5], 2),
        ([3.0], 1),
        ([1.2], 5),
        ([0.4, 2.8], 10),
        ([0.6, 0.6, 0.6, 3.4], 5),
        ([1.2, 1.3, 1.6, 2.9], 10),
    ],
)
def test_reaches_what_value_iteration_finds(runtimes: list[float], parts: int) -> None:
    # 60 phases are a multiple of every lattice here: nothing is interpolated.
    assert Plan(np.array(runtimes)).mean_staleness == pytest.approx(best_by_value_iteration(runtimes, parts), abs=2e-5)


def bimodal(mean_ms: float) -> Runtimes:
    generator = np.random.default_rng(1)
    modes = np.where(np.arange(1000) % 4 == 0, 2.2, 0.6) * generator.normal(1, 0.02, 1000)
    return Runtimes((modes * mean_ms * 1e6).astype(np.int64), "bimodal")


def heavy(mean_ms: float) -> Runtimes:
    sizes = np.minimum(np.random.default_rng(1).lognormal(0, 0.6, 1000), 8)
    return Runtimes((sizes / sizes.mean() * mean_ms * 1e6).astype(np.int64), "heavy-tailed")


@pytest.mark.parametrize("shape", [Runtimes.constant, bimodal, heavy])
@pytest.mark.parametrize("mean_ms", [20, 50, 100])
def test_what_is_shown_is_at_least_as_fresh_as_with_shrinking_tail(
    shape: Callable[[float], Runtimes], mean_ms: float
) -> None:
    # The runs are too few to tell small differences: tests/benchmarks/streaming_schedulers.py has the figures.
    runtimes = shape(mean_ms)
    pairs = [[mean_staleness(one, runtimes, seed) for one in (Planned(), ShrinkingTail())] for seed in range(3)]
    planned, tail = np.array(pairs).T
    noise = (planned - tail).std(ddof=1) / 3**0.5
    assert planned.mean() <= tail.mean() + 2 * noise + 1e-9


@pytest.mark.parametrize("shape", [bimodal, heavy])
def test_what_is_planned_is_what_comes(shape: Callable[[float], Runtimes]) -> None:
    runtimes = shape(100)
    plan = Plan(runtimes.samples_ns * 30 / 1e9)
    reached = np.mean([mean_staleness(Planned(), runtimes, seed) for seed in range(6)])
    assert reached == pytest.approx(plan.mean_staleness, rel=0.03)


def test_known_by_hand() -> None:
    # 1.5 frames: idle-free ends on 1.5, 3.0, 4.5…: ages 2, 3, 2 in turn, the inclusive rule counting; waiting gives
    # 2 and 3 in turn.
    assert mean_staleness(Planned(), Runtimes.constant(50), 0) == pytest.approx(7 / 3, abs=1e-3)
    assert mean_staleness(ShrinkingTail(), Runtimes.constant(50), 0) == pytest.approx(5 / 2, abs=1e-3)
    # Just longer, and it is the other way round: now waiting is the better, and both know it.
    assert mean_staleness(Planned(), Runtimes.constant(50.1), 0) == pytest.approx(5 / 2, abs=1e-3)
    assert mean_staleness(IdleFree(), Runtimes.constant(50.1), 0) > 2.6


def test_waits_after_a_quick_run_where_the_next_may_be_slow() -> None:
    # Half of the runs take no time, half take 4 frames: after a quick one the picture is fresh, and running at once
    # could only make the next frame's answer late. Shrinking-tail knows the mean and runs.
    plan = Plan(np.array([0.01, 4.0]))
    assert plan.waits(0.0, 1)
    assert not plan.waits(0.0, 4)


def test_never_waits_for_ever() -> None:
    plan = Plan(np.array([0.05, 20.0]))
    assert not plan.waits(0.0, 28)
    assert not plan.waits(0.5, 500)


def test_the_plan_is_quick_and_kept() -> None:
    planned = Planned()
    runtimes = Runtimes(np.random.default_rng(0).integers(10_000_000, 400_000_000, 5000), "many")
    begun = time.process_time()
    planned.begin(LONG, runtimes)
    assert time.process_time() - begun < 0.5, "wanted a plan in about 0.02 s"
    kept = planned._plan
    planned.begin(Stream("other", Fraction(30), 5, 1, 1), runtimes)
    assert planned._plan is kept
    planned.begin(Stream("slower", Fraction(25), 5, 1, 1), runtimes)
    assert planned._plan is not kept
