"""What a run does when live frames come faster than they can be detected. The policy is chosen by setting."""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

import numpy as np

from pipeline.core.clock import MonotonicClock
from pipeline.core.errors import UsageError
from pipeline.core.frame import Frame
from pipeline.core.percentile import nearest_rank
from pipeline.core.protocols import Clock
from pipeline.core.result import FrameResult
from pipeline.runtime.arrivals import Arrivals
from pipeline.runtime.choice import FrameChoice
from pipeline.runtime.governor import BestGovernor, StepGovernor, Window
from pipeline.runtime.ladder import LadderDetector
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.decay import Decay
from pipeline.streaming.matching import match
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import IdleFree, Scheduler
from pipeline.streaming.simulate import outputs, simulate
from pipeline.streaming.stream import NS, Stream

logger = logging.getLogger(__name__)

MOST_CHANGES = 100
"""Changes that are kept for the report, the last ones."""
MOST_NTH = 10
"""`every_nth` chosen by itself goes no further: boxes moved over longer gaps are guesses."""
SIMULATED_FRAMES = 120
"""Frames over which the staleness of a rung is simulated."""
SCENE_EVERY_NS = 250_000_000
"""How often the motion of the scene is looked at."""
MAKING_SENSE = 3
"""Detected frames that a window needs to say anything."""


class OverloadPolicy(StrEnum):
    """What gives way when live frames come faster than they can be detected."""

    DROP = "drop"
    """Frames: the newest is detected, those between are dropped."""
    EVERY_NTH = "every_nth"
    """Detection of every frame: every n-th is detected, the tracks are moved for those between."""
    SMALLER_INPUT = "smaller_input"
    """The detector's input size, step by step."""
    LIGHTER_MODEL = "lighter_model"
    """The model, step by step."""
    BEST = "best"
    """Whatever is expected to give the best streaming accuracy."""


