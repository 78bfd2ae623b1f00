"""Steers a run while it goes on, with the same words as its configuration."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.analytics import analyst_factory, analytics_config, rules_for
from pipeline.config.build import make_source, source_config
from pipeline.config.cameras import addresses_of, wishes_of
from pipeline.config.outputs import build_sinks, outputs_of_source
from pipeline.config.schema import RunConfig
from pipeline.core.control import RunMeasures, SourceStatus
from pipeline.core.errors import UsageError
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Analyst, Clock, Source
from pipeline.runtime.camera_filter import CameraFilter
from pipeline.runtime.runner import Runner
from pipeline.runtime.sink_worker import SinkBinding
from pipeline.runtime.track_stage import AnalystFactory
from sources.address import SourceAddress, expand_sources

PER_SOURCE = ("sources", "cameras", "source", "analytics")
"""Sections that a run takes over while it goes on."""
WHOLE_RUN = ("detector", "tracker", "outputs", "sink", "draw", "runtime", "alerts", "report")
"""Sections that need a new start."""


class LiveControl:
    """A RunControl for a run that was built from a configuration. Connect it before it is asked anything.

    Args:
        config: the run's.
        clock: the run's.
    """

    def __init__(self, config: RunConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._lock = threading.Lock()
        self._addresses = {address.source_id: address for address in addresses_of(config)}
        self._configured = dict(self._addresses)
        self._filter: CameraFilter | None = None
        self.analysts: AnalystFactory | None = None
        """Makes the analytics of a source that begins; replaced with the configuration."""
        self._runner: Runner | None = None
        self._class_names: tuple[str, ...] = ()

    def connect(self, runner: Runner, class_names: tuple[str, ...], camera_filter: CameraFilter) -> None:
        """The run that is steered, and what stands before its detector."""
        self._runner = runner
        self._filter = camera_filter
        self._class_names = class_names

    def analyst(self, info: StreamInfo) -> Analyst | None:
        """The analytics of a source that begins, by the configuration as it is now."""
        return None if self.analysts is None else self.analysts(info)

    def adopt(self, config: RunConfig) -> str:
        """Bring the run in line with another configuration: sources that are new, gone or changed.

        Returns in words what changed. Sources that were added by hand stay. What concerns the whole run (detector,
        tracker, outputs, runtime) is not changed, and said so.

        Raises:
            TracklightError: the new configuration cannot work; the run is as it was.
        """
        wanted = {address.source_id: address for address in addresses_of(config)}
        factory = analyst_factory(config.analytics, list(wanted), self._class_names)
        if (factory is None) != (self.analysts is None):
            raise UsageError("rules where there were none (or the other way round) need a new start")
        wishes = wishes_of(config, self._class_names)
        if wishes and not self._config.cameras:
            raise UsageError("cameras where there were none need a new start")
        changed = [name for name in wanted.keys() & self._configured.keys() if self._differs(config, wanted, name)]
        made = {name: make_source(config, wanted[name], self._clock) for name in changed}
        gone = [name for name in self._configured if name not in wanted]
        new = [name for name in wanted if name not in self._configured]
        kept_out = [key for key in WHOLE_RUN if getattr(config, key) != getattr(self._config, key)]
        kept_out += [f"cameras.{name}.outputs" for name in changed if self._outputs_differ(config, name)]
        sinks = {name: self._own_sinks(config, name) for name in new}
        made |= {name: make_source(config, wanted[name], self._clock) for name in new}
        with self._lock:
            for name in gone:
                self._run.remove_source(name)
                self._addresses.pop(name, None)
            self.analysts = factory
            if self._filter is not None:
                # An unchanged camera keeps its gate and what that remembers.
                kept = {n: w for n, w in self._filter.wishes.items() if n in wanted and n not in changed}
                self._filter.wishes = wishes | kept
            self._config = self._config.model_copy(update={key: getattr(config, key) for key in PER_SOURCE})
            for name in changed:
                self._run.replace_source(made[name])
            for name in new:
                self._run.add_source(made[name], sinks[name])
            self._addresses |= wanted
            self._configured = wanted
        said = [
            f"{what} {', '.join(sorted(names))}"
            for what, names in (("added", new), ("removed", gone), ("begun anew", changed))
            if names
        ]
        if kept_out:
            said.append(f"{', '.join(kept_out)} changed too, which needs a new start")
        return "; ".join(said) or "nothing changed"

    def _differs(self, config: RunConfig, wanted: Mapping[str, SourceAddress], name: str) -> bool:
        def words(of: RunConfig, address: SourceAddress) -> tuple[object, ...]:
            camera = of.cameras.get(name)
            own = source_config(of, str(address.kind), address.value, name if camera is not None else None)
            return address, own, source_config(of, "reconnect"), camera, rules_for(analytics_config(of.analytics), name)

        return words(config, wanted[name]) != words(self._config, self._configured[name])

    def _outputs_differ(self, config: RunConfig, name: str) -> bool:
        """Whether a camera's own outputs are others than before."""
        before, now = self._config.cameras.get(name), config.cameras.get(name)
        return (before.outputs if before is not None else ()) != (now.outputs if now is not None else ())

    def _own_sinks(self, config: RunConfig, name: str) -> list[SinkBinding]:
        # The outputs of all are those that the run began with; a camera's own are as they stand now.
        outputs = outputs_of_source(self._config.model_copy(update={"cameras": config.cameras}), name)
        return build_sinks(self._config.model_copy(update={"alerts": ()}), outputs, self._class_names)

    def sources(self) -> tuple[SourceStatus, ...]:
        """How every source is doing right now."""
        return self._run.source_status()

    def report(self) -> Mapping[str, Any]:
        """The run report so far, JSON-ready."""
        return self._run.report().to_json()

    def measures(self, bounds_s: Sequence[float]) -> RunMeasures:
        """What the run has measured so far, durations counted up to each of the bounds (s, ascending)."""
        return self._run.measures(bounds_s)

    def add(self, address: str) -> str:
        """Take another source in, as `--source` would. Returns its id.

        Raises:
            UsageError: an address of several sources, or an output that cannot be written for it.
            SourceError: an address that leads nowhere.
        """
        found = self._one(address)
        source = make_source(self._config, found, self._clock)
        sinks = self._own_sinks(self._config, found.source_id)
        with self._lock:
            self._run.add_source(source, sinks)
            self._addresses[found.source_id] = found
        return found.source_id

    def remove(self, source_id: str) -> None:
        """Let a source go. Raises UsageError: there is none of that name."""
        self._run.remove_source(source_id)

    def restart(self, source_id: str) -> None:
        """Open a source anew. Raises UsageError: there is none of that name."""
        with self._lock:
            self._run.replace_source(self._made(source_id))

    def remake(self, source_id: str) -> Source:
        """A source of the run made again, not opened yet. Raises UsageError: there is none of that name."""
        with self._lock:
            return self._made(source_id)

    def _made(self, source_id: str) -> Source:
        address = self._addresses.get(source_id)
        if address is None:
            raise UsageError(f"wanted a source of this run, found {source_id!r}")
        return make_source(self._config, address, self._clock)

    @property
    def _run(self) -> Runner:
        if self._runner is None:
            raise UsageError("the run has not begun")
        return self._runner

    def _one(self, address: str) -> SourceAddress:
        """The source that an address names, under a name that no source of the run has now."""
        found: Sequence[SourceAddress] = expand_sources([address])
        if len(found) != 1:
            raise UsageError(f"{address}: wanted one source, found {len(found)}")
        taken = {status.source_id.casefold() for status in self.sources()}
        name, count = found[0].source_id, 1
        while name.casefold() in taken:
            count += 1
            name = f"{found[0].source_id}-{count}"
        return replace(found[0], source_id=name)
