"""A scheduler that plans with the measured distribution of runtimes, not with its mean alone.

The free device holds a frame that is new and has been there for a part of an interval (the phase). Running now answers
earlier; waiting for the next frame answers with a newer picture. Which is better depends on where in an interval runs
are likely to end, and on how old the answer is that stands meanwhile: a stale one makes waiting dear. That is a
semi-Markov decision process with the state (phase, age of what stands). Its long-run mean staleness, counted at the
instants when frames are asked for, is made as small as it can be by policy iteration.

Sources: Howard, "Dynamic Programming and Markov Processes" (1960), for the method; Sun and others, "Update or Wait: How
to Keep Your Data Fresh" (arXiv 1601.02284), for why waiting can pay even though a new picture is there.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from pipeline.core.arrays import BoolArray, Float64Array, IntArray
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.stream import NS, Stream

_PHASES = 60
"""Parts of an interval for which the plan is made; between them it is interpolated."""

_MOST_RUNTIMES = 256
"""More samples than that are put into groups of equal size, each with its mean."""

_LONGEST_WAIT = 8
"""Frames by which waiting may outlast the longest runtime."""

_LEAK = 1e-6
"""Chance that a run is followed by what follows one begun at phase 0. Runtimes that are all alike would otherwise never
leave some phases, and there would be no one mean staleness for all."""

_MOST_ROUNDS = 50
"""Of policy iteration: it settles in fewer than ten, unless rounding makes two policies take turns."""

_SAME = 1e-9
"""Differences of mean staleness below this, in frames, are rounding."""

_INSTANT = 1e-6
"""Two instants that are less than this apart, in frames, are one: arrivals are rounded up to whole nanoseconds."""


class Planned:
    """Runs or waits, whichever keeps what stands fresher in the long run.

    Plans for frames asked for at their arrival (eta 0, or any whole number) and for independent runtimes.
    """

    def __init__(self) -> None:
        self._planned_for: tuple[Fraction, Runtimes] | None = None

    def begin(self, stream: Stream, runtimes: Runtimes) -> None:
        """Make the plan, unless the last stream had the same rate and runtimes."""
        self._frames_per_ns = stream.fps / NS
        self._taken = -1
        if self._planned_for != (stream.fps, runtimes):
            self._plan = Plan(_in_frames(runtimes, self._frames_per_ns))
            self._planned_for = (stream.fps, runtimes)

    def take(self, now_ns: int, newest: int, waited: bool) -> bool:
        """Unless waiting is better; the first frame always."""
        phase = 0.0 if waited else float(now_ns * self._frames_per_ns - newest)
        if self._taken >= 0 and self._plan.waits(phase, newest - self._taken):
            return False
        self._taken = newest
        return True


class Plan:
    """The best policy for a distribution of runtimes.

    A run begun at a phase while the answer that stands is `age` frames old, and during which m frames arrive, costs the
    staleness of what stands at these m: m age + m (m + 1) / 2, or `age` less where it ends with the arrival of the
    last of them, which it then answers for itself. It leaves the state (phase of its end, age m). So the expected cost
    is a straight line in the age, and the unknown of each phase is one number. Waiting costs age + 1 and leaves
    (0, age + 1). After a run during which no frame arrived (age 0) waiting is all there is.

    Args:
        runtimes: float64 (k,), in frames, each above 0, all equally likely.

    Attributes:
        mean_staleness: what the policy reaches in the long run, in frames.
    """

    def __init__(self, runtimes: Float64Array) -> None:
        self._runtimes = runtimes
        phases = np.arange(_PHASES + 1) / _PHASES
        phases[-1] -= 2 * _INSTANT  # What holds just before the next frame arrives, not with it.
        self._passed, self._part = _split(phases[:, None] + runtimes)
        self._slope = _without_answer(self._passed, self._part).mean(axis=1)
        self._ages = np.arange(int(self._passed.max()) + _LONGEST_WAIT + 1)
        wait = np.zeros((len(phases), len(self._ages)), np.bool_)
        wait[:, 0] = True
        for _ in range(_MOST_ROUNDS):
            self.mean_staleness, rest = self._evaluate(wait)
            run = self._slope[:, None] * self._ages + rest[:, None]
            self._waiting = self._waits_from(run[0])
            better = run > self._waiting + _SAME
            better[:, 0] = True
            if (better == wait).all():
                break
            wait = better
        self._value = np.where(wait, self._waiting, run)

    def waits(self, phase: float, age: int) -> bool:
        """Whether waiting for the next frame is better than running on the newest now.

        Args:
            phase: how long the newest frame has been there, in frames, [0, 1).
            age: how old the answer that stands is when the newest frame arrives, in frames, from 1.
        """
        if age >= len(self._ages):
            return False
        passed, part = _split(phase + self._runtimes)
        low, share = _between(part)
        after = (1 - share) * self._value[low, passed] + share * self._value[low + 1, passed]
        run = _without_answer(passed, part) * age + _ageing(passed) - passed * self.mean_staleness + after
        return bool(run.mean() > self._waiting[age] + _SAME)

    def _evaluate(self, wait: BoolArray) -> tuple[float, Float64Array]:
        """The mean staleness of a policy, and the part of each phase's cost of running that the age does not change."""
        n, cost, steps, phase = len(wait), *self._until_run(wait)
        low, share = _between(self._part)
        expected_cost = _ageing(self._passed).mean(axis=1)
        expected_steps = self._passed.mean(axis=1)
        next_phase = np.zeros((n, n))
        rows = np.broadcast_to(np.arange(n)[:, None], low.shape)
        for column, weight in ((low, (1 - share) / low.shape[1]), (low + 1, share / low.shape[1])):
            expected_cost += (weight * cost[column, self._passed]).sum(axis=1)
            expected_steps += (weight * steps[column, self._passed]).sum(axis=1)
            np.add.at(next_phase, (rows, phase[column, self._passed]), weight)
        next_phase += _LEAK * (next_phase[0] - next_phase)
        # Costs are known up to a constant: that of phase 0 is set to 0, and the mean takes its place as an unknown.
        equations = np.eye(n) - next_phase
        equations[:, 0] = expected_steps
        solution = np.linalg.solve(equations, expected_cost)
        return float(solution[0]), np.append(0.0, solution[1:])

    def _until_run(self, wait: BoolArray) -> tuple[Float64Array, IntArray, IntArray]:
        """What a policy does from every (phase, age) until it runs next.

        Returns:
            float64 cost of waiting and, as far as it depends on the age, of the run; int64 frames waited for; int64
            phase in which it runs; each (phases, ages).
        """
        ages, last = self._ages, len(self._ages) - 1
        runs_at = np.minimum.accumulate(np.where(wait[0], last, ages)[::-1])[::-1]
        after_waiting = np.append(runs_at[1:], last)
        age = np.where(wait, after_waiting, ages)
        phase = np.where(wait, 0, np.arange(len(wait))[:, None])
        waited = (age * (age + 1) - ages * (ages + 1)) / 2
        return waited + self._slope[phase] * age, age - ages, phase

    def _waits_from(self, run: Float64Array) -> Float64Array:
        """Cost of waiting at each age, given that of running at phase 0; at the last age nobody waits."""
        waiting = np.full(len(run), np.inf)
        for age in range(len(run) - 2, -1, -1):
            waiting[age] = age + 1 - self.mean_staleness + min(run[age + 1], waiting[age + 1])
        return waiting


