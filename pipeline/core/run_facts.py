"""What is known of a run before it begins, for those who keep a record of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from pipeline.core.event import EventKind
from pipeline.core.protocols import Sink


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run that is about to begin. Nothing in it holds credentials.

    Attributes:
        command: the command line.
        config_digest: equal for runs of equal sources, models and rules, wherever their results go.
        addresses: by source id, the file (absolute) or URL it comes from.
        videos: ids of the sources that are video files.
        clip_folder: folder (absolute) of a recorder that keeps clips of events, empty where there is none.
        clip_kinds: kinds of events that get a clip there.
    """

    command: str = ""
    config_digest: str = ""
    addresses: Mapping[str, str] = field(default_factory=dict)
    videos: frozenset[str] = frozenset()
    clip_folder: str = ""
    clip_kinds: frozenset[EventKind] = frozenset()


@runtime_checkable
class RunSink(Sink, Protocol):
    """A sink that keeps a record of the run itself."""

    def begin_run(self, facts: RunFacts) -> None:
        """Called once, before everything else. Touches nothing."""

    def end_run(self, status: str) -> None:
        """How the run ended, as in the run report; called once, after `close`, from any thread."""
