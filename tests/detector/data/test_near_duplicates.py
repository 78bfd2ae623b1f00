"""Look-alikes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.data.near_duplicates import CELLS, NOISE, Gallery, difference, fingerprint, group_look_alikes
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import ShapeError, UsageError


def _scene(seed: int, height: int = 240, width: int = 320) -> ImageArray:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_noise_compression_size_and_exposure_are_no_difference() -> None:
    scene = _scene(0)
    noisy = np.clip(scene + np.random.default_rng(1).normal(0, 8, scene.shape), 0, 255).astype(np.uint8)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", scene, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
    small = cv2.resize(scene, (200, 130), interpolation=cv2.INTER_AREA)
    darker = np.clip(scene.astype(np.int16) // 2 + 64 + 20, 0, 255).astype(np.uint8)
    look, darker_look = fingerprint(_half(scene)), fingerprint(darker)
    for other in (noisy, np.asarray(jpeg, np.uint8), np.asarray(small, np.uint8)):
        assert difference(fingerprint(scene), fingerprint(other)) < 0.005
    assert difference(look, darker_look) < 0.005


def _half(scene: ImageArray) -> ImageArray:
    return (scene // 2 + 64).astype(np.uint8)


def test_the_difference_is_the_share_of_the_picture_that_changed() -> None:
    still = np.full((320, 320, 3), 90, np.uint8)
    moved = still.copy()
    moved[:80, :80] = 200
    assert difference(fingerprint(still), fingerprint(moved)) == pytest.approx(1 / 16, abs=1e-3)
    assert difference(fingerprint(_scene(1)), fingerprint(_scene(2))) > 0.5


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="wanted a uint8 picture"):
        fingerprint(image)


def test_a_gallery_tells_which_picture_looks_alike() -> None:
    gallery = Gallery(0.02)
    looks = [fingerprint(_scene(seed)) for seed in range(100)]
    for look in looks:
        assert gallery.look_alike(look) is None
        gallery.add(look)
    assert len(gallery) == 100
    assert [gallery.look_alike(look) for look in looks] == list(range(100))


def test_a_gallery_without_a_least_difference_takes_everything() -> None:
    gallery = Gallery(0)
    look = fingerprint(_scene(0))
    gallery.add(look)
    assert gallery.look_alike(look) is None


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_a_least_difference_is_a_share(value: float) -> None:
    with pytest.raises(UsageError, match="from 0 to 1"):
        Gallery(value)


def test_a_chain_of_look_alikes_is_one_group() -> None:
    still = np.full((320, 320, 3), 90, np.uint8)
    chain = []
    for step in range(4):
        image = still.copy()
        image[:40, : 40 * (step + 1)] = 200
        chain.append(fingerprint(image))
    looks = np.stack([fingerprint(_scene(5)), *chain, fingerprint(_scene(5))])
    assert group_look_alikes(looks, 0.02).tolist() == [0, 1, 1, 1, 1, 0]
    assert group_look_alikes(looks, 0.01).tolist() == [0, 1, 2, 3, 4, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0]), st.integers(0, 1024)
)
def test_no_two_of_different_groups_look_alike(seed: int, n: int, limit: float, changed: int) -> None:
    rng = np.random.default_rng(seed)
    looks = np.zeros((n, CELLS), np.int16)
    for row in looks:
        row[rng.permutation(CELLS)[: rng.integers(0, changed + 1)]] = 2 * NOISE
    groups = group_look_alikes(looks, limit)
    for i in range(n):
        assert groups[i] <= i
        assert groups[groups[i]] == groups[i]
        alike = [j for j in range(n) if j != i and difference(looks[i], looks[j]) < limit]
        assert all(groups[j] == groups[i] for j in alike)
        assert alike or (groups == groups[i]).sum() == 1


def test_nothing_has_no_groups() -> None:
    assert group_look_alikes(np.zeros((0, CELLS), np.int16), 0.1).shape == (0,)
