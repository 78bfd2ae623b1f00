"""Every frame is accounted for: produced = emitted + dropped, per source, at the end of every run."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from pipeline.core.errors import TracklightError


@dataclass(slots=True)
class SourceAccount:
    """What became of one source's frames."""

    produced: int = 0
    emitted: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def missing(self) -> int:
        """Frames that are neither emitted nor dropped; in flight during a run, 0 at its end."""
        return self.produced - self.emitted - sum(self.dropped.values())


class Ledger:
    """The accounts of all sources; called from every thread that produces, emits or drops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, SourceAccount] = {}

    def open(self, source_id: str) -> None:
        """Begin the account of a source."""
        with self._lock:
            self._accounts.setdefault(source_id, SourceAccount())

    def produced(self, source_id: str) -> None:
        """A source handed a frame over."""
        with self._lock:
            self._accounts[source_id].produced += 1

    def emitted(self, source_id: str) -> None:
        """A frame's result was handed to the sinks."""
        with self._lock:
            self._accounts[source_id].emitted += 1

    def dropped(self, source_id: str, reason: str) -> None:
        """A frame will not be emitted, and why: `newer` (live, displaced), `stopped`, `failed`."""
        with self._lock:
            self._accounts[source_id].dropped[reason] += 1

    def snapshot(self) -> dict[str, SourceAccount]:
        """A copy of all accounts."""
        with self._lock:
            return {
                name: SourceAccount(account.produced, account.emitted, Counter(account.dropped))
                for name, account in self._accounts.items()
            }

    def check(self) -> None:
        """Raise AccountingError unless every frame of every source is emitted or dropped."""
        for name, account in self.snapshot().items():
            if account.missing:
                raise AccountingError(
                    f"{name}: produced {account.produced} frames, but emitted {account.emitted} and dropped "
                    f"{dict(account.dropped)}; {account.missing} are unaccounted for. This is a bug: please report it"
                )


class AccountingError(TracklightError, RuntimeError):
    """Frames were lost or counted twice."""