STEPPED = (OverloadPolicy.SMALLER_INPUT, OverloadPolicy.LIGHTER_MODEL)
WITH_LADDER = (*STEPPED, OverloadPolicy.BEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadRules:
    """How a policy works.

    Attributes:
        policy: what gives way.
        every_nth: under `every_nth`, the n; None: chosen by load, 1 for recorded sources.
        accuracy: under `best`, the offline accuracy of each rung (share of 1).
        max_missed: more frames missed in a window are an overload (share).
        max_age_s: older results (95th percentile) are an overload too; None: age does not count.
        window_s: over how long is measured.
        recover_s: how long there must be room before a step up.
        max_held: under `every_nth`, frames of each live source that wait to be filled in.
        moved: under `best`, whether the run makes up for latency by moving boxes on.
    """

    policy: OverloadPolicy = OverloadPolicy.DROP
    every_nth: int | None = None
    accuracy: tuple[float, ...] = ()
    max_missed: float = 0.1
    max_age_s: float | None = None
    window_s: float = 3.0
    recover_s: float = 10.0
    max_held: int = 30
    moved: bool = False


class Overload:
    """Chooses what is detected, and by which rung, from what the run measures. Called from any thread.

    Args:
        rules: the policy.
        clock: the run's.
        make_scheduler: makes each live source's own scheduler; None: idle-free.
        ladder: the detector of the policies that need one.

    Raises:
        UsageError: a ladder is missing, or there is one too many.
    """

    def __init__(
        self,
        rules: OverloadRules | None = None,
        clock: Clock | None = None,
        *,
        make_scheduler: Callable[[], Scheduler] | None = None,
        ladder: LadderDetector | None = None,
    ) -> None:
        self.rules = rules = rules or OverloadRules()
        if (ladder is not None) != (rules.policy in WITH_LADDER):
            found = "one" if ladder is not None else "none"
            raise UsageError(
                f"overload {rules.policy}: wanted a LadderDetector with a ladder policy only, found {found}"
            )
        self._clock = clock or MonotonicClock()
        self._ladder = ladder
        self._make_scheduler = make_scheduler
        self.arrivals = Arrivals()
        self.fills_in = rules.policy is OverloadPolicy.EVERY_NTH
        nth = (rules.every_nth or 1) if self.fills_in else None
        self.choice = FrameChoice(self.arrivals, self._clock, nth, make_scheduler)
        self._names = self._rung_names()
        self._governor = self._make_governor()
        self._decay = Decay(moved=rules.moved)
        self._lock = threading.Lock()
        self._rung = 0
        self._runtimes: deque[int] = deque(maxlen=256)
        self._ages_ns: deque[int] = deque(maxlen=1024)
        self._n_detected = 0
        self._window_began: tuple[int, int] | None = None
        self._scene_ns: int | None = None
        self._began_ns: int | None = None
        self._rung_since_ns = 0
        self._time_ns: Counter[int] = Counter()
        self._detected: Counter[int] = Counter()
        self._filled: Counter[str] = Counter()
        self._n_changes = 0
        self._changes: deque[dict[str, object]] = deque(maxlen=MOST_CHANGES)

    @property
    def live_capacity(self) -> int:
        """Frames of a live source that may wait for the detector."""
        return self.rules.max_held if self.fills_in else 1

    @property
    def rung(self) -> str:
        """Where the run stands, in words; an empty text where there is nothing to choose from."""
        return self._names[self._rung] if self._names else ""

    @property
    def n_changes(self) -> int:
        """How often the rung was changed."""
        return self._n_changes

    # -- what is measured ---------------------------------------------------------------------------------------------

    def arrived(self, frame: Frame) -> None:
        """A frame of a live source is about to be handed to the detector."""
        self.arrivals.note(frame, self._clock.now_ns())

    def detected(self, frames: Sequence[Frame], begin_ns: int, end_ns: int) -> None:
        """These frames were detected in one call; now and then, look whether another rung is called for."""
        self.choice.ran(frames, end_ns - begin_ns)
        if self._governor is None:
            return
        with self._lock:
            if self._began_ns is None:
                # The first call went through all rungs and says nothing of any.
                self._began_ns = self._rung_since_ns = end_ns
                return
            self._runtimes.append((end_ns - begin_ns) // len(frames))
            self._detected[self._rung] += len(frames)
            self._n_detected += len(frames)
            self._look(end_ns)

    def emitted(self, result: FrameResult, age_ns: int) -> None:
        """A result goes to the sinks, so long after its frame was captured."""
        if result.filled:
            self._filled[result.frame.source_id] += 1
        if self._governor is None:
            return
        with self._lock:
            self._ages_ns.append(age_ns)
            if self.rules.policy is OverloadPolicy.BEST and result.tracked:
                self._look_at_scene(result)

    def _look_at_scene(self, result: FrameResult) -> None:
        frame, now_ns = result.frame, self._clock.now_ns()
        is_time = self._scene_ns is None or now_ns - self._scene_ns >= SCENE_EVERY_NS
        if is_time:
            self._scene_ns = now_ns
        self._decay.add(frame.source_id, frame.captured_ns / 1e9, result.tracks, result.motion, compare=is_time)

    def ended(self, source_id: str) -> None:
        """A source has ended."""
        with self._lock:
            self._decay.forget(source_id)
        self.arrivals.forget(source_id)
        self.choice.forget(source_id)

    def counters(self, source_id: str) -> dict[str, int]:
        """`filled`: frames of a source that were not detected, and filled in."""
        return {"filled": self._filled[source_id]} if self.fills_in else {}

    def rung_s(self) -> dict[str, float]:
        """For how long the run has stood on each rung (s); empty where there is nothing to choose from."""
        with self._lock:
            time_ns = Counter(self._time_ns)
            if self._began_ns is not None:
                time_ns[self._rung] += max(self._clock.now_ns() - self._rung_since_ns, 0)
        return {name: time_ns[number] / 1e9 for number, name in enumerate(self._names)}

    def report(self) -> dict[str, object]:
        """The policy, the time on each rung and the changes; empty where a run does what it always did."""
        if self.rules.policy is OverloadPolicy.DROP:
            return {}
        told: dict[str, object] = {"policy": str(self.rules.policy)}
        if self.fills_in:
            told |= {"every_nth": self.rules.every_nth or "auto", "filled": sum(self._filled.values())}
        if self._governor is None:
            return told
        rung_s = self.rung_s()
        costs = self._ladder.costs if self._ladder is not None else ()
        with self._lock:
            rungs = [
                {
                    "name": name,
                    "time_s": rung_s[name],
                    "detected": self._detected[number],
                    **({"cost": costs[number]} if costs else {}),
                }
                for number, name in enumerate(self._names)
            ]
            told |= {"rungs": rungs, "n_changes": self._n_changes, "changes": list(self._changes)}
        return told if self._ladder is None else {**told, "resident_mb": self._ladder.resident_mb}

    # -- the decision -------------------------------------------------------------------------------------------------

    def _rung_names(self) -> tuple[str, ...]:
        if self._ladder is not None:
            return self._ladder.names
        if self.fills_in and self.rules.every_nth is None:
            return tuple(f"every {n}" for n in range(1, MOST_NTH + 1))
        return ()

    def _make_governor(self) -> StepGovernor | BestGovernor | None:
        rules = self.rules
        if not self._names:
            return None
        if rules.policy is OverloadPolicy.BEST:
            return BestGovernor()
        recover_windows = max(1, round(rules.recover_s / rules.window_s))
        return StepGovernor(rules.max_missed, rules.max_age_s, recover_windows)

    def _look(self, now_ns: int) -> None:
        """At the end of a window: which rung next?"""
        n_arrived = self.arrivals.count
        if self._window_began is None:
            self._begin_window(now_ns, n_arrived)
            return
        began_ns, arrived_before = self._window_began
        if now_ns - began_ns < self.rules.window_s * 1e9 or self._governor is None:
            return
        n_new = n_arrived - arrived_before
        if n_new >= MAKING_SENSE and len(self._runtimes) >= MAKING_SENSE:
            wanted = n_new / (self.choice.every_nth or 1)
            rung, why = self._governor.look(self._rung, self._window(1 - self._n_detected / wanted))
            if rung != self._rung:
                self._change(rung, why, now_ns)
        self._begin_window(now_ns, n_arrived)

    def _begin_window(self, now_ns: int, n_arrived: int) -> None:
        self._window_began = now_ns, n_arrived
        self._n_detected = 0
        self._runtimes.clear()
        self._ages_ns.clear()

    def _window(self, missed: float) -> Window:
        ages = sorted(self._ages_ns)
        age_s = ages[nearest_rank(0.95, len(ages)) - 1] / 1e9 if ages else 0.0
        costs = self._costs()
        runtime_s = sum(self._runtimes) / len(self._runtimes) / 1e9
        rates = self.arrivals.rates()
        # What was measured is the rung's own; that only every n-th frame is detected does not make it shorter.
        measured = costs[self._rung] if self._ladder is not None else 1.0
        busy = runtime_s * sum(rates.values()) / measured
        expected = self._expected(rates, costs) if self.rules.policy is OverloadPolicy.BEST else ()
        return Window(max(missed, 0.0), age_s, [busy * cost for cost in costs], expected)

    def _costs(self) -> Sequence[float]:
        """The detector's time per frame of a source on each rung, on one scale."""
        if self._ladder is not None:
            return self._ladder.costs
        return [1 / n for n in range(1, len(self._names) + 1)]

    def _expected(self, rates: dict[str, float], costs: Sequence[float]) -> Sequence[float]:
        """Expected streaming accuracy of each rung: its offline accuracy, less what moves away meanwhile.

        How stale boxes are is simulated with the measured runtimes, scaled to the rung; what staleness costs is told
        by the run's own results (`Decay`). Of several sources, each is taken to wait for its turn behind all others.
        """
        if not rates:
            return self.rules.accuracy
        fps = Fraction(sum(rates.values()) / len(rates)).limit_denominator(1000)
        stream = Stream("live", max(fps, Fraction(1, 10)), SIMULATED_FRAMES, 1, 1)
        samples = np.fromiter(self._runtimes, np.float64) * len(rates) / costs[self._rung]
        return [
            accuracy * self._left(stream, Runtimes(np.maximum(samples * cost, 1).astype(np.int64), "measured"))
            for accuracy, cost in zip(self.rules.accuracy, costs, strict=True)
        ]

    def _left(self, stream: Stream, runtimes: Runtimes) -> float:
        """Share of offline accuracy that is left: boxes are late, and tracks get lost where frames are far apart."""
        scheduler = self._make_scheduler() if self._make_scheduler is not None else IdleFree()
        scheduler.begin(stream, runtimes)
        runs = simulate(stream, scheduler, runtimes.draws(0))
        staleness = match(outputs(runs, lambda _: Boxes.empty()), stream).staleness
        begun_s = np.array([run.begin_ns for run in runs]) / NS
        if len(runs) < 2 or not len(staleness):
            return 0.0
        late = self._decay.kept(staleness.astype(np.float64) * stream.interval_s).mean()
        return float(late * self._decay.followed(np.diff(begun_s)).mean())

    def _change(self, rung: int, why: str, now_ns: int) -> None:
        self._time_ns[self._rung] += now_ns - self._rung_since_ns
        before, self._rung, self._rung_since_ns = self._rung, rung, now_ns
        if self._ladder is not None:
            self._ladder.rung = rung
        else:
            self.choice.every_nth = rung + 1
        self.choice.forget_runtimes()
        self._n_changes += 1
        at_s = (now_ns - (self._began_ns or now_ns)) / NS
        self._changes.append({"at_s": at_s, "from": self._names[before], "to": self._names[rung], "why": why})
        logger.warning("overload: %s -> %s (%s)", self._names[before], self._names[rung], why)
