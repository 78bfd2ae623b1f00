"""YOLOX's learning rate: quadratic warm-up, cosine, and a flat end for the epochs without augmentation."""

from __future__ import annotations

import math


def yolox_warm_cosine(
    step: int,
    *,
    base_lr: float,
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float,
    warmup_start_lr: float,
    no_aug_epochs: int,
    min_lr_ratio: float,
) -> float:
    """Learning rate of a step.

    Args:
        step: number of the batch since training began, from 0.
        base_lr: highest learning rate; published as 0.01 / 64 times the batch size.
        steps_per_epoch: batches per epoch.
        epochs: of the run.
        warmup_epochs: length of the warm-up.
        warmup_start_lr: first learning rate.
        no_aug_epochs: last epochs, which have the least learning rate.
        min_lr_ratio: the least one, as a share of `base_lr`.

    Source: YOLOX's published schedule "yoloxwarmcos".
    """
    least = base_lr * min_lr_ratio
    warm, flat = warmup_epochs * steps_per_epoch, no_aug_epochs * steps_per_epoch
    total = epochs * steps_per_epoch
    if step <= warm and warm > 0:
        return (base_lr - warmup_start_lr) * (step / warm) ** 2 + warmup_start_lr
    if step >= total - flat:
        return least
    progress = (step - warm) / (total - warm - flat)
    return least + 0.5 * (base_lr - least) * (1 + math.cos(math.pi * progress))
