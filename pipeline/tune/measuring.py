"""Measures every configuration on the clip: how long it takes here, and what it finds. Goes on where it was ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.benchmark.configuration import Configuration, labels
from pipeline.core.errors import BackendError, ConfigError
from pipeline.tune.clip import Clip
from pipeline.tune.found import Found
from pipeline.tune.pace import Pace
from pipeline.tune.space import Network
from pipeline.tune.store import Store
from pipeline.tune.timing import Timing
from pipeline.tune.worker import Job, run_job

FORMAT = 1
"""Of what is kept; a change in how it is measured counts it up."""
TOO_SLOW = 1.5
"""A backend that takes so many times as long as the fastest for the same network is not measured at other sizes."""

NO_TIME = "no time left"

Say = Callable[[str], None]
Do = Callable[[Job], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Measurements:
    """What is known of the configurations.

    Attributes:
        timings: of each configuration that runs here and whose boxes are known.
        found: boxes by network.
        left_out: why a configuration was not measured.
        labels: short names of all configurations.
    """

    timings: Mapping[Configuration, Timing]
    found: Mapping[Network, Found]
    left_out: Mapping[Configuration, str]
    labels: Mapping[Configuration, str]


@dataclass(slots=True)
class Measuring:
    """One pass over all configurations.

    Attributes:
        groups: configurations, those of one network together.
        clip: what is measured on.
        store: keeps what was measured.
        machine: what figures depend on besides: hardware and versions.
        digests: SHA-256 by weights.
        keeps_slow: measure a backend at every size, however slow it is.
        measure_s: begin nothing that would not be done after so many seconds.
        say: told what goes on.
        do: does one job.
        clock_s: seconds that pass.
    """

    groups: Sequence[tuple[Configuration, ...]]
    clip: Clip
    store: Store
    machine: Mapping[str, Any]
    digests: Mapping[str, str]
    keeps_slow: bool
    measure_s: float
    say: Say
    do: Do = run_job
    clock_s: Callable[[], float] = time.monotonic
    _timings: dict[Configuration, Timing] = field(default_factory=dict)
    _found: dict[Network, Found] = field(default_factory=dict)
    _left_out: dict[Configuration, str] = field(default_factory=dict)
    _hopeless: dict[tuple[str, str, str], str] = field(default_factory=dict)
    _labels: dict[Configuration, str] = field(default_factory=dict)
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        every = [one for group in self.groups for one in group]
        self._labels = labels(every)
        self._pace = Pace(self.measure_s, len(every), len(self.groups), self.clock_s)

    def measure(self) -> Measurements:
        """Do it. Ctrl-C goes through; what was measured before it is kept.

        Raises:
            UsageError: what was measured cannot be kept.
        """
        for group in self.groups:
            self._group(group)
        known = {one: timing for one, timing in self._timings.items() if self._network(one) in self._found}
        return Measurements(known, self._found, self._left_out, self._labels)

    def _group(self, group: Sequence[Configuration]) -> None:
        """Time each backend, and let the quickest in each precision find the boxes."""
        for one in group:
            self._time(one)
        timed = {one: self._timings[one] for one in group if one in self._timings}
        if not timed:
            self._pace.skip_find()
            return
        quickest_first = sorted(timed, key=lambda one: timed[one].quick_s)
        if not self.keeps_slow:
            self._give_up_slow(timed, quickest_first[0])
        by_network: dict[Network, list[Configuration]] = {}
        for one in quickest_first:
            by_network.setdefault(self._network(one), []).append(one)
        self._pace.add_finds(len(by_network) - 1)
        for network, same in by_network.items():
            self._find(network, same)

    def _time(self, one: Configuration) -> None:
        facts = self._facts("time", one)
        if (reason := self._hopeless.get(_family(one))) is not None:
            self._left_out[one] = reason
        elif (kept := self.store.get(facts)) is not None:
            self._timings[one] = Timing.from_json(kept)
        elif not self._pace.has_time_to_time():
            self._left_out[one] = NO_TIME
        else:
            self._time_now(one, facts)
            return
        self._pace.skip_time()

    def _time_now(self, one: Configuration, facts: Mapping[str, Any]) -> None:
        self.say(f"{self._pace.place()} timing {self._labels[one]}{self._pace.left()}")
        try:
            with self._pace.timing():
                result = self.do(Job("time", one, self.clip))
        except (BackendError, ConfigError) as error:
            self._left_out[one] = str(error)
            self.say(f"left out: {self._labels[one]}: {error}")
            # Another size may be had; a backend that fails does so at every size.
            if isinstance(error, BackendError):
                self._hopeless[_family(one)] = str(error)
            return
        self.store.put(facts, result)
        self._timings[one] = Timing.from_json(result)

    def _find(self, network: Network, same: Sequence[Configuration]) -> None:
        """The boxes of a network, found by the first of these configurations."""
        facts = self._facts("find", same[0])
        frames_s = self._timings[same[0]].median_s * self.clip.n_frames
        kept = None if self.store.get(facts) is None else _loaded(self.store.beside(facts, ".npz"))
        if kept is not None:
            self._found[network] = kept
        elif not self._pace.has_time_to_find(frames_s):
            self._left_out |= dict.fromkeys(same, NO_TIME)
        else:
            self._find_now(network, same, facts, frames_s)
            return
        self._pace.skip_find()

    def _find_now(
        self, network: Network, same: Sequence[Configuration], facts: Mapping[str, Any], frames_s: float
    ) -> None:
        label, place = self._labels[same[0]], self.store.beside(facts, ".npz")
        self.say(f"{self._pace.place()} boxes of {self.clip.n_frames} frames, {label}{self._pace.left(frames_s)}")
        try:
            with self._pace.finding(frames_s):
                self.do(Job("find", same[0], self.clip, str(place)))
        except (BackendError, ConfigError) as error:
            self._left_out |= dict.fromkeys(same, str(error))
            self.say(f"left out: {label}: {error}")
            return
        self.store.put(facts, {"found_by": label})
        self._found[network] = Found.load(place)

    def _network(self, one: Configuration) -> Network:
        return Network.of(one, self._timings[one].precision)

    def _give_up_slow(self, timed: Mapping[Configuration, Timing], fastest: Configuration) -> None:
        for one, timing in timed.items():
            times = timing.quick_s / timed[fastest].quick_s
            if times >= TOO_SLOW and _family(one) not in self._hopeless:
                at = f" at {one.img_size} px" if one.img_size else ""
                self._hopeless[_family(one)] = f"{times:.1f} times as slow as {fastest.backend}{at}"

    def _facts(self, kind: str, one: Configuration) -> dict[str, Any]:
        """All that a measurement depends on."""
        how = asdict(one) | {"weights": self.digests[one.weights]}
        clip: dict[str, Any] = {"digest": self.clip.digest, "fps": self.clip.fps}
        if kind == "find":
            # Which backend looked does not matter.
            del how["backend"]
            how["precision"] = self._timings[one].precision
            clip["n_frames"] = self.clip.n_frames
        return {"format": FORMAT, "kind": kind, "configuration": how, "clip": clip, "machine": dict(self.machine)}


def _family(one: Configuration) -> tuple[str, str, str]:
    """What a configuration shares with itself at other sizes."""
    return one.weights, one.backend, one.precision


def _loaded(place: Path) -> Found | None:
    try:
        return Found.load(place)
    except (OSError, ValueError, KeyError):
        return None
