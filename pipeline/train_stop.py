"""Stopping a training at a moment when nothing breaks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.train_console import ConsoleObserver

if TYPE_CHECKING:
    from detector.data.training_set import TrainingSet
    from detector.detector import YoloDetector
    from detector.train.history import EpochRow
    from detector.train.observer import BatchNews
    from detector.train.prepare import Network
    from detector.train.trainer import TrainResult


class StoppableConsole(ConsoleObserver):
    """Ends the run by KeyboardInterrupt, while it trains only between two batches or after a whole epoch.

    Raised by the signal itself it could fall into a callback that swallows it, or into the hand-over from the processes
    that read pictures.
    """

    def __init__(self, folder: Path, *, quiet: bool) -> None:
        super().__init__(folder, quiet=quiet)
        self._waits = False
        self._asked = False

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for the end, from a signal handler; `at_once`, and before and after the training: here and now."""
        if at_once or not self._waits:
            raise KeyboardInterrupt
        self._asked = True

    def network_built(self, network: Network) -> None:
        """The training begins."""
        super().network_built(network)
        self._waits = True

    def batch_done(self, news: BatchNews) -> None:
        """A moment to stop at."""
        super().batch_done(news)
        self._end_if_asked()

    def epoch_done(self, row: EpochRow, *, is_best: bool) -> None:
        """A moment to stop at: the epoch is saved."""
        super().epoch_done(row, is_best=is_best)
        self._end_if_asked()

    def finished(self, result: TrainResult, detector: YoloDetector, val: TrainingSet) -> None:
        """Only pictures are drawn now."""
        self._waits = False
        super().finished(result, detector, val)

    def _end_if_asked(self) -> None:
        if self._asked:
            raise KeyboardInterrupt
