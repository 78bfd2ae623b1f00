"""A training run from its settings to the best weights."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detector.backends.eager import choose_device
from detector.checkpoint import load_checkpoint, save_checkpoint
from detector.data.image_store import ImageStore
from detector.data.loader import Batch, EpochBatches, TrainingPictures, training_loader
from detector.data.repeat_rare import repeat_rare
from detector.train.assemble import build_stepper, detection_loss, with_synchronised_norms
from detector.train.config import FROM_SCRATCH, TrainConfig
from detector.train.distributed import Team, team
from detector.train.epoch_figures import EpochFigures
from detector.train.evaluate import Evaluator, Measured, better
from detector.train.history import EpochRow, History
from detector.train.loss_yolox import YoloxLoss
from detector.train.observer import BatchNews, TrainObserver
from detector.train.optimiser import hold_frozen_norms
from detector.train.prepare import build_network, read_labels
from detector.train.run_settings import plain_values, save_settings
from detector.train.run_state import STATE_FILE, load_state, save_state
from detector.train.schedule import StepSettings, settings_at
from detector.train.schedule_yolox import yolox_warm_cosine
from detector.train.step import NonFiniteLoss
from pipeline.core.errors import ConfigError, TrainingError
from pipeline.core.whole_file import remove_unfinished

_log = logging.getLogger(__name__)

BEST, LAST = Path("weights/best.safetensors"), Path("weights/last.safetensors")
RESULTS_FILE = "results.csv"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run left.

    Attributes:
        folder: everything it wrote.
        best: weights of the best epoch.
        last: weights of the last epoch.
        rows: figures of all epochs.
    """

    folder: Path
    best: Path
    last: Path
    rows: tuple[EpochRow, ...]

    @property
    def ap50(self) -> float:
        """AP at IoU 0.50 of the best epoch; nan where nothing was validated."""
        measured = [row for row in self.rows if not math.isnan(row.fitness)]
        return max(measured, key=lambda row: row.fitness).ap50 if measured else math.nan


def train(
    config: TrainConfig, folder: Path, *, observer: TrainObserver | None = None, resume: bool = False
) -> TrainResult:
    """Train a detector.

    Under torchrun all processes of it train together.

    Args:
        config: what to train, on what, and how.
        folder: what the run writes goes here: weights/ (best and last), state.pt, results.csv.
        observer: told what happens.
        resume: go on with the run that `folder` holds, which must have had the same settings; from the beginning, if no
            epoch of it was finished.

    Raises:
        ConfigError: settings that do not go together.
        DatasetError: the data cannot be read.
        CheckpointError: the weights to start from, or the run to resume, cannot be read.
        TrainingError: the loss became infinite or no number; the batch is saved in the folder.
    """
    device = choose_device(config.device)
    with team(device) as processes:
        if device.type == "cuda" and processes.world > 1:
            device = torch.device("cuda", processes.local_rank)
            torch.cuda.set_device(device)
        folder = Path(processes.agreed(str(folder)))
        return _Run(config, folder, device, processes, observer or TrainObserver(), resume=resume).fit()


