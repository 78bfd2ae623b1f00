"""Batches: the same numbers whatever makes them, every picture once, shares that fit together."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detector.data.augment import AugmentConfig
from detector.data.image_store import ImageStore
from detector.data.loader import Batch, EpochBatches, TrainingPictures, training_loader
from detector.data.training_set import TrainingImage, TrainingSet
from pipeline.core.errors import DatasetError


@pytest.fixture
def tiny_set(tmp_path: Path) -> TrainingSet:
    rng = np.random.default_rng(0)
    images = []
    for number in range(12):
        height, width = (60, 100) if number % 3 else (100, 60)
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (height, width, 3)).astype(np.uint8))
        images.append(
            TrainingImage(
                path=path,
                shape_hw=(height, width),
                xyxy=np.array([[10, 10, 40, 50]], np.float32),
                class_id=np.array([number % 2]),
                unlabelled=frozenset({1}) if number == 0 else frozenset(),
            )
        )
    return TrainingSet(tmp_path / "data.yaml", ("a", "b"), tuple(images), (0, 1))


def _epoch(
    data: TrainingSet, *, epoch: int = 0, workers: int = 0, augment: AugmentConfig | None = None, plain: int = 99
) -> list[Batch]:
    pictures = TrainingPictures(data, ImageStore(data.images, 64), augment or AugmentConfig(), 7, plain)
    batches = EpochBatches([image.shape_hw for image in data.images], 4, 64, 32, 7)
    batches.epoch = epoch
    return list(training_loader(pictures, batches, workers=workers))


def _same(a: list[Batch], b: list[Batch]) -> bool:
    return all(
        torch.equal(x.images, y.images)
        and torch.equal(x.targets.boxes, y.targets.boxes)
        and torch.equal(x.targets.regions, y.targets.regions)
        for x, y in zip(a, b, strict=True)
    )


def test_workers_change_nothing(tiny_set: TrainingSet) -> None:
    alone = _epoch(tiny_set)
    assert _same(alone, _epoch(tiny_set, workers=2))
    assert not _same(alone, _epoch(tiny_set, epoch=1))


def test_batches_are_channels_last_bytes(tiny_set: TrainingSet) -> None:
    batch = _epoch(tiny_set)[0]
    assert batch.images.shape == (4, 3, 64, 64)
    assert batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.targets.boxes.shape[1] == 6
    assert set(batch.targets.boxes[:, 0].tolist()) <= {0, 1, 2, 3}


def test_the_last_epochs_show_pictures_one_by_one(tiny_set: TrainingSet) -> None:
    calm = AugmentConfig(translate=0, scale=(1, 1), flip_lr=0, hsv_h=0, hsv_s=0, hsv_v=0)
    for batch in _epoch(tiny_set, epoch=5, plain=5, augment=calm):
        for number, index in enumerate(batch.indices):
            rows = batch.targets.boxes[batch.targets.boxes[:, 0] == number]
            assert len(rows) == 1
            height, width = tiny_set.images[index].shape_hw
            scale = 64 / max(height, width)
            left, top = (64 - round(width * scale)) // 2, (64 - round(height * scale)) // 2
            assert rows[0, 2:].tolist() == pytest.approx(
                [left + 25 * scale, top + 30 * scale, 30 * scale, 40 * scale], abs=0.6
            )


def test_incomplete_labels_reach_the_batch(tiny_set: TrainingSet) -> None:
    regions = [batch.targets for batch in _epoch(tiny_set, epoch=5, plain=5)]
    partly = [classes.tolist() for targets in regions for classes in targets.region_classes if not classes.all()]
    assert partly == [[False, True, False]]


def test_every_picture_once_per_epoch_in_another_order() -> None:
    batches = EpochBatches([(10, 10)] * 12, 4, 64, 32, 0)
    first = [place[2] for batch in batches for place in batch]
    batches.epoch = 1
    second = [place[2] for batch in batches for place in batch]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_processes_share_each_batch() -> None:
    shapes = [(10, 10)] * 12
    whole = list(EpochBatches(shapes, 4, 64, 32, 0))
    shares = [list(EpochBatches(shapes, 4, 64, 32, 0, rank=rank, world=2)) for rank in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole


def test_a_set_smaller_than_a_batch_is_one_batch() -> None:
    batches = EpochBatches([(10, 10)] * 3, 8, 64, 32, 0)
    assert len(batches) == 1
    assert [len(batch) for batch in batches] == [3]


def test_rectangular_batches_hold_like_aspects() -> None:
    shapes = [(60, 100)] * 8 + [(100, 60)] * 8
    batches = EpochBatches(shapes, 4, 128, 32, 0, rectangular=True)
    seen = {batch[0][3] for batch in batches}
    assert seen == {(96, 128), (128, 96)}
    for batch in batches:
        assert len({place[3] for place in batch}) == 1


def test_rectangular_batches_contain_the_whole_picture(tiny_set: TrainingSet) -> None:
    calm = AugmentConfig(mosaic=0, translate=0, scale=(1, 1), flip_lr=0)
    pictures = TrainingPictures(tiny_set, ImageStore(tiny_set.images, 128), calm, 0, 9)
    sample, _ = pictures[(0, 0, 1, (96, 128))]
    assert sample.image.shape == (96, 128, 3)
    assert sample.xyxy[0] == pytest.approx(np.array([10, 10, 40, 50]) * 1.28 + np.array([0, 9, 0, 9]), abs=1)


def test_the_store_gives_the_same_with_and_without_keeping(tiny_set: TrainingSet) -> None:
    kept, plain = ImageStore(tiny_set.images, 48), ImageStore(tiny_set.images, 48, keep=False)
    for index in range(len(kept)):
        assert max(kept[index].shape) == 48
        assert (kept[index] == plain[index]).all()
        assert (kept[index] == plain[index]).all(), "the second time from memory"


def test_the_store_names_a_picture_that_changed(tiny_set: TrainingSet) -> None:
    tiny_set.images[0].path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"0\.png: wanted an image"):
        ImageStore(tiny_set.images, 48)[0]
    cv2.imwrite(str(tiny_set.images[1].path), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(DatasetError, match=r"1\.png: wanted .*found \(5, 5\)"):
        ImageStore(tiny_set.images, 48)[1]
