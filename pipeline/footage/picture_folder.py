"""The data set on disk while it grows, and its last form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from detector.data.near_duplicates import Fingerprint, group_look_alikes
from detector.data.output_folder import clear_output_folder, write_manifest
from detector.data.split import split_in_time
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.write_coco import annotations_path, coco_document
from detector.data.write_yolo import data_yaml_text, label_text
from pipeline.core.frame import Frame
from pipeline.core.whole_file import write_whole, write_whole_json
from pipeline.footage.prelabel import PreLabel
from pipeline.footage.sampler import Reason
from pipeline.footage.settings import FootageSettings

JPEG_QUALITY = 95
LEAST_DIFFERENCE = 0.02
"""Pictures of different splits differ in at least this share of their area, also where all were to be kept."""
GROWING = "train"
"""While the folder grows all pictures are here, so that it is a data set at every moment."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    name: str
    source_id: str
    frame: int
    time_s: float | None
    why: Reason
    look: Fingerprint
    image: TrainingImage
    labels: tuple[PreLabel, ...]


class PictureFolder:
    """Writes pictures with their labels as they come, and divides them in the end.

    Args:
        folder: where; see `output_folder.check_output_folder`.
        settings: formats and shares.
        class_names: names by class_id; empty where nothing is known of classes: then there is no data.yaml, since
            YOLO's format needs names.
        labelled: whether a detector looks for objects; without, pictures get no label files (an empty one says that
            there is nothing in the picture).
    """

    def __init__(self, folder: Path, settings: FootageSettings, class_names: Sequence[str], *, labelled: bool) -> None:
        self._folder = folder
        self._settings = settings
        self._class_names = tuple(class_names)
        self._labelled = labelled
        self._pictures: list[_Picture] = []
        self._begun = False

    def __len__(self) -> int:
        """Number of pictures written."""
        return len(self._pictures)

    def _begin(self) -> None:
        """Make the folder, and remove what this program wrote there before."""
        self._begun = True
        clear_output_folder(self._folder)
        (self._folder / "images" / GROWING).mkdir(parents=True, exist_ok=True)
        write_manifest(self._folder, "from-video", {"status": "running"})
        self._write_data_yaml((GROWING,))

    def add(self, frame: Frame, why: Reason, look: Fingerprint, labels: Sequence[PreLabel]) -> None:
        """Write a picture and its YOLO labels; the first one replaces an older data set. Raises OSError."""
        if not self._begun:
            self._begin()
        suffix = f".{self._settings.picture}"
        name = f"{frame.source_id}_{frame.index:06d}{suffix}"
        path = self._folder / "images" / GROWING / name
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == ".jpg" else []
        _, encoded = cv2.imencode(suffix, frame.image, options)
        image = _training_image(path, frame, labels)
        write_whole(path, encoded.tobytes())
        if self._labelled and self._settings.format != "coco":
            write_whole(self._label_path(GROWING, name), label_text(image))
        picture = _Picture(name, frame.source_id, frame.index, frame.pts_s, why, look, image, tuple(labels))
        self._pictures.append(picture)

    def finish(self, facts: Mapping[str, Any]) -> dict[str, int]:
        """Divide the pictures, write data.yaml, COCO annotations and the manifest.

        Args:
            facts: for the head of the manifest.

        Returns:
            the number of pictures by split.

        Raises:
            OSError: the system refused; pictures and YOLO labels written before are complete.
        """
        if not self._begun:
            self._begin()
        split_of = self._divide()
        for picture, split in zip(self._pictures, split_of, strict=True):
            if split != GROWING:
                self._move(picture.name, split)
        by_split = {
            split: [p for p, its in zip(self._pictures, split_of, strict=True) if its == split]
            for split in self._settings.shares
        }
        filled = {split: pictures for split, pictures in by_split.items() if pictures}
        self._write_data_yaml(list(filled))
        if self._settings.format != "yolo":
            for split, pictures in filled.items():
                write_whole_json(annotations_path(self._folder, split), self._coco(split, pictures))
        records = [_manifest_record(p, split) for p, split in zip(self._pictures, split_of, strict=True)]
        write_manifest(self._folder, "from-video", {**facts, "pictures": records})
        return {split: len(pictures) for split, pictures in by_split.items()}

    def _divide(self) -> list[str]:
        if not self._pictures:
            return []
        least = max(self._settings.min_difference, LEAST_DIFFERENCE)
        groups = group_look_alikes(np.stack([picture.look for picture in self._pictures]), least)
        names, shares = tuple(self._settings.shares), tuple(self._settings.shares.values())
        parts = split_in_time([picture.source_id for picture in self._pictures], groups, shares)
        return [names[part] for part in parts.tolist()]

    def _move(self, name: str, split: str) -> None:
        for source, target in (
            (self._folder / "images" / GROWING / name, self._folder / "images" / split / name),
            (self._label_path(GROWING, name), self._label_path(split, name)),
        ):
            if source.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)

    def _label_path(self, split: str, name: str) -> Path:
        return (self._folder / "labels" / split / name).with_suffix(".txt")

    def _write_data_yaml(self, splits: Sequence[str]) -> None:
        if self._class_names and self._settings.format != "coco":
            write_whole(self._folder / "data.yaml", data_yaml_text(self._class_names, splits))

    def _coco(self, split: str, pictures: Sequence[_Picture]) -> dict[str, Any]:
        numbers = tuple(range(1, len(self._class_names) + 1))
        path = annotations_path(self._folder, split)
        return coco_document(
            TrainingSet(path, self._class_names, tuple(picture.image for picture in pictures), numbers),
            [picture.name for picture in pictures],
            image_fields=[{"source": p.source_id, "frame": p.frame, "time_s": p.time_s} for p in pictures],
            box_fields=[[_box_record(label) for label in p.labels] for p in pictures],
        )


def _training_image(path: Path, frame: Frame, labels: Sequence[PreLabel]) -> TrainingImage:
    sure = [label for label in labels if not label.unsure]
    unsure = [label for label in labels if label.unsure]
    return TrainingImage(
        path=path,
        shape_hw=frame.shape_hw,
        xyxy=np.array([label.xyxy for label in sure], np.float32).reshape(-1, 4),
        class_id=np.array([label.class_id for label in sure], np.int64),
        ignore_xyxy=np.array([label.xyxy for label in unsure], np.float32).reshape(-1, 4),
        ignore_class_id=np.array([label.class_id for label in unsure], np.int64),
    )


def _box_record(label: PreLabel) -> dict[str, Any]:
    record: dict[str, Any] = {"origin": "pseudo", "score": round(label.score, 4)}
    return record if label.track_id is None else {**record, "track_id": label.track_id}


def _manifest_record(picture: _Picture, split: str) -> dict[str, Any]:
    return {
        "file": f"images/{split}/{picture.name}",
        "split": split,
        "source": picture.source_id,
        "frame": picture.frame,
        "time_s": picture.time_s,
        "why": picture.why,
        "boxes": len(picture.image.xyxy),
        "unsure": len(picture.image.ignore_xyxy),
    }
