"""What is seen while an archive is annotated: one live line on a terminal, plain lines otherwise. All on stderr."""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from rich.live import Live
from rich.text import Text

from pipeline.archive.account import Progress
from pipeline.archive.annotate import Annotation
from pipeline.cli.progress_thread import PLAIN_INTERVAL_S, TERMINAL_INTERVAL_S, ProgressThread
from pipeline.cli.run_table import shortened

NAMES_SHOWN = 4


class ArchiveProgress(ProgressThread):
    """Shows an annotation's progress from its own thread, as a context manager.

    Args:
        annotation: what to look at.
        quiet: show nothing.
    """

    def __init__(self, annotation: Annotation, *, quiet: bool = False) -> None:
        super().__init__(quiet=quiet)
        self._annotation = annotation

    def print_lines(self) -> None:
        """Print how far the archive is, now and then."""
        while not self.ended.wait(PLAIN_INTERVAL_S):
            if (progress := self._annotation.progress()) is not None:
                print(f"{time.strftime('%H:%M:%S')} {summary(progress)}", file=sys.stderr, flush=True)

    def show_live(self) -> None:
        """Show how far the archive is, and the videos in hand."""
        with Live(console=self.console, transient=True, auto_refresh=False) as live:
            while not self.ended.wait(TERMINAL_INTERVAL_S):
                if (progress := self._annotation.progress()) is not None:
                    live.update(Text(f"{summary(progress)}\n{_running(progress)}"), refresh=True)


def summary(progress: Progress) -> str:
    """Videos, frames, pace and time left in one line."""
    videos = f"{progress.n_done + progress.n_given_up}/{progress.n_videos} videos"
    given_up = f" ({progress.n_given_up} given up)" if progress.n_given_up else ""
    of = "" if progress.n_frames_expected is None else f"/~{progress.n_frames_expected}"
    left = "" if progress.left_s is None else f", {timedelta(seconds=round(progress.left_s))} left"
    return f"{videos}{given_up}, {progress.n_frames}{of} frames, {progress.frames_per_s:.1f} frames/s{left}"


def _running(progress: Progress) -> str:
    shown = [f"{shortened(name, 32)} {n_frames}" for name, n_frames in list(progress.running.items())[:NAMES_SHOWN]]
    n_more = len(progress.running) - len(shown)
    return "  ".join(shown) + (f"  and {n_more} more" if n_more else "")
