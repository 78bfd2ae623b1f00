"""Labels follow the pixels through every change."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data.augment import (
    AugmentConfig,
    copy_paste,
    flip,
    hsv_jitter,
    mirrored,
    mixup,
    mosaic,
    paste_in,
    random_affine,
    stretched,
)
from detector.data.sample import Sample
from detector.data.training_set import TrainingImage

NC = 3


def _scene(
    height: int, width: int, box: tuple[int, int, int, int], *, class_id: int = 1, region: bool = False
) -> Sample:
    """A white object on black, with its box, its outline and perhaps a region at the same place."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    xyxy = np.array([box], np.float32)
    outline = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)
    return Sample(
        image,
        xyxy,
        np.array([class_id], np.int64),
        xyxy.copy() if region else np.zeros((0, 4), np.float32),
        np.ones((int(region), NC + 1), np.bool_),
        ((outline,),),
    )


def _white_box(image: np.ndarray) -> np.ndarray:
    ys, xs = np.nonzero(image[..., 1] > 200)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


@pytest.mark.parametrize(
    "config",
    [
        AugmentConfig(translate=0.2, scale=(0.6, 1.4)),
        AugmentConfig(translate=0.1, scale=(0.8, 1.2), degrees=20),
        AugmentConfig(translate=0.1, scale=(0.8, 1.2), shear=8),
        AugmentConfig(translate=0.05, scale=(0.9, 1.1), perspective=0.0005),
    ],
    ids=["scale", "rotation", "shear", "perspective"],
)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_geometry_moves_boxes_with_the_pixels(config: AugmentConfig, seed: int) -> None:
    scene = _scene(120, 160, (60, 40, 110, 80), region=True)
    moved = random_affine(scene, (128, 128), config, np.random.default_rng(seed))
    assert moved.image.shape == (128, 128, 3)
    if len(moved.xyxy):
        assert moved.xyxy[0] == pytest.approx(_white_box(moved.image), abs=2.5)
        assert (moved.regions[0, :2] <= moved.xyxy[0, :2] + 0.01).all()
        assert (moved.regions[0, 2:] >= moved.xyxy[0, 2:] - 0.01).all()
    else:
        assert (moved.image > 200).sum() < 0.15 * 3 * 50 * 40 * 1.96


