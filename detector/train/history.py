"""The table of a training: one row per epoch, kept in results.csv."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import UsageError
from pipeline.core.whole_file import write_whole

_TRAIN_LOSS = "train loss "
_VAL_LOSS = "val loss "
_COLUMNS = {
    "epoch": "epoch",
    "seconds": "seconds",
    "images_per_s": "images per second",
    "wait_share": "share of time waiting for data",
    "lr": "learning rate",
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "fitness": "fitness",
}
"""Headings by field, in their order; the losses stand between learning rate and AP."""
_BEFORE_LOSSES = 5


@dataclass(frozen=True, slots=True)
class EpochRow:
    """What one epoch came to.

    Attributes:
        epoch: number of the epoch, from 1.
        seconds: how long it took, validation included.
        images_per_s: training images per second.
        wait_share: share of the time in which the training step waited for data, in [0, 1].
        lr: learning rate at the end of the epoch.
        losses: mean training loss per image, by the name of its part.
        val_losses: the same of the validation set; empty where it was not measured.
        ap: AP at IoU 0.50:0.95 of the averaged weights, in [0, 1]; nan where it was not measured.
        ap50: AP at IoU 0.50; nan where it was not measured.
        ap75: AP at IoU 0.75; nan where it was not measured.
        fitness: what picks the best epoch; nan where it was not measured.
    """

    epoch: int
    seconds: float
    images_per_s: float
    wait_share: float
    lr: float
    losses: dict[str, float]
    val_losses: dict[str, float]
    ap: float
    ap50: float
    ap75: float
    fitness: float


class History:
    """The rows of a training and their file.

    The file is written anew after each change, beside itself, and then renamed: it is whole whenever the program is
    killed. Figures have six digits there, and rows that were read have no more.

    Args:
        path_csv: the file; one that exists is read and continued.

    Raises:
        UsageError: the file is no such table.
    """

    def __init__(self, path_csv: Path) -> None:
        self._path = path_csv
        self._rows = _read(path_csv) if path_csv.exists() else []

    @property
    def rows(self) -> tuple[EpochRow, ...]:
        """By rising epoch."""
        return tuple(self._rows)

    def append(self, row: EpochRow) -> None:
        """Add the epoch that has just ended, and write the file.

        Raises:
            UsageError: the epoch does not come after the last one.
            OSError: the file cannot be written.
        """
        last = self._rows[-1].epoch if self._rows else 0
        if row.epoch <= last:
            raise UsageError(
                f"{self._path}: wanted an epoch after {last}, found {row.epoch}; drop the rows from there on first"
            )
        self._rows.append(row)
        self._write()

    def truncate_after(self, epoch: int) -> None:
        """Drop the rows of later epochs: a run that resumes goes through them again.

        Args:
            epoch: the last one that the checkpoint has seen; 0 drops everything.
        """
        kept = [row for row in self._rows if row.epoch <= epoch]
        if len(kept) < len(self._rows):
            self._rows = kept
            self._write()

    def best(self) -> EpochRow | None:
        """The first row of the highest fitness; None where fitness was never measured."""
        measured = [row for row in self._rows if not math.isnan(row.fitness)]
        return max(measured, key=lambda row: row.fitness, default=None)

    def _write(self) -> None:
        text = io.StringIO(newline="")
        columns = list(_COLUMNS.items())
        losses = _loss_columns(self._rows)
        writer = csv.writer(text, lineterminator="\n")
        headings = [heading for _, heading in columns]
        writer.writerow([*headings[:_BEFORE_LOSSES], *losses, *headings[_BEFORE_LOSSES:]])
        for row in self._rows:
            plain = [_cell(getattr(row, field)) for field, _ in columns]
            parts = _named_losses(row)
            cells = [f"{parts[name]:.6g}" if name in parts else "" for name in losses]
            writer.writerow([*plain[:_BEFORE_LOSSES], *cells, *plain[_BEFORE_LOSSES:]])
        write_whole(self._path, text.getvalue())


def _cell(value: float) -> str:
    """An empty cell where nothing was measured: spreadsheets leave it out of their charts and means."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _named_losses(row: EpochRow) -> dict[str, float]:
    train = {_TRAIN_LOSS + name: value for name, value in row.losses.items()}
    return train | {_VAL_LOSS + name: value for name, value in row.val_losses.items()}


def _loss_columns(rows: Sequence[EpochRow]) -> list[str]:
    """Headings of every loss that any row has, those of training first."""
    names = dict.fromkeys(name for row in rows for name in _named_losses(row))
    return sorted(names, key=lambda name: name.startswith(_VAL_LOSS))


def _read(path: Path) -> list[EpochRow]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *lines = csv.reader(file, strict=True)
        rows = [_parsed(dict(zip(head, line, strict=True))) for line in lines]
    except (KeyError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path}: wanted the table of a training, found something else ({error}); move the file away"
        ) from error
    epochs = [row.epoch for row in rows]
    if any(later <= earlier for earlier, later in zip([0, *epochs], epochs, strict=False)):
        raise UsageError(f"{path}: wanted rising epochs from 1, found {epochs}; move the file away")
    return rows


def _parsed(cells: dict[str, str]) -> EpochRow:
    plain = {field: float(cells[heading] or "nan") for field, heading in _COLUMNS.items() if field != "epoch"}
    return EpochRow(
        epoch=int(cells[_COLUMNS["epoch"]]),
        losses=_with_prefix(cells, _TRAIN_LOSS),
        val_losses=_with_prefix(cells, _VAL_LOSS),
        **plain,
    )


def _with_prefix(cells: dict[str, str], prefix: str) -> dict[str, float]:
    return {name.removeprefix(prefix): float(cell) for name, cell in cells.items() if name.startswith(prefix) and cell}
