"""What is seen of a training run: a bar on a terminal, a line per epoch everywhere, TensorBoard, and pictures at the end."""

from __future__ import annotations

import logging
import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detector.train.observer import BatchNews, TrainObserver

if TYPE_CHECKING:
    from detector.data.loader import Batch
    from detector.train.history import EpochRow
    from detector.train.prepare import Labels, Network
    from detector.train.trainer import TrainResult

_log = logging.getLogger(__name__)
_GIB = 1 << 30


class ConsoleObserver(TrainObserver):
    """Tells people on stderr.

    Args:
        folder: of the run.
        quiet: tell nothing but problems of the data.
    """

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        self._folder = folder
        self._quiet = quiet
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None, figures="")
        self._began = time.monotonic()

    def __enter__(self) -> ConsoleObserver:
        """Begin."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the terminal is left clean."""
        self._bar.stop()

    def labels_read(self, labels: Labels) -> None:
        """Say what is wrong with the data, and how much of it there is."""
        for split, report in labels.reports.items():
            if not report.clean:
                self._console.print(f"{split}:\n{report.table()}", highlight=False, markup=False)
        self._say(
            f"{len(labels.train.images)} pictures to train on, {len(labels.val.images)} to validate with, "
            f"{len(labels.train.class_names)} classes"
        )

    def network_built(self, network: Network) -> None:
        """Say what the run starts from."""
        parameters = sum(p.numel() for p in network.model.parameters())
        self._say(f"{network.model.name}: {parameters / 1e6:.2f} M parameters, input {network.side} px")
        if network.transfer is not None:
            self._say("\n".join(network.transfer.table()))
        if network.anchors is not None:
            self._say(str(network.anchors))

    def first_batch(self, number: int, batch: Batch) -> None:
        """Nothing: the pictures of the first batches are drawn where plots are."""

    def batch_done(self, news: BatchNews) -> None:
        """Move the bar."""
        if self._bar.disable:
            return
        losses = " ".join(f"{name} {value:.4f}" for name, value in news.losses.items())
        done = news.epoch * news.batches + news.batch
        self._bar.update(
            self._task,
            description=f"epoch {news.epoch + 1}/{news.epochs}",
            total=news.epochs * news.batches,
            completed=done,
            figures=f"{losses}  {news.images_per_s:.0f} img/s  {_memory_text()}",
        )

    def epoch_done(self, row: EpochRow, *, is_best: bool) -> None:
        """One line."""
        losses = "  ".join(f"{name} {value:.4f}" for name, value in row.losses.items())
        ap = "" if math.isnan(row.ap) else f"  AP {100 * row.ap:.1f}  AP50 {100 * row.ap50:.1f}{' *' if is_best else ''}"
        self._say(f"epoch {row.epoch}  {losses}  {row.images_per_s:.0f} img/s{ap}")

    def finished(self, result: TrainResult, run: Any) -> None:
        """Say how long it took."""
        self._say(f"{len(result.rows)} epochs in {(time.monotonic() - self._began) / 60:.1f} min")

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False)


def _memory_text() -> str:
    import resource

    import torch

    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return f"{torch.cuda.max_memory_allocated() / _GIB:.1f} GiB on the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20):.1f} GiB"
