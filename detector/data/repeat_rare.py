"""Repeating the pictures of rare classes, so that a network sees them more often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detector.data.training_set import TrainingSet


def repeat_rare(training_set: TrainingSet, share: float) -> TrainingSet:
    """The set with pictures of rare classes in it several times, side by side; the others stay once.

    A class that is in a share f of the pictures asks for sqrt(share / f) repeats of each of them, if that is above 1; a
    picture is repeated as its rarest class asks. Broken numbers are carried over from picture to picture, so that the
    sum is right and the same every time.

    Args:
        training_set: stays as it is.
        share: in [0, 1]; 0 repeats nothing.

    Source: LVIS (arXiv 1908.03195), appendix B, repeat factor sampling, there with broken numbers drawn by lot.
    """
    images = training_set.images
    if not share or not images:
        return training_set
    holds = np.zeros((len(images), len(training_set.class_names)), np.bool_)
    for row, image in zip(holds, images, strict=True):
        row[image.class_id] = True
    frequency = holds.mean(axis=0)
    asked = np.maximum(1.0, np.sqrt(share / np.maximum(frequency, 1 / len(images))))
    factors = np.where(holds, asked, 1.0).max(axis=1)
    times = np.diff(np.floor(np.cumsum(factors) + 1e-9), prepend=0).astype(int)
    return replace(training_set, images=tuple(image for image, n in zip(images, times, strict=True) for _ in range(n)))
