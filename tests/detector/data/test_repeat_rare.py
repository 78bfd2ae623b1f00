"""Repeating the pictures of rare classes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from detector.data.repeat_rare import repeat_rare
from detector.data.training_set import TrainingImage, TrainingSet


def of_classes(*classes: tuple[int, ...]) -> TrainingSet:
    images = tuple(
        TrainingImage(
            path=Path(f"{number}.jpg"),
            shape_hw=(10, 10),
            xyxy=np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(ids), 1)),
            class_id=np.array(ids, np.int64),
        )
        for number, ids in enumerate(classes)
    )
    return TrainingSet(Path("data.yaml"), ("common", "rare", "absent"), images, (1, 2, 3))


def test_zero_changes_nothing() -> None:
    given = of_classes((0,), (1,))
    assert repeat_rare(given, 0) is given


def test_a_class_in_a_twentieth_of_the_pictures() -> None:
    """sqrt(0.2 / 0.05) = 2: every picture with it comes twice, all others once, in their order."""
    given = of_classes(*[(0,)] * 19, (0, 1))
    found = repeat_rare(given, 0.2)
    assert [image.path.name for image in found.images] == [f"{n}.jpg" for n in range(20)] + ["19.jpg"]
    assert (len(given.images), found.class_names, found.category_ids) == (20, given.class_names, given.category_ids)


@pytest.mark.parametrize(("share", "wanted"), [(0.1, 1.0), (0.2, 2**0.5), (0.225, 1.5), (0.9, 3.0)])
def test_broken_numbers_add_up(share: float, wanted: float) -> None:
    given = of_classes(*[(0,)] * 180, *[(1,)] * 20)
    times = Counter(image.path.name for image in repeat_rare(given, share).images)
    rare = [times[f"{n}.jpg"] for n in range(180, 200)]
    assert sum(rare) == pytest.approx(20 * wanted, abs=1)
    assert set(rare) <= {int(wanted), int(wanted) + 1}
    assert sum(times.values()) - sum(rare) == pytest.approx(180 * max(1.0, (share / 0.9) ** 0.5), abs=1)


def test_pictures_without_objects_and_empty_sets() -> None:
    assert len(repeat_rare(of_classes((), (), (0,)), 0.3).images) == 3
    assert repeat_rare(of_classes(), 0.3).images == ()
