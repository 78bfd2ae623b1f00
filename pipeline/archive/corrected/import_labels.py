"""From corrected annotations to a data set to train on: YOLO's layout, which `train` and `dataset check` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detector.data.image_scan import look_at
from detector.data.output_folder import check_apart, check_output_folder, clear_output_folder, write_manifest
from detector.data.place_images import place_image
from detector.data.training_set import TrainingImage
from detector.data.write_yolo import data_yaml_text, label_text
from detector.download import file_sha256
from pipeline.archive.corrected.classes import Classes
from pipeline.archive.corrected.find import read_annotations
from pipeline.archive.corrected.labels import Annotations, LabelBox, PictureLabels, VideoLabels
from pipeline.archive.corrected.places import find_picture, find_video
from pipeline.archive.corrected.settings import ImportSettings
from pipeline.archive.every import Every
from pipeline.archive.formats.names import flat_names
from pipeline.archive.formats.pictures import write_picture
from pipeline.archive.formats.yolo import deal_out
from pipeline.archive.video_frames import video_frames
from pipeline.core.boxes import area, clip
from pipeline.core.errors import DatasetError, SinkError, TracklightError
from pipeline.core.whole_file import write_whole

_GROWING = "train"
"""While the folder grows all pictures are here; who validates is decided in the end."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it.

    Attributes:
        path: the data.yaml.
        format: of the annotations.
        pictures: number by split.
        boxes: in all pictures.
        class_names: by class_id.
        left_out: what is not in the data set, counted by kind.
    """

    path: Path
    format: str
    pictures: dict[str, int]
    boxes: int
    class_names: tuple[str, ...]
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Taken:
    """A picture of the data set: its name, the recording it is of, and the frame's number where it is of a video."""

    name: str
    recording: str
    frame: int | None
    boxes: int


def import_annotations(
    source: Path,
    folder: Path,
    settings: ImportSettings,
    *,
    videos: Path | None = None,
    images: Path | None = None,
    exist_ok: bool = False,
) -> Imported:
    """Make a data set of annotations that other tools wrote.

    Everything that can be checked is checked before anything is written.

    Args:
        source: a file, or a folder with files of one format.
        folder: where the data set goes; see `output_folder.check_output_folder`.
        settings: which pictures and boxes.
        videos: where the videos are that annotations speak of.
        images: where the pictures are; None = around the annotations.
        exist_ok: replace a data set that this program wrote there.

    Raises:
        UsageError: a folder that cannot be used, or classes that cannot be meant.
        DatasetError: annotations that cannot be read, labels that nobody spoke of, or videos and pictures that are not
            there or are others.
        SourceError: a video that cannot be read.
        SinkError: the disk refuses.
    """
    check_output_folder(folder, exist_ok=exist_ok)
    found = read_annotations(source)
    classes = Classes.of(settings.classes, found.declared)
    _check_labels(found, classes)
    of_videos = [(labels, find_video(labels, videos)) for labels in found.videos]
    of_pictures = [(labels, find_picture(labels, images)) for labels in found.pictures]
    if not of_videos and not of_pictures:
        raise DatasetError(f"{source}: wanted labelled frames or pictures, found none")
    check_apart(folder, [*found.files, *(path for _, path in of_videos), *(path for _, path in of_pictures)])
    maker = _Maker(folder, settings, classes)
    origin = _origin(source, found, of_videos, settings)
    try:
        clear_output_folder(folder)
        write_manifest(folder, "import", {"status": "running", **origin})
        maker.take_videos(of_videos)
        maker.take_pictures(of_pictures)
        split_of = maker.divide()
        used = [split for split in (_GROWING, "val") if split in split_of]
        path = folder / "data.yaml"
        write_whole(path, data_yaml_text(classes.names, used))
        left_out = {**found.left_out, **maker.left_out}
        left_out |= {f"label {label!r}": count for label, count in classes.dropped.items()}
        facts = {"status": "completed", **origin, "classes": list(classes.names), "left_out": left_out}
        write_manifest(folder, "import", {**facts, "pictures": maker.records(split_of)})
    except OSError as error:
        if isinstance(error, TracklightError):
            raise
        raise SinkError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
    return Imported(path, found.format, dict(Counter(split_of)), maker.n_boxes, classes.names, left_out)