class _Run:
    """The parts of one run, put together."""

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        device: torch.device,
        processes: Team,
        observer: TrainObserver,
        *,
        resume: bool,
    ) -> None:
        self.config = config
        self.folder = folder
        self.device = device
        self.team = processes
        self.observer = observer if processes.leads else TrainObserver()
        self.share = processes.share(config.batch_size)
        state = load_state(folder) if resume else None
        if resume and state is None and processes.leads:
            _log.warning("%s: no epoch of this run was finished; it begins again", folder)
        self.labels = read_labels(config)
        self.observer.labels_read(self.labels)
        self.shown = repeat_rare(self.labels.train, config.repeat_rare)
        self.network = build_network(config if state is None else _without_start(config, state), self.labels.train)
        self._check_resumed(state)
        self.observer.network_built(self.network)
        self.side = self.network.side
        self.model = self.network.model.to(device)
        if config.sync_bn:
            self.model = with_synchronised_norms(self.model, device)
        if config.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.batches = self._batches()
        self.steps_per_epoch = len(self.batches)
        if state is not None:
            self.model.load_state_dict(state["model"])  # anchors too, which the loss takes from the model
        self.stepper = build_stepper(self.model, config, self.side, device, processes)
        self.evaluator = self._evaluator() if processes.leads else None
        self.history = History(folder / RESULTS_FILE)
        self.epoch = 0
        self.best = math.nan
        self.best_epoch = 0
        if processes.leads:
            remove_unfinished(folder)
        if state is not None:
            self._restore(state)
        elif processes.leads:
            self._begin_folder()
        pictures = self._pictures()
        self.loader = training_loader(pictures, self.batches, workers=config.workers, pin_memory=device.type == "cuda")

    def fit(self) -> TrainResult:
        """All epochs that are left."""
        while self.epoch < self.config.epochs and not self.team.agreed(self._is_patience_over()):
            began = time.perf_counter()
            figures = self._train_epoch()
            self.epoch += 1
            if self.team.leads:
                self._end_epoch(figures, began)
            self.team.wait()
        result = TrainResult(self.folder, self.folder / BEST, self.folder / LAST, tuple(self.history.rows))
        if self.evaluator is not None:
            best = load_checkpoint(result.best).model
            self.observer.finished(result, self.evaluator.detector(best), self.labels.val)
        return result

    @property
    def plain(self) -> bool:
        """Whether the epoch that comes has neither mosaic nor mixing."""
        return self.epoch >= self.config.epochs - self.config.plain_epochs

    def _train_epoch(self) -> EpochFigures:
        config = self.config
        self.model.train()
        hold_frozen_norms(self.model)
        if isinstance(self.stepper.loss, YoloxLoss):
            self.stepper.loss.with_l1 = self.plain and config.plain_epochs > 0
        self.batches.epoch = self.epoch
        scales = np.random.default_rng((config.seed, self.epoch, 1 << 31)).uniform(
            *config.multi_scale, self.steps_per_epoch
        )
        figures = EpochFigures()
        waiting_since = time.perf_counter()
        for number, batch in enumerate(self.loader):
            figures.waited += time.perf_counter() - waiting_since
            settings = self._settings(self.epoch * self.steps_per_epoch + number)
            is_last = number + 1 == self.steps_per_epoch
            try:
                loss = self.stepper.step(
                    batch,
                    settings,
                    last=is_last,
                    side_scale=float(scales[number]),
                    stride=self.network.model.max_stride,
                )
            except NonFiniteLoss as error:
                raise self._lost(batch, number, error) from error
            if self.epoch == 0 and number < 3:
                self.observer.first_batch(number, batch)
            figures.add(len(batch.indices) * self.team.world, loss.parts, settings)
            waiting_since = time.perf_counter()
            self.observer.batch_done(
                BatchNews(self.epoch, config.epochs, number + 1, self.steps_per_epoch, figures.losses(), figures.rate())
            )
        return figures

    def _end_epoch(self, figures: EpochFigures, began: float) -> None:
        """Validate, save, tell. Written in an order in which a kill at any moment loses nothing but this epoch."""
        config = self.config
        measured: Measured | None = None
        is_last = self.epoch == config.epochs
        if self.evaluator is not None and (is_last or self.epoch % config.val_every == 0):
            measured = self.evaluator.measure(self.stepper.ema.model)
        fitness = measured.fitness if measured else math.nan
        row = EpochRow(
            epoch=self.epoch,
            seconds=time.perf_counter() - began,
            images_per_s=figures.rate(),
            wait_share=figures.wait_share(),
            lr=figures.lr,
            losses=figures.losses(),
            val_losses=measured.losses if measured else {},
            ap=_number(measured.coco.ap if measured else None),
            ap50=_number(measured.coco.ap50 if measured else None),
            ap75=_number(measured.coco.ap75 if measured else None),
            fitness=fitness,
        )
        is_best = better(fitness, self.best)
        if is_best:
            self.best, self.best_epoch = fitness, self.epoch
        self._save_weights(row, [LAST, BEST] if is_best or not (self.folder / BEST).exists() else [LAST])
        self.history.append(row)
        save_state(self.folder, self._state())
        self.observer.epoch_done(row, is_best=is_best)

    def _save_weights(self, row: EpochRow, names: list[Path]) -> None:
        metrics = {"ap": row.ap, "ap50": row.ap50, "ap75": row.ap75}
        for name in names:
            save_checkpoint(
                self.folder / name,
                self.stepper.ema.model,
                self.labels.train.class_names,
                input_hw=(self.side, self.side),
                metrics={key: value for key, value in metrics.items() if not math.isnan(value)},
                provenance={
                    "trained_by": "tracklight train",
                    "data": self.config.data.name,
                    "started_from": self.config.weights,
                    "epoch": f"{self.epoch} of {self.config.epochs}",
                },
            )

    def _state(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "model": self.model.state_dict(),
            "stepper": self.stepper.state_dict(),
            "rng": torch.get_rng_state(),
            "class_names": list(self.labels.train.class_names),
            "network": self.model.name,
            "side": self.network.side,
            "config": plain_values(asdict(self.config)),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.best, self.best_epoch = state["epoch"], state["best"], state["best_epoch"]
        self.stepper.load_state_dict(state["stepper"])
        torch.set_rng_state(state["rng"])
        if self.team.leads:
            self.history.truncate_after(self.epoch)

    def _begin_folder(self) -> None:
        """Nothing of an earlier run in the same folder may be taken for a part of this one."""
        for old in (BEST, LAST, Path(STATE_FILE)):
            (self.folder / old).unlink(missing_ok=True)
        self.history.truncate_after(0)
        save_settings(self.folder, self.config)

    def _check_resumed(self, state: dict[str, Any] | None) -> None:
        if state is None:
            return
        now = (list(self.labels.train.class_names), self.network.model.name, self.network.side)
        then = (state["class_names"], state["network"], state["side"])
        for what, found, wanted in zip(("classes", "network", "input size"), now, then, strict=True):
            if found != wanted:
                raise ConfigError(f"{self.folder}: wanted the {what} {wanted} that the run began with, found {found}")

    def _batches(self) -> EpochBatches:
        config, train_set = self.config, self.shown
        return EpochBatches(
            [image.shape_hw for image in train_set.images],
            min(config.batch_size, max(len(train_set.images) // self.team.world, 1) * self.team.world),
            self.side,
            self.model.max_stride,
            config.seed,
            rectangular=config.rect,
            rank=self.team.rank,
            world=self.team.world,
        )

    def _pictures(self) -> TrainingPictures:
        config, train_set = self.config, self.shown
        store = ImageStore(train_set.images, self.side, keep=config.cache)
        plain_from = config.epochs - config.plain_epochs
        return TrainingPictures(train_set, store, config.augment, config.seed, plain_from)

    def _evaluator(self) -> Evaluator:
        return Evaluator(
            self.labels.val,
            self.labels.train.class_names,
            self.side,
            self.device,
            detection_loss(self.model, self.config, self.side, "all"),
            batch_size=min(self.share, 32),
        )

    def _settings(self, step: int) -> StepSettings:
        config = self.config
        if not config.yolox_schedule:
            return settings_at(
                step,
                config.schedule,
                epochs=config.epochs,
                steps_per_epoch=self.steps_per_epoch,
                batch_size=config.batch_size,
            )
        rate = yolox_warm_cosine(
            step,
            base_lr=config.schedule.lr * config.batch_size / config.schedule.nominal_batch,
            steps_per_epoch=self.steps_per_epoch,
            epochs=config.epochs,
            warmup_epochs=config.schedule.warmup.epochs,
            warmup_start_lr=0.0,
            no_aug_epochs=config.plain_epochs,
            min_lr_ratio=config.schedule.final_ratio,
        )
        return StepSettings(rate, rate, config.schedule.momentum, 1)

    def _is_patience_over(self) -> bool:
        patience = self.config.patience
        return bool(patience) and self.epoch - self.best_epoch >= patience

    def _lost(self, batch: Batch, number: int, error: NonFiniteLoss) -> TrainingError:
        path = self.folder / f"non_finite_batch_{self.team.rank}.pt"
        images = self.shown.images
        torch.save(
            {
                "epoch": self.epoch + 1,
                "batch": number + 1,
                "images": batch.images,
                "boxes": batch.targets.boxes,
                "files": [str(images[index].path) for index in batch.indices],
                "model": self.model.state_dict(),
            },
            path,
        )
        return TrainingError(
            f"epoch {self.epoch + 1}, batch {number + 1}: wanted a finite loss, found {error}; the batch and the "
            f"weights are in {path}; take a lower learning rate (--set schedule.lr=...) or --precision fp32"
        )


def _without_start(config: TrainConfig, state: dict[str, Any]) -> TrainConfig:
    """For a run that goes on: its state replaces the weights that it once started from, which may be gone by now."""
    model = config.model or state["network"]
    return replace(
        config, weights=FROM_SCRATCH, model=model, img_size=config.img_size or state["side"], anchor_recall=0
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
