"""What a training run tells while it goes on. The command line, TensorBoard and tests listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detector.data.loader import Batch
from detector.data.training_set import TrainingSet
from detector.detector import YoloDetector
from detector.train.history import EpochRow
from detector.train.prepare import Labels, Network

if TYPE_CHECKING:
    from detector.train.trainer import TrainResult


@dataclass(frozen=True, slots=True)
class BatchNews:
    """Where a run is.

    Attributes:
        epoch: that is being trained, from 0.
        epochs: of the run.
        batch: how many of this epoch are done.
        batches: in an epoch.
        losses: mean of the epoch so far, by name.
        images_per_s: mean of the epoch so far.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    losses: dict[str, float]
    images_per_s: float


class TrainObserver:
    """Does nothing; override what is wanted. Called in the thread that trains, so be quick."""

    def labels_read(self, labels: Labels) -> None:
        """The data were read and checked."""

    def network_built(self, network: Network) -> None:
        """The network has its first weights."""

    def first_batch(self, number: int, batch: Batch) -> None:
        """One of the first batches, as the network saw it."""

    def batch_done(self, news: BatchNews) -> None:
        """A step was made."""

    def epoch_done(self, row: EpochRow, *, is_best: bool) -> None:
        """An epoch was trained, validated and saved."""

    def finished(self, result: TrainResult, detector: YoloDetector, val: TrainingSet) -> None:
        """All epochs are done; `detector` has the best weights."""