@pytest.mark.parametrize("count", [4, 9])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_mosaics_keep_every_visible_object(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    side = 64
    tiles = [_scene(48 if i % 2 else 64, 64 if i % 2 else 48, (10, 10, 30, 30), class_id=i % NC) for i in range(count)]
    canvas = mosaic(tiles, side, rng)
    assert canvas.image.shape == (2 * side, 2 * side, 3)
    assert len(canvas.outlines) == len(canvas.xyxy)
    rest = canvas.image[..., 1] > 200
    for x1, y1, x2, y2 in canvas.xyxy.round().astype(int):
        assert rest[y1:y2, x1:x2].all()
        rest[y1:y2, x1:x2] = False
    for x1, y1, x2, y2 in np.c_[np.floor(canvas.regions[:, :2]), np.ceil(canvas.regions[:, 2:])].astype(int):
        rest[y1:y2, x1:x2] = False  # what is cut to a sliver is a region, not background
    assert not rest.any()


@pytest.mark.parametrize("axis", [0, 1])
def test_mirror_images(axis: int) -> None:
    turned = mirrored(_scene(50, 80, (10, 5, 30, 20), region=True), axis)
    assert turned.xyxy[0].tolist() == _white_box(turned.image).tolist()
    assert turned.regions[0].tolist() == turned.xyxy[0].tolist()
    outline = np.concatenate(turned.outlines[0])
    assert [*outline.min(0), *outline.max(0)] == turned.xyxy[0].tolist()


def test_flips_follow_their_probabilities() -> None:
    scene = _scene(50, 80, (10, 5, 30, 20))
    rng = np.random.default_rng(0)
    turned = [flip(scene, AugmentConfig(flip_lr=0.3, flip_ud=0), rng).xyxy[0, 0] != 10 for _ in range(500)]
    assert 0.22 < np.mean(turned) < 0.38


def test_a_box_that_is_cut_to_a_sliver_becomes_a_region() -> None:
    scene = _scene(100, 100, (10, 10, 60, 60)).moved(-57, 0, np.zeros((100, 100, 3), np.uint8)).clipped()
    assert len(scene.xyxy) == 0
    assert scene.regions.tolist() == [[0, 10, 3, 60]]
    assert scene.region_classes.all()


def test_a_box_outside_leaves_nothing() -> None:
    scene = _scene(100, 100, (10, 10, 60, 60)).moved(-80, 0, np.zeros((100, 100, 3), np.uint8)).clipped()
    assert len(scene.xyxy) == len(scene.regions) == 0


def test_stretching_keeps_the_area() -> None:
    scene = stretched(_scene(100, 200, (50, 20, 150, 60)), np.random.default_rng(3), 1.4)
    height, width = scene.image.shape[:2]
    assert height * width == pytest.approx(20_000, rel=0.02)
    assert width / height != pytest.approx(2, rel=0.01)
    assert scene.xyxy[0] == pytest.approx(_white_box(scene.image), abs=1.5)


def test_colours_change_and_nothing_else() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    before = image.copy()
    changed = hsv_jitter(image, AugmentConfig(), np.random.default_rng(1))
    assert changed.shape == image.shape
    assert (changed != image).any()
    assert (image == before).all()
    same = hsv_jitter(image, AugmentConfig(hsv_h=0, hsv_s=0, hsv_v=0), np.random.default_rng(1))
    assert (same == image).all()
    grey = hsv_jitter(image, AugmentConfig(grey=1.0), np.random.default_rng(1))
    assert np.ptp(grey.astype(int), axis=2).max() <= 1


def test_mixing_keeps_both_pictures_labels() -> None:
    a, b = _scene(40, 40, (5, 5, 15, 15), class_id=0), _scene(40, 40, (20, 20, 35, 35), class_id=2, region=True)
    mixed = mixup(a, b, 8.0, np.random.default_rng(0))
    assert mixed.class_id.tolist() == [0, 2]
    assert len(mixed.regions) == 1
    assert 50 < mixed.image[10, 10, 0] < 205
    assert 50 < mixed.image[30, 30, 0] < 205


def test_outlined_objects_are_pasted_mirrored() -> None:
    pasted = copy_paste(_scene(50, 100, (10, 10, 30, 30)), 1.0, np.random.default_rng(0))
    assert pasted.xyxy.tolist() == [[10, 10, 30, 30], [70, 10, 90, 30]]
    assert pasted.class_id.tolist() == [1, 1]
    assert (pasted.image[11:29, 71:89] == 255).all()
    in_the_middle = _scene(50, 100, (40, 10, 60, 30))
    assert len(copy_paste(in_the_middle, 1.0, np.random.default_rng(0)).xyxy) == 1, "it would hide itself"


def test_boxes_of_other_pictures_are_pasted_onto_free_places() -> None:
    onto = _scene(100, 100, (0, 0, 60, 100), class_id=0)
    others = [_scene(100, 100, (10, 10, 30, 40), class_id=2)] * 4
    rng = np.random.default_rng(0)
    results = [paste_in(onto, others, rng) for _ in range(20)]
    assert max(len(r.xyxy) for r in results) > 1
    for result in results:
        for (x1, y1, x2, y2), class_id in zip(result.xyxy[1:].astype(int), result.class_id[1:], strict=True):
            assert (x2 - x1, y2 - y1, class_id) == (20, 30, 2)
            assert (result.image[y1:y2, x1:x2] == 255).all()
            assert max(0, min(x2, 60) - x1) * (y2 - y1) < 0.3 * 60 * 100, "hides little of what was there"


def test_labels_are_scaled_with_the_picture() -> None:
    labels = TrainingImage(
        path=None,  # type: ignore[arg-type]
        shape_hw=(200, 400),
        xyxy=np.array([[40, 20, 80, 60]], np.float32),
        class_id=np.array([1]),
        ignore_xyxy=np.array([[0, 0, 400, 200]], np.float32),
        ignore_class_id=np.array([0]),
        unlabelled=frozenset({2}),
        outlines=((np.array([[40, 20], [80, 60], [40, 60]], np.float32),),),
    )
    sample = Sample.of(np.zeros((100, 200, 3), np.uint8), labels, NC)
    assert sample.xyxy.tolist() == [[20, 10, 40, 30]]
    assert sample.regions.tolist() == [[0, 0, 200, 100], [0, 0, 200, 100]]
    assert sample.region_classes.tolist() == [[True, True, True, True], [False, False, True, False]]
    assert sample.outlines[0][0].tolist() == [[20, 10], [40, 30], [20, 30]]


@pytest.mark.parametrize(
    "change", [lambda s, r: mosaic([s] * 4, 32, r), lambda s, r: random_affine(s, (32, 32), AugmentConfig(), r)]
)
def test_pictures_without_labels_pass(change: Callable[[Sample, np.random.Generator], Sample]) -> None:
    nothing = Sample(
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        np.zeros((0, 4), np.float32),
        np.zeros((0, NC + 1), np.bool_),
    )
    result = change(nothing, np.random.default_rng(0))
    assert len(result.xyxy) == len(result.regions) == 0
