"""Nowhere: for measuring a run without the cost of an output."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pipeline.core.frame import StreamInfo
from pipeline.core.result import FrameResult


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class NullConfig:
    """Nothing to configure."""


class NullSink:
    """Takes every result and forgets it.

    Args:
        config: nothing.
        class_names: not used; every sink is made the same way.
    """

    needs_image = False
    needs_main_thread = False
    is_live = False
    shared = True

    def __init__(self, config: NullConfig, *, class_names: tuple[str, ...]) -> None:
        self._config = config

    def open(self, info: StreamInfo) -> None:
        """Nothing to open."""

    def write(self, result: FrameResult) -> None:
        """Forget the result."""

    def close(self) -> None:
        """Nothing to close. Idempotent."""
