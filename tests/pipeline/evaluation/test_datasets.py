"""Reading COCO labels, and telling what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import DatasetError
from pipeline.evaluation.coco_dataset import read_coco


def coco_document() -> dict[str, Any]:
    return {
        "images": [
            {"id": 3, "file_name": "b.jpg", "height": 40, "width": 60},
            {"id": 1, "file_name": "a.jpg", "height": 4, "width": 6},
        ],
        "categories": [{"id": 90, "name": "eel"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 3, "category_id": 90, "bbox": [1, 2, 3, 4], "area": 5, "iscrowd": 1},
            {"id": 2, "image_id": 3, "category_id": 2, "bbox": [1.5, 2, 3, 4]},
        ],
    }


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_coco_labels(tmp_path: Path) -> None:
    dataset = read_coco(write(tmp_path / "x.json", coco_document()), images_dir=tmp_path)
    assert dataset.class_names == ("cat", "eel")
    assert dataset.category_ids == (2, 90)
    first, second = dataset.images
    assert (first.image_id, first.path, first.shape_hw, len(first.ltwh)) == (1, tmp_path / "a.jpg", (4, 6), 0)
    assert second.ltwh.tolist() == [[1, 2, 3, 4], [1.5, 2, 3, 4]]
    assert second.class_id.tolist() == [1, 0]
    assert second.area.tolist() == [5, 12]
    assert second.crowd.tolist() == [True, False]


@pytest.mark.parametrize("folder", ["annotations", "", "annotations/images", "val2017", "images"])
def test_coco_images_are_found_near_the_file(tmp_path: Path, folder: str) -> None:
    path = write(tmp_path / "annotations" / "x.json", coco_document())
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "a.jpg").touch()
    assert read_coco(path).images[0].path == tmp_path / folder / "a.jpg"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.pop("categories"),
            "wanted COCO annotations with a list 'categories', found keys: images, annotations",
        ),
        (lambda d: d["images"].clear(), "wanted at least one image"),
        (lambda d: d["images"][0].pop("width"), r"images\[0\]: wanted id, file_name, height, width; missing: width"),
        (lambda d: d["annotations"][0].update(category_id=4), "annotation 1: its category 4 is not among"),
        (lambda d: d["annotations"][0].update(image_id=4), "annotation 1: its image 4 is not among"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2]), "annotation 1: wanted a bbox of four numbers"),
        (lambda d: d["categories"].append({"id": 2, "name": "x"}), "wanted each category id once"),
    ],
)
def test_coco_mistakes(tmp_path: Path, change: Any, message: str) -> None:
    document = coco_document()
    change(document)
    with pytest.raises(DatasetError, match=message):
        read_coco(write(tmp_path / "x.json", document), images_dir=tmp_path)


def test_coco_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="wanted a COCO annotation file; No such file"):
        read_coco(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(DatasetError, match="wanted COCO annotations in JSON"):
        read_coco(tmp_path / "text.json")
    with pytest.raises(DatasetError, match="found a JSON list"):
        read_coco(write(tmp_path / "list.json", []))
    with pytest.raises(DatasetError, match=r"wanted the image 'a\.jpg' beside the file"):
        read_coco(write(tmp_path / "deep" / "x.json", coco_document()))
