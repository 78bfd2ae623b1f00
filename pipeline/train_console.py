"""What is seen of a training run: a bar, a line per epoch, curves, TensorBoard, and pictures."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from detector.train.history import EpochRow, History
from detector.train.observer import BatchNews, TrainObserver
from detector.train.tensorboard_log import TensorboardLog, open_tensorboard
from detector.train.trainer import RESULTS_FILE
from pipeline.core.errors import MissingExtraError

if TYPE_CHECKING:
    from detector.data.loader import Batch
    from detector.data.training_set import TrainingSet
    from detector.detector import YoloDetector
    from detector.train.prepare import Labels, Network
    from detector.train.trainer import TrainResult

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
        self._labels: Labels | None = None
        self._class_names: tuple[str, ...] = ()
        self._rows: list[EpochRow] = []
        self._board: TensorboardLog | None = None
        self._board_tried = False
        self._told: set[type[Exception]] = set()

    def __enter__(self) -> ConsoleObserver:
        """Begin."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; the terminal is left clean."""
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def labels_read(self, labels: Labels) -> None:
        """Say what is wrong with the data, and how much of it there is."""
        self._labels = labels
        self._class_names = labels.train.class_names
        for split, report in labels.reports.items():
            if not report.clean:
                self._console.print(f"{split}:\n{report.table()}", highlight=False, markup=False, soft_wrap=True)
        self._say(
            f"{len(labels.train.images)} pictures to train on, {len(labels.val.images)} to validate with, "
            f"{len(labels.train.class_names)} classes"
        )

    def network_built(self, network: Network) -> None:
        """Say what the run starts from; make the folder now, as no more mistakes in the settings can be found."""
        from detector.data.plots import plot_labels

        parameters = sum(p.numel() for p in network.model.parameters())
        self._say(f"{network.model.name}: {parameters / 1e6:.2f} M parameters, input {network.side} px")
        if network.transfer is not None:
            self._say("\n".join(network.transfer.table()))
        if network.anchors is not None:
            self._say(str(network.anchors))
        if self._labels is not None:
            training_set = self._labels.train
            self._draw(lambda: plot_labels(training_set, self._folder / "labels.png"))
        if self._folder.joinpath(RESULTS_FILE).exists():
            self._rows = list(History(self._folder / RESULTS_FILE).rows)

    def first_batch(self, number: int, batch: Batch) -> None:
        """Draw one of the first batches with its labels."""
        from detector.train.pictures import draw_batch

        path = self._folder / f"train_batch_{number + 1}.jpg"
        self._draw(lambda: draw_batch(batch.images, batch.targets, self._class_names, path))

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
        """One line, one point on every curve."""
        from detector.train.plots import plot_history

        losses = "  ".join(f"{name} {value:.4f}" for name, value in row.losses.items())
        ap = (
            "" if math.isnan(row.ap) else f"  AP {100 * row.ap:.1f}  AP50 {100 * row.ap50:.1f}{' *' if is_best else ''}"
        )
        self._say(f"epoch {row.epoch}  {losses}  {row.images_per_s:.0f} img/s{ap}")
        self._rows = [*(r for r in self._rows if r.epoch < row.epoch), row]
        self._draw(lambda: plot_history(self._rows, self._folder / "results.png"))
        if self._board is None and not self._board_tried:
            self._board, self._board_tried = open_tensorboard(self._folder / "tensorboard", row.epoch), True
        if self._board is not None:
            figures = {f"train/{name}": value for name, value in row.losses.items()}
            figures |= {f"val/{name}": value for name, value in row.val_losses.items()}
            figures |= {
                "AP": row.ap,
                "AP50": row.ap50,
                "AP75": row.ap75,
                "lr": row.lr,
                "images per second": row.images_per_s,
            }
            self._board.scalars(row.epoch, figures)

    def finished(self, result: TrainResult, detector: YoloDetector, val: TrainingSet) -> None:
        """Draw what the best weights do on the validation split."""
        from detector.train.summary import summarise

        self._draw(lambda: summarise(self._folder, detector, val.as_labelled(), self._class_names))
        self._say(
            f"{len(result.rows)} epochs in {(time.monotonic() - self._began) / 60:.1f} min; pictures in {self._folder}"
        )

    def _draw(self, draw: Callable[[], object]) -> None:
        """Pictures are for people to look at: none of them is worth the end of a training."""
        try:
            draw()
        except (MissingExtraError, OSError) as error:
            if type(error) not in self._told:
                self._told.add(type(error))
                self._console.print(f"no pictures: {error}", highlight=False, markup=False, soft_wrap=True)

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)


def _memory_text() -> str:
    import resource

    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / _GIB:.1f} GiB on the GPU"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20):.1f} GiB"
