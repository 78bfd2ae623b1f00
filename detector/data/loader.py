"""Batches for training: which pictures, how changed, in worker processes.

Every random number comes from (seed, epoch, number of the sample): a batch is the same whatever the number of workers,
and a run that was resumed goes on as if it had never stopped.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from detector.data.augment import (
    PAD,
    AugmentConfig,
    copy_paste,
    flip,
    hsv_jitter,
    mixup,
    mosaic,
    paste_in,
    random_affine,
    stretched,
)
from detector.data.image_store import ImageStore
from detector.data.sample import Sample
from detector.data.training_set import TrainingSet
from detector.train.targets import Targets

Place = tuple[int, int, int, tuple[int, int]]
"""Epoch, number of the sample within it, index of the picture, height and width to give."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures and what they should be answered with.

    Attributes:
        images: uint8 (b, 3, h, w), BGR, channels last in memory.
        targets: boxes in px of `images`.
        indices: of the pictures in the training set; of a mosaic, of its first one.
    """

    images: torch.Tensor
    targets: Targets
    indices: tuple[int, ...]

    def pin_memory(self) -> Batch:
        """The same in page-locked memory, for a fast way to a GPU (called by the DataLoader)."""
        targets = Targets(
            self.targets.boxes.pin_memory(), self.targets.regions.pin_memory(), self.targets.region_classes.pin_memory()
        )
        return Batch(self.images.pin_memory(), targets, self.indices)


class TrainingPictures(Dataset[tuple[Sample, int]]):
    """Augmented samples of a training set.

    Args:
        training_set: pictures and labels.
        store: the pictures, longer side as the network's input.
        augment: how they are changed.
        seed: of the run.
        last_plain_epochs: epochs, counted from 0, from which on there is neither mosaic nor mixing.
    """

    def __init__(
        self, training_set: TrainingSet, store: ImageStore, augment: AugmentConfig, seed: int, plain_from_epoch: int
    ) -> None:
        self._images = training_set.images
        self._num_classes = len(training_set.class_names)
        self._store = store
        self._augment = augment
        self._seed = seed
        self._plain_from_epoch = plain_from_epoch

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, place: Place) -> tuple[Sample, int]:
        """The sample for one place of an epoch, and the index of its first picture."""
        epoch, number, index, side_hw = place
        rng = np.random.default_rng((self._seed, epoch, number))
        config = self._augment
        mixes = epoch < self._plain_from_epoch
        if mixes and side_hw[0] == side_hw[1] and rng.random() < config.mosaic:
            sample = self._mosaic(index, side_hw[0], rng)
            if rng.random() < config.mixup:
                other = self._mosaic(int(rng.integers(len(self))), side_hw[0], rng)
                sample = mixup(sample, other, config.mixup_alpha, rng)
        else:
            sample = random_affine(self._letterboxed(index, side_hw), side_hw, _calmer(config), rng)
        if mixes and config.paste_in and rng.random() < config.paste_in:
            sample = paste_in(sample, [self._read(int(i)) for i in rng.integers(len(self), size=4)], rng)
        sample.image = hsv_jitter(sample.image, config, rng)
        return flip(sample, config, rng), index

    def _read(self, index: int) -> Sample:
        return Sample.of(self._store[index], self._images[index], self._num_classes)

    def _mosaic(self, index: int, side: int, rng: np.random.Generator) -> Sample:
        config = self._augment
        count = 9 if config.mosaic9 and rng.random() < config.mosaic9 else 4
        chosen = [index, *rng.integers(len(self), size=count - 1).tolist()]
        tiles = [stretched(self._read(i), rng, config.aspect) for i in chosen]
        canvas = copy_paste(mosaic(tiles, side, rng), config.copy_paste, rng)
        return random_affine(canvas, (side, side), config, rng)

    def _letterboxed(self, index: int, side_hw: tuple[int, int]) -> Sample:
        """The picture in the middle of one of the wanted size; shrunk to fit if it must, never enlarged here."""
        sample = self._read(index)
        height, width = sample.image.shape[:2]
        scale = min(side_hw[0] / height, side_hw[1] / width, 1.0)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
            sample = Sample.of(image, self._images[index], self._num_classes)  # type: ignore[arg-type]
            height, width = image.shape[:2]
        canvas = np.full((*side_hw, 3), PAD, np.uint8)
        left, top = (side_hw[1] - width) // 2, (side_hw[0] - height) // 2
        canvas[top : top + height, left : left + width] = sample.image
        return sample.moved(left, top, canvas)


class EpochBatches(Sampler[list[Place]]):
    """Batches of one epoch, in an order of its own; every process of a distributed run takes its share of each batch.

    Args:
        shapes_hw: of the pictures.
        batch_size: of all processes together.
        side: of the network's input, px.
        stride: that sides of rectangular batches are multiples of.
        seed: of the run.
        rectangular: batches of pictures of like aspect, with no more padding than that needs.
        rank: number of this process.
        world: how many processes there are.
    """

    def __init__(
        self,
        shapes_hw: Sequence[tuple[int, int]],
        batch_size: int,
        side: int,
        stride: int,
        seed: int,
        *,
        rectangular: bool = False,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._shapes = np.array(shapes_hw, np.float64)
        self._batch_size = batch_size
        self._side = side
        self._stride = stride
        self._seed = seed
        self._rectangular = rectangular
        self._rank = rank
        self._world = world
        self.epoch = 0

    def __len__(self) -> int:
        # The last, smaller batch is left out: batch statistics of a few pictures are bad ones. A set that is smaller
        # than a batch is one batch.
        return max(1, len(self._shapes) // self._batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        rng = np.random.default_rng((self._seed, self.epoch))
        order = rng.permutation(len(self._shapes))
        if self._rectangular:
            aspect = self._shapes[:, 0] / self._shapes[:, 1]
            order = order[np.argsort(aspect[order].round(2), kind="stable")]
        batches = [order[i * self._batch_size : (i + 1) * self._batch_size] for i in range(len(self))]
        for number in rng.permutation(len(batches)):
            batch = batches[number]
            side_hw = self._side_hw(batch)
            places = [
                (self.epoch, int(number) * self._batch_size + i, int(index), side_hw) for i, index in enumerate(batch)
            ]
            share = -(-len(places) // self._world)
            yield places[self._rank * share : (self._rank + 1) * share]

    def _side_hw(self, batch: np.ndarray[tuple[int], np.dtype[np.int64]]) -> tuple[int, int]:
        if not self._rectangular:
            return self._side, self._side
        aspect = self._shapes[batch, 0] / self._shapes[batch, 1]  # height by width
        height = self._side * min(1.0, float(aspect.max()))
        width = self._side * min(1.0, float((1 / aspect).max()))
        return _up(height, self._stride), _up(width, self._stride)


def collate(samples: Sequence[tuple[Sample, int]]) -> Batch:
    """One batch of samples of one size."""
    pixels = np.stack([sample.image for sample, _ in samples])
    boxes, regions = [], []
    for number, (sample, _) in enumerate(samples):
        size = sample.xyxy[:, 2:] - sample.xyxy[:, :2]
        first = np.full((len(size), 1), number, np.float32)
        boxes.append(np.concatenate([first, sample.class_id[:, None], sample.xyxy[:, :2] + size / 2, size], 1))
        regions.append(np.concatenate([np.full((len(sample.regions), 1), number), sample.regions], 1))
    targets = Targets(
        torch.from_numpy(np.concatenate(boxes).astype(np.float32)),
        torch.from_numpy(np.concatenate(regions).astype(np.float32)),
        torch.from_numpy(np.concatenate([sample.region_classes for sample, _ in samples])),
    )
    return Batch(torch.from_numpy(pixels).permute(0, 3, 1, 2), targets, tuple(index for _, index in samples))


def training_loader(
    pictures: TrainingPictures, batches: EpochBatches, *, workers: int, pin_memory: bool = False
) -> DataLoader[Batch]:
    """Batches from worker processes; set `batches.epoch` before each pass.

    Args:
        pictures: what the batches are made of.
        batches: which pictures, in which order.
        workers: processes; 0 makes the batches in this one.
        pin_memory: for a GPU.
    """
    several = (
        {
            "multiprocessing_context": multiprocessing.get_context("fork"),  # the store's memory is shared this way
            "persistent_workers": True,
            "prefetch_factor": 4,
            "worker_init_fn": _start_worker,
        }
        if workers
        else {}
    )
    return DataLoader(
        pictures,  # type: ignore[arg-type]
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin_memory,
        **several,  # type: ignore[arg-type]
    )


def _start_worker(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that trains decides
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _calmer(config: AugmentConfig) -> AugmentConfig:
    """Geometry for pictures that stand alone: they fill the view already, so they are hardly enlarged or shifted."""
    from dataclasses import replace

    low, high = config.scale
    return replace(config, translate=min(config.translate, 0.1), scale=(max(low, 0.7), min(max(high, 1.0), 1.2)))


def _up(value: float, multiple: int) -> int:
    return max(1, -(-int(np.ceil(value)) // multiple)) * multiple
