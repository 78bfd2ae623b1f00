"""Pictures to measure the ranges of a network's values on, before it is rounded to 8 bits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from detector.data.data_yaml import Entry
from detector.data.image_list import IMAGE_SUFFIXES, named_images
from detector.letterbox import round_up_to_stride
from detector.preprocess import Preprocess, make_batches
from detector.validation import read_dataset
from pipeline.core.arrays import ImageArray
from pipeline.core.errors import DatasetError, UsageError

_LABELLED = (".json", ".yaml", ".yml")


def read_calibration(path: Path, n_pictures: int, *, split: str = "train") -> Iterator[ImageArray]:
    """Pictures spread evenly over the user's own footage or data, as uint8 (h, w, 3) BGR.

    Args:
        path: a video, a picture, a folder of pictures or a .txt list of them, a data.yaml or a COCO .json.
        n_pictures: most pictures to give; all where there are fewer.
        split: which one of a data.yaml.

    Raises:
        DatasetError: none of these, or a picture in it cannot be read.
        UsageError: no picture is asked for.
    """
    if n_pictures < 1:
        raise UsageError(f"calibration: wanted 1 picture or more, found {n_pictures}")
    if not path.exists():
        raise DatasetError(f"{path}: wanted footage or pictures to calibrate with, found no such file")
    suffix = path.suffix.lower()
    if path.is_dir() or suffix == ".txt":
        files = [image.path for image in named_images(Entry(path), path.parent)]
    elif suffix in _LABELLED:
        files = [image.path for image in read_dataset(path, split).images]
    elif suffix in IMAGE_SUFFIXES:
        files = [path]
    else:
        return _frames(path, n_pictures)
    return (_picture(files[place]) for place in _spread(len(files), n_pictures))


def calibration_canvases(
    pictures: Iterable[ImageArray], limit_hw: tuple[int, int], preprocess: Preprocess, stride: int | None
) -> list[ImageArray]:
    """Pictures letterboxed as a running detector does it: each uint8 (1, h, w, 3) BGR.

    Args:
        pictures: uint8 (h, w, 3) BGR.
        limit_hw: height and width that each resized picture must fit in, px; rounded up to the stride.
        preprocess: what the model was trained with.
        stride: what height and width of the canvases are multiples of, which are rectangular as the pictures come;
            None = all are of `limit_hw`, for a file that takes nothing else.
    """
    height, width = (round_up_to_stride(side, stride or 1) for side in limit_hw)
    return [make_batches([picture], (height, width), preprocess, stride=stride)[0].canvases for picture in pictures]


def _spread(n_there: int, n_wanted: int) -> list[int]:
    """Ascending numbers below `n_there`, as far apart as they can be."""
    return [place * n_there // n_wanted for place in range(n_wanted)] if n_wanted < n_there else list(range(n_there))


def _picture(file: Path) -> ImageArray:
    pixels = cv2.imread(str(file))
    if pixels is None:
        state = "a file that cannot be decoded" if file.exists() else "no file"
        raise DatasetError(f"{file}: wanted a picture to calibrate with, found {state}")
    return np.asarray(pixels, np.uint8)


def _frames(file: Path, n_wanted: int) -> Iterator[ImageArray]:
    """Frames of a video. Jumps land on the frame asked for or near it, which is as good here."""
    video = cv2.VideoCapture(str(file))
    try:
        n_found = 0
        for place in _spread(max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0), n_wanted):
            video.set(cv2.CAP_PROP_POS_FRAMES, place)
            is_read, pixels = video.read()
            if is_read:
                n_found += 1
                yield np.asarray(pixels, np.uint8)
    finally:
        video.release()
    if not n_found:
        raise DatasetError(
            f"{file}: wanted a video, pictures, a data.yaml or a COCO .json to calibrate with, "
            "found a file without frames that can be read"
        )