def _in_frames(runtimes: Runtimes, frames_per_ns: Fraction) -> Float64Array:
    samples = np.sort(runtimes.samples_ns).astype(np.float64) * float(frames_per_ns)
    if len(samples) <= _MOST_RUNTIMES:
        return samples
    edges = np.linspace(0, len(samples), _MOST_RUNTIMES + 1).astype(np.int64)
    return np.add.reduceat(samples, edges[:-1]) / np.diff(edges)


def _split(frames: Float64Array) -> tuple[IntArray, Float64Array]:
    """Whole frames, and the part of an interval beyond them."""
    whole = np.floor(frames + _INSTANT).astype(np.int64)
    return whole, np.maximum(frames - whole, 0.0)


def _without_answer(passed: IntArray, part: Float64Array) -> IntArray:
    """Of the frames that arrive during a run, those that it does not answer for itself."""
    return passed - ((part < _INSTANT) & (passed > 0))


def _ageing(passed: IntArray) -> Float64Array:
    """By how much an answer ages, summed over so many frames."""
    return passed * (passed + 1) / 2


def _between(part: Float64Array) -> tuple[IntArray, Float64Array]:
    """The phase of the plan below, and the share of the one above."""
    at = part * _PHASES
    low = np.minimum(at.astype(np.int64), _PHASES - 1)
    return low, at - low
