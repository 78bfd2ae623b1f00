"""Dividing pictures into training and validation parts, look-alikes never apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.core.arrays import IntArray
from pipeline.core.errors import UsageError

BLOCK_PICTURES = 50
"""A long recording is cut into runs of so many pictures, each of which is divided: validation sees all times of day."""


def parse_parts(text: str) -> dict[str, float]:
    """`train=0.8,val=0.2` as shares by name, in that order.

    Raises:
        UsageError: not of that form, a name that stands twice, or shares that are not above 0 with a sum of 1.
    """
    parts: dict[str, float] = {}
    for item in text.split(","):
        name, _, share = (word.strip() for word in item.partition("="))
        try:
            value = float(share)
        except ValueError:
            raise UsageError(f"parts: wanted name=share, such as train=0.8,val=0.2; found {item!r}") from None
        if not name or name in parts or name.strip("./\\") != name:
            raise UsageError(f"parts: wanted each part's plain name once, found {name!r} in {text!r}")
        parts[name] = value
    check_shares(parts)
    return parts


def check_shares(parts: Mapping[str, float]) -> None:
    """Raises UsageError unless every share is above 0 and all make 1."""
    if not parts or not all(0 < share <= 1 for share in parts.values()) or abs(sum(parts.values()) - 1) > 1e-6:
        shown = ", ".join(f"{name}={share:g}" for name, share in parts.items())
        raise UsageError(f"parts: wanted shares above 0 that make 1 together, found {shown or 'none'}")


def split_stratified(
    groups: IntArray, class_counts: NDArray[np.int64], shares: Sequence[float], seed: int = 0
) -> IntArray:
    """Divide pictures by whole groups, so that every part has about its share of each class and of all pictures.

    The rarest class still to be divided goes first, and its groups, largest first, go to the part that lacks most of it
    for its share; pictures without boxes come last.

    Args:
        groups: int64 (n,), the group of each picture.
        class_counts: int64 (n, c), boxes of each class in each picture.
        shares: of the parts; their sum is 1.
        seed: of the order in which equal groups are taken.

    Returns:
        int64 (n,), the part of each picture.

    Source: iterative stratification (Sechidis et al., ECML PKDD 2011, section 3.2), with groups as its examples.
    """
    _, group_of, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    counts = np.zeros((len(sizes), class_counts.shape[1]), np.int64)
    np.add.at(counts, group_of, class_counts)
    order = np.random.default_rng(seed).permutation(len(sizes))
    share = np.asarray(shares, np.float64)
    lacking_pictures = share * len(groups)
    lacking_boxes = share[:, None] * counts.sum(axis=0)
    part_of_group = np.full(len(sizes), -1, np.int64)

    def assign(group: int, lacking: NDArray[np.float64]) -> None:
        # What is lacking counts relative to the share: otherwise the largest groups would all go to the largest part.
        lack = lacking / share
        best = np.flatnonzero(lack >= lack.max() - 1e-9)
        part = int(best[np.argmax(lacking_pictures[best] / share[best])])
        part_of_group[group] = part
        lacking_pictures[part] -= sizes[group]
        lacking_boxes[part] -= counts[group]

    while True:
        left = part_of_group < 0
        boxes_left = counts[left].sum(axis=0)
        if not boxes_left.any():
            break
        rarest = int(np.argmin(np.where(boxes_left > 0, boxes_left, np.iinfo(np.int64).max)))
        having = [group for group in order if left[group] and counts[group, rarest]]
        for group in sorted(having, key=lambda group: -counts[group, rarest]):
            assign(group, lacking_boxes[:, rarest])
    for group in sorted((group for group in order if part_of_group[group] < 0), key=lambda group: -sizes[group]):
        assign(group, lacking_pictures)
    return part_of_group[group_of]


def split_in_time(recordings: Sequence[str], groups: IntArray, shares: Sequence[float]) -> IntArray:
    """Divide pictures of recordings into stretches of time.

    Every run of 50 pictures of a recording is cut into one stretch per part. A run too short to give every part a
    picture goes whole to the part that lacks most. In the end a group of look-alikes follows its majority.

    Args:
        recordings: the recording of each picture; pictures of one recording in the order of time.
        groups: int64 (n,), the group of each picture.
        shares: of the parts; their sum is 1.

    Returns:
        int64 (n,), the part of each picture.
    """
    parts = np.zeros(len(recordings), np.int64)
    lack = np.zeros(len(shares))
    names = np.asarray(recordings, np.str_)
    for name in dict.fromkeys(recordings):
        rows = np.flatnonzero(names == name)
        for run in np.array_split(rows, max(1, round(len(rows) / BLOCK_PICTURES))):
            lack += np.asarray(shares) * len(run)
            parts[run] = _cut(len(run), shares, lack)
            lack -= np.bincount(parts[run], minlength=len(shares))
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        parts[rows] = np.argmax(np.bincount(parts[rows], minlength=len(shares)))
    return parts


def _cut(n: int, shares: Sequence[float], lack: NDArray[np.float64]) -> IntArray:
    """The parts of `n` pictures in a row."""
    if n * min(shares) < 1:
        return np.full(n, int(np.argmax(lack)), np.int64)
    # What the runs before left over is made up for here, as far as every part keeps a picture.
    sizes = np.maximum(np.floor(lack), 1).astype(np.int64)
    sizes[int(np.argmax(shares))] += n - sizes.sum()
    if sizes.min() < 1:
        sizes = np.maximum(np.floor(np.asarray(shares) * n), 1).astype(np.int64)
        sizes[int(np.argmax(shares))] += n - sizes.sum()
    return np.repeat(np.arange(len(shares)), sizes)
