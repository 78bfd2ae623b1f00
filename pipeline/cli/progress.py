"""What is seen while a run goes on: a live line per run on a terminal, plain lines otherwise. All on stderr."""

from __future__ import annotations

import sys
import time

from rich.console import Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pipeline.cli.progress_thread import PLAIN_INTERVAL_S, TERMINAL_INTERVAL_S, ProgressThread
from pipeline.cli.run_table import shortened
from pipeline.runtime.runner import Runner

BAR_NAME_WIDTH = 20


class RunProgress(ProgressThread):
    """Shows the progress of a runner from its own thread, as a context manager.

    Args:
        runner: the run to look at.
        quiet: show nothing.
    """

    def __init__(self, runner: Runner, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._runner = runner

    def print_lines(self) -> None:
        """Print how far the run is, now and then."""
        while not self.ended.wait(PLAIN_INTERVAL_S):
            print(self._summary(), file=sys.stderr, flush=True)

    def show_live(self) -> None:
        """Show a bar for each source."""
        columns: tuple[ProgressColumn, ...] = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[numbers]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        bars = Progress(*columns, console=self.console)
        tasks: dict[str, TaskID] = {}
        with Live(bars, console=self.console, transient=True, auto_refresh=False) as live:
            while not self.ended.wait(TERMINAL_INTERVAL_S):
                self._update(bars, tasks)
                if tasks:
                    live.update(Group(bars, Text(self._pace())), refresh=True)

    def _update(self, bars: Progress, tasks: dict[str, TaskID]) -> None:
        infos = self._runner.infos
        for name, account in self._runner.ledger.snapshot().items():
            info = infos.get(name)
            if info is None:
                continue
            total = None if info.is_live else info.n_frames
            if name not in tasks:
                tasks[name] = bars.add_task(shortened(name, BAR_NAME_WIDTH), total=total, numbers="")
            dropped = sum(account.dropped.values())
            numbers = f"{account.emitted}{f'/{total}' if total else ''}{f', {dropped} dropped' if dropped else ''}"
            bars.update(tasks[name], completed=account.emitted, numbers=numbers)

    def _pace(self) -> str:
        statistics = self._runner.statistics
        return f"{statistics.emitted_per_s():.1f} frames/s, latency {statistics.end_to_end().recent().p50_ms:.0f} ms"

    def _summary(self) -> str:
        accounts = self._runner.ledger.snapshot().values()
        emitted = sum(account.emitted for account in accounts)
        dropped = sum(sum(account.dropped.values()) for account in accounts)
        return f"{time.strftime('%H:%M:%S')} {emitted} frames, {dropped} dropped, {self._pace()}"
