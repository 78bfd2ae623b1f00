"""YOLO's layout, ready to train on: data.yaml, images/<split>/ and labels/<split>/, divided by whole videos.

YOLO's labels cannot tell what was seen from what was assumed, so assumed boxes are left out unless asked for. A frame
without objects becomes a picture with an empty label file: background to learn from.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.data.training_set import TrainingImage
from detector.data.write_yolo import data_yaml_text, label_text
from pipeline.archive.every import Every
from pipeline.archive.formats.names import flat_names
from pipeline.archive.formats.options import FormatOptions
from pipeline.archive.formats.pictures import pictured, write_picture
from pipeline.archive.record import AnnotatedVideo

SPLITS = ("train", "val", "test")


def write_yolo(videos: Sequence[AnnotatedVideo], folder: Path, options: FormatOptions) -> None:
    """Write pictures, labels and data.yaml.

    Raises:
        SourceError, DatasetError: see `pictured`.
        OSError: the system refused.
    """
    every = Every.parse(options.images or "every=1s")
    split_of = deal_out([video.facts.n_frames for video in videos], options.split, options.seed)
    names = flat_names([video.facts.name for video in videos])
    for video, name, split in zip(videos, names, split_of, strict=True):
        labels = folder / "labels" / split
        labels.mkdir(parents=True, exist_ok=True)
        for one, image in pictured(video, every):
            picture = folder / "images" / split / f"{name}_{one.frame:06d}.jpg"
            write_picture(picture, image)
            shape_hw = (image.shape[0], image.shape[1])
            labelled = TrainingImage(picture, shape_hw, one.tracks.xyxy, one.tracks.class_id.astype(np.int64))
            (labels / f"{picture.stem}.txt").write_text(label_text(labelled), encoding="utf-8")
    used = [split for split in SPLITS if split in split_of]
    (folder / "data.yaml").write_text(data_yaml_text(videos[0].class_names, used), encoding="utf-8")


def deal_out(sizes: Sequence[int], shares: Sequence[float], seed: int) -> list[str]:
    """The split of each video. No video is divided: pictures of one video look alike, and would test what was learnt.

    The longest go first, each to the split that lacks most for its share; with as many videos as splits or more, every
    split gets one.

    Args:
        sizes: of the videos, frames.
        shares: of train, val and perhaps test; what counts is their ratio.
        seed: of the order among equally long videos.
    """
    splits = SPLITS[: len(shares)]
    order = list(range(len(sizes)))
    random.Random(seed).shuffle(order)
    order.sort(key=lambda number: -sizes[number])
    whole, total = sum(shares), sum(sizes)
    lacking = {split: share / whole * total for split, share in zip(splits, shares, strict=True)}
    found = [""] * len(sizes)
    for position, number in enumerate(order):
        empty = [split for split in splits if split not in found]
        left = len(order) - position
        candidates = empty if len(empty) >= left else splits
        split = max(candidates, key=lambda name: (lacking[name], -splits.index(name)))
        found[number] = split
        lacking[split] -= sizes[number]
    return found
