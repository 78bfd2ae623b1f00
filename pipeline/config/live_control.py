"""Steers a run while it goes on, with the same words as its configuration."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.config.build import make_source
from pipeline.config.outputs import build_sinks, outputs_of_source
from pipeline.config.schema import RunConfig
from pipeline.core.control import RunMeasures, SourceStatus
from pipeline.core.errors import UsageError
from pipeline.core.protocols import Clock
from pipeline.runtime.runner import Runner
from sources.address import SourceAddress, expand_sources


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
        self._addresses = {address.source_id: address for address in expand_sources(config.sources)}
        self._runner: Runner | None = None
        self._class_names: tuple[str, ...] = ()

    def connect(self, runner: Runner, class_names: tuple[str, ...]) -> None:
        """The run that is steered."""
        self._runner = runner
        self._class_names = class_names

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
        outputs = outputs_of_source(self._config, found.source_id)
        sinks = build_sinks(self._config.model_copy(update={"alerts": ()}), outputs, self._class_names)
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
            address = self._addresses.get(source_id)
            if address is None:
                raise UsageError(f"wanted a source of this run, found {source_id!r}")
            self._run.replace_source(make_source(self._config, address, self._clock))

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
