"""Reading a data set to train on: list it, look at the images, check the labels, report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from detector.data.coco_labels import list_coco
from detector.data.data_yaml import DataYaml, Entry, read_data_yaml, yaml_splits
from detector.data.image_scan import ImageFacts, cache_file, scan
from detector.data.label_checks import checked
from detector.data.nearest_path import nearest_path
from detector.data.raw_labels import ListedImage, Listing
from detector.data.report import Kind, Problem, Report, make_report
from detector.data.training_set import TrainingImage, TrainingSet
from detector.data.voc_labels import list_voc, voc_root, voc_splits
from detector.data.yolo_labels import list_yolo
from pipeline.core.errors import DatasetError, UsageError

_SHOWN = 3


def read_training_set(
    path: Path,
    split: str,
    *,
    bad_items: Literal["drop", "stop"] = "drop",
    workers: int = 2,
    cache: bool = True,
) -> tuple[TrainingSet, Report]:
    """Read and check one split of a data set.

    Args:
        path: a data.yaml (see `data_yaml.py`), a COCO .json (its own split, whatever `split` says), or a folder in
            VOC's layout (split = a list in ImageSets/Main).
        split: train, val or test.
        bad_items: what to do about images and boxes that cannot be used: leave them out (the report tells), or raise.
        workers: threads that look at images.
        cache: remember what the images are in the user's cache folder; they are looked at again when they change.

    Returns:
        the data set, and what was read and wrong.

    Raises:
        DatasetError: the description cannot be read; nothing in it can be used; or bad items, if they are to stop.
        UsageError: an unknown value of `bad_items`, or no worker.
    """
    if bad_items not in ("drop", "stop"):
        raise UsageError(f"bad_items: wanted 'drop' or 'stop', found {bad_items!r}")
    dataset, report = examine(path, split, workers=workers, cache=cache)
    if not report.images or not report.boxes:
        raise DatasetError(_nothing_left(report))
    if bad_items == "stop" and report.bad:
        raise DatasetError(_stopped(report))
    return dataset, report


def examine(path: Path, split: str, *, workers: int = 2, cache: bool = True) -> tuple[TrainingSet, Report]:
    """The same without a judgement: bad items are left out, even if nothing remains.

    Raises:
        DatasetError: the description of the data set cannot be read.
        UsageError: no worker.
    """
    if workers < 1:
        raise UsageError(f"workers: wanted 1 or more, found {workers}")
    listing = _list(path, split)
    problems = list(listing.problems)
    listed = _each_once(listing.images, problems)
    facts = scan([image.path for image in listed], workers=workers, cache=cache_file(path, split) if cache else None)
    images: list[TrainingImage] = []
    for image, fact in zip(listed, facts, strict=True):
        if fact.fault:
            problems.append(_image_problem(image, fact))
            continue
        shape_hw = (fact.height, fact.width)
        found, of_image = checked(image.path, shape_hw, image.read(shape_hw), image.labels)
        problems += of_image
        if found is not None:
            images.append(found)
    report = make_report(
        path,
        split,
        listing.class_names,
        images,
        listed=len(listed),
        problems=problems,
        converted=[(image.path, fact.converted) for image, fact in zip(listed, facts, strict=True) if fact.converted],
    )
    return TrainingSet(path, listing.class_names, tuple(images), listing.category_ids), report


def split_names(path: Path) -> tuple[str, ...]:
    """The splits of a data set; a COCO .json is one, called `train`.

    Raises:
        DatasetError: not a data set, or it has no split.
    """
    _require(path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return yaml_splits(path)
    if path.is_dir():
        return voc_splits(path)
    return ("train",)


def _list(path: Path, split: str) -> Listing:
    data = _describe(path, split)
    listing = {"yolo": list_yolo, "coco": list_coco, "voc": list_voc}[data.format](data)
    known = [Problem(Kind.UNUSED_KEY, path, f"the key {key!r} means nothing here") for key in data.unused_keys]
    listing.problems[:0] = known
    return listing


def _require(path: Path) -> None:
    if not path.exists():
        raise DatasetError(f"{path}: wanted a data set, found no such file{nearest_path(path)}")


def _describe(path: Path, split: str) -> DataYaml:
    _require(path)
    if path.is_dir():
        return voc_root(path, split)
    match path.suffix.lower():
        case ".json":
            return DataYaml(path, path.resolve().parent, "coco", None, (Entry(path.resolve()),), ())
        case ".yaml" | ".yml":
            return read_data_yaml(path, split)
    raise DatasetError(
        f"{path}: wanted a data.yaml, a COCO .json or a folder in VOC's layout, found a "
        f"{path.suffix or 'suffixless'} file; describe the data in a data.yaml"
    )


def _each_once(images: list[ListedImage], problems: list[Problem]) -> list[ListedImage]:
    first: dict[Path, ListedImage] = {}
    for image in images:
        if image.path in first:
            text = f"{image.path.name} stands in {first[image.path].listed_in.name} before; the second is left out"
            problems.append(Problem(Kind.DUPLICATE_IMAGE, image.listed_in, text, image.line))
        else:
            first[image.path] = image
    return list(first.values())


def _image_problem(image: ListedImage, fact: ImageFacts) -> Problem:
    if fact.fault == Kind.MISSING_IMAGE:
        return Problem(Kind.MISSING_IMAGE, image.listed_in, f"wanted {image.path}, found no such file", image.line)
    return Problem(Kind(fact.fault), image.path, fact.fault_text)


def _stopped(report: Report) -> str:
    counts = ", ".join(f"{count} x {kind}" for kind, count in report.counts().items() if kind.severity == "bad")
    shown = "; ".join(str(problem) for problem in report.bad[:_SHOWN])
    return f"{report.path}, {report.split}: wanted no bad items, found {counts}: {shown}; mend them, or drop bad items"


def _nothing_left(report: Report) -> str:
    where = f"{report.path}, {report.split}"
    if report.bad:
        shown = "; ".join(str(problem) for problem in report.bad[:_SHOWN])
        return f"{where}: wanted images with boxes, found none that can be used ({report.counts_text()}): {shown}"
    return f"{where}: wanted boxes, found none in {report.images} images; label some of them"