class _Maker:
    """Writes pictures and labels, and divides them in the end."""

    def __init__(self, folder: Path, settings: ImportSettings, classes: Classes) -> None:
        self._folder = folder
        self._settings = settings
        self._classes = classes
        self._taken: list[_Taken] = []
        self.left_out: Counter[str] = Counter()

    @property
    def n_boxes(self) -> int:
        return sum(one.boxes for one in self._taken)

    def take_videos(self, videos: Sequence[tuple[VideoLabels, Path]]) -> None:
        every = Every(seconds=self._settings.every_s) if self._settings.every_s else Every(frames=1)
        names = flat_names([labels.names[0] for labels, _ in videos])
        for (labels, path), name in zip(videos, names, strict=True):
            for frame, image in _labelled_frames(labels, path, every):
                picture = self._place(f"{name}_{frame:06d}.jpg")
                write_picture(picture, image)
                self._add(picture, (image.shape[0], image.shape[1]), labels.at(frame), name, frame)

    def take_pictures(self, pictures: Sequence[tuple[PictureLabels, Path]]) -> None:
        # Label files go by the stem, so names have to differ in it.
        stems = flat_names([str(Path(labels.names[0]).with_suffix("")) for labels, _ in pictures])
        taken = {Path(one.name).stem for one in self._taken}
        for (labels, path), stem in zip(pictures, stems, strict=True):
            facts = look_at(path)
            if facts.fault:
                raise DatasetError(f"{path}: wanted a picture, found {facts.fault_text}")
            _check_size(labels.size_wh, (facts.height, facts.width), labels.file, path)
            picture = self._place(f"{stem}-picture{path.suffix}" if stem in taken else f"{stem}{path.suffix}")
            picture.parent.mkdir(parents=True, exist_ok=True)
            place_image(path, picture, "link")
            recording = str(Path(labels.names[0]).parent)
            self._add(picture, (facts.height, facts.width), labels.boxes, recording, None)

    def divide(self) -> list[str]:
        """Move the pictures to validate with. Returns the split of each picture."""
        sizes = Counter(one.recording for one in self._taken)
        share = self._settings.val_share
        if not share:
            return [_GROWING] * len(self._taken)
        if len(sizes) > 1:
            dealt = deal_out(list(sizes.values()), (1 - share, share), self._settings.seed)
            split_of = dict(zip(sizes, dealt, strict=True))
            splits = [split_of[one.recording] for one in self._taken]
        else:
            # One recording: its last part, since neighbours look alike.
            n_train = len(self._taken) - round(share * len(self._taken))
            splits = [_GROWING if number < n_train else "val" for number in range(len(self._taken))]
        for one, split in zip(self._taken, splits, strict=True):
            if split != _GROWING:
                self._move(one.name, split)
        return splits

    def records(self, split_of: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"file": f"images/{split}/{one.name}", "recording": one.recording, "frame": one.frame, "boxes": one.boxes}
            for one, split in zip(self._taken, split_of, strict=True)
        ]

    def _place(self, name: str) -> Path:
        return self._folder / "images" / _GROWING / name

    def _add(
        self,
        picture: Path,
        shape_hw: tuple[int, int],
        boxes: Sequence[LabelBox],
        recording: str,
        frame: int | None,
    ) -> None:
        image = self._training_image(picture, shape_hw, boxes)
        write_whole(self._label_path(_GROWING, picture.name), label_text(image))
        self._taken.append(_Taken(picture.name, recording, frame, len(image.xyxy)))

    def _training_image(self, path: Path, shape_hw: tuple[int, int], boxes: Sequence[LabelBox]) -> TrainingImage:
        rows, numbers = [], []
        scale = np.array([shape_hw[1], shape_hw[0]] * 2, np.float64)
        for box in boxes:
            number = self._classes.number(box.label)
            if number is None:
                continue
            if box.occluded and self._settings.drop_occluded:
                self.left_out["hidden box"] += 1
                continue
            xyxy = np.array(box.xyxy) * (scale if box.relative else 1.0)
            inside = clip(xyxy[None], shape_hw)
            if not area(inside)[0] > 0:
                self.left_out["box without area in the picture"] += 1
                continue
            rows.append(inside[0])
            numbers.append(number)
        corners = np.array(rows, np.float32).reshape(-1, 4)
        return TrainingImage(path, shape_hw, corners, np.array(numbers, np.int64))

    def _label_path(self, split: str, name: str) -> Path:
        return (self._folder / "labels" / split / name).with_suffix(".txt")

    def _move(self, name: str, split: str) -> None:
        for before, after in (
            (self._place(name), self._folder / "images" / split / name),
            (self._label_path(_GROWING, name), self._label_path(split, name)),
        ):
            after.parent.mkdir(parents=True, exist_ok=True)
            before.replace(after)


def _labelled_frames(labels: VideoLabels, path: Path, every: Every) -> Iterator[tuple[int, Any]]:
    """Number and picture of the frames that are labelled and chosen.

    Raises:
        DatasetError: the video is another one: frames of another size, or too few.
    """
    before, n_frames = -1, 0
    with closing(video_frames(path)) as frames:
        for frame in frames:
            if labels.end is not None and frame.index >= labels.end:
                return
            n_frames = frame.index + 1
            if not labels.covers(frame.index):
                continue
            _check_size(labels.size_wh, frame.shape_hw, labels.file, path)
            turn = every.turn(frame.index, frame.pts_s or 0.0)
            if turn != before:
                yield frame.index, frame.image
            before = turn
    if labels.last_frame >= n_frames:
        raise DatasetError(
            f"{labels.file}: wanted {path} to have frame {labels.last_frame}, which is labelled, found {n_frames} "
            "frames; is it the same video?"
        )


def _check_size(size_wh: tuple[int, int] | None, shape_hw: tuple[int, int], file: Path, path: Path) -> None:
    if size_wh is not None and size_wh != (shape_hw[1], shape_hw[0]):
        raise DatasetError(
            f"{file}: wanted {path} to be {size_wh[0]}x{size_wh[1]} px, found {shape_hw[1]}x{shape_hw[0]}; "
            "is it the same one?"
        )


def _check_labels(found: Annotations, classes: Classes) -> None:
    counts: Counter[str] = Counter()
    for video in found.videos:
        counts.update(video.labels())
    for picture in found.pictures:
        counts.update(box.label for box in picture.boxes)
    classes.check(counts)


def _origin(
    source: Path, found: Annotations, videos: Sequence[tuple[VideoLabels, Path]], settings: ImportSettings
) -> dict[str, Any]:
    return {
        "source": str(source),
        "format": found.format,
        "settings": asdict(settings),
        "annotations": [{"file": str(path), "sha256": file_sha256(path)} for path in found.files],
        "videos": [{"recording": labels.names[0], "file": str(path)} for labels, path in videos],
    }
