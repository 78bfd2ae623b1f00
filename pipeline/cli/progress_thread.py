"""Shows something on stderr while it goes on, from a thread of its own."""

from __future__ import annotations

import sys
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console

TERMINAL_INTERVAL_S = 0.2
PLAIN_INTERVAL_S = 5.0


class ProgressThread(ABC):
    """A context manager; what is shown, on a terminal and elsewhere, is a subclass's affair.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=sys.stderr)
        self.ended = threading.Event()
        """Set when the context ends; what shows something waits on it between two times."""
        self._quiet = quiet
        self._thread = threading.Thread(target=self._loop, name="progress")

    @abstractmethod
    def show_live(self) -> None:
        """Show it on a terminal until `ended`."""

    @abstractmethod
    def print_lines(self) -> None:
        """Print a line now and then until `ended`."""

    def __enter__(self) -> Self:
        """Start showing."""
        if not self._quiet:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing; the terminal is left clean."""
        self.ended.set()
        if not self._quiet:
            self._thread.join()

    def _loop(self) -> None:
        if self.console.is_terminal:
            self.show_live()
        else:
            self.print_lines()
