from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detector.train.pictures import Compared, draw_batch, draw_predictions
from detector.train.targets import Targets
from pipeline.core.detections import Detections
from pipeline.core.errors import ShapeError, UsageError

NAMES = ("person", "血小板", "a very long name that does not fit into any of the pictures at all")
GREY = 90


def grey(count: int, height: int, width: int) -> torch.Tensor:
    return torch.full((count, 3, height, width), GREY, dtype=torch.uint8)


def targets(
    boxes: list[list[float]], regions: list[list[float]] | None = None, classes: list[list[bool]] | None = None
) -> Targets:
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 6),
        torch.tensor(regions or [], dtype=torch.float32).reshape(-1, 5),
        torch.tensor([[*row, all(row)] for row in classes or []], dtype=torch.bool).reshape(-1, len(NAMES) + 1),
    )


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path))
    assert image is not None
    return image


def is_drawn(sheet: np.ndarray) -> np.ndarray:
    return np.abs(sheet.astype(int) - GREY).max(axis=2) > 20


@pytest.mark.parametrize(
    ("count", "limit", "shape"),
    [
        (1, 16, (6 + 400 + 6, 6 + 600 + 6)),
        (2, 16, (6 + 400 + 6, 2 * 606 + 6)),
        (5, 16, (2 * 406 + 6, 3 * 606 + 6)),
        (9, 4, (2 * 406 + 6, 2 * 606 + 6)),
    ],
)
def test_a_batch_is_laid_out_in_a_grid(tmp_path: Path, count: int, limit: int, shape: tuple[int, int]) -> None:
    draw_batch(grey(count, 400, 600), targets([]), NAMES, tmp_path / "batch.png", limit)
    assert read(tmp_path / "batch.png").shape[:2] == shape
    assert [p.name for p in tmp_path.iterdir()] == ["batch.png"]


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (1280, 1280), (3000, 500)])
def test_large_pictures_are_shrunk(tmp_path: Path, height: int, width: int) -> None:
    draw_batch(grey(4, height, width), targets([]), NAMES, tmp_path / "batch.jpg")
    sheet = read(tmp_path / "batch.jpg")
    assert max(sheet.shape[:2]) <= 1920


def test_tiny_pictures_are_enlarged(tmp_path: Path) -> None:
    draw_batch(grey(1, 32, 64), targets([[0, 0, 32, 16, 32, 16]]), NAMES, tmp_path / "batch.png")
    assert read(tmp_path / "batch.png").shape[:2] == (160 + 12, 320 + 12)


def test_boxes_stand_where_the_targets_say(tmp_path: Path) -> None:
    boxes = [[1, 0, 300, 200, 200, 100], [1, 1, 300, 350, 20, 10]]
    draw_batch(grey(2, 400, 600), targets(boxes), NAMES, tmp_path / "batch.png")
    sheet = read(tmp_path / "batch.png")
    assert not is_drawn(sheet[6:406, 6:606]).any()
    mine = sheet[6:406, 612:1212]
    drawn = is_drawn(mine)
    assert drawn[150, 201:400].all()
    assert drawn[250, 201:400].all()
    assert drawn[151:250, 200].all()
    assert drawn[151:250, 400].all()
    assert not drawn[160:240, 210:390].any()
    assert drawn[345, 291:309].all()
    assert mine[200, 200].tolist() != mine[350, 290].tolist()


def test_ignored_places_are_hatched_and_incomplete_ones_outlined(tmp_path: Path) -> None:
    ignore_all, only_persons = [True, True, True], [True, False, False]
    regions = [[0, 100, 100, 200, 200], [0, 300, 100, 500, 300], [0, 400, 350, 410, 360]]
    made = targets([], regions, [ignore_all, only_persons, ignore_all])
    draw_batch(grey(1, 400, 600), made, NAMES, tmp_path / "batch.png")
    drawn = is_drawn(read(tmp_path / "batch.png")[6:-6, 6:-6])
    hatched = drawn[110:170, 110:190]
    assert 0.2 < hatched.mean() < 0.5
    assert hatched.any(axis=0).all()
    assert hatched.any(axis=1).all()
    assert not drawn[110:270, 310:490].any()
    assert drawn[101:299, 300].all()
    assert drawn[285:295, 305:400].any()
    assert not drawn[:95].any()
    assert not drawn[362:].any()


def test_anything_may_stick_out_of_the_picture(tmp_path: Path) -> None:
    boxes = [[0, 2, 0, 0, 900, 900], [0, 2, 599, 399, 50, 50], [0, 1, -500, -500, 20, 20]]
    regions = [[0, -50, -50, 700, 500], [0, 650, 450, 700, 500], [0, 20, 20, 20, 20]]
    made = targets(boxes, regions, [[True] * 3, [True] * 3, [True, True, False]])
    draw_batch(grey(1, 400, 600), made, NAMES, tmp_path / "batch.png")


@pytest.mark.parametrize(
    "images", [torch.zeros(2, 3, 8, 8), torch.zeros((3, 8, 8), dtype=torch.uint8), grey(2, 8, 8).permute(0, 2, 3, 1)]
)
def test_a_batch_of_another_kind_is_refused(tmp_path: Path, images: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"wanted uint8 \(b, 3, h, w\), found"):
        draw_batch(images, targets([]), NAMES, tmp_path / "batch.png")


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one picture"):
        draw_batch(grey(0, 8, 8), targets([]), NAMES, tmp_path / "batch.png")
    with pytest.raises(UsageError, match="at least one picture"):
        draw_predictions([], NAMES, tmp_path / "predictions.png")


def compared(height: int = 300, width: int = 400) -> Compared:
    return Compared(
        np.full((height, width, 3), GREY, np.uint8),
        np.array([[50, 100, 150, 200]], np.float32),
        np.array([0]),
        Detections(
            np.array([[250, 100, 350, 200], [10, 210, 40, 290]], np.float32),
            np.array([0.9, 0.2], np.float32),
            np.array([0, 1]),
        ),
    )


def test_labels_stand_left_and_predictions_right(tmp_path: Path) -> None:
    draw_predictions([compared()], NAMES, tmp_path / "predictions.png")
    sheet = read(tmp_path / "predictions.png")
    assert sheet.shape[:2] == (6 + 24 + 300 + 6, 6 + 400 + 6 + 400 + 6)
    left, right = is_drawn(sheet[30:330, 6:406]), is_drawn(sheet[30:330, 412:812])
    assert left[101:200, 50].all()
    assert not left[:, 200:].any()
    assert right[101:200, 250].all()
    assert not right[:, :240].any(), "a detection below the threshold is drawn"
    for caption in (sheet[6:30, 6:406], sheet[6:30, 412:812]):
        assert caption.min() < 60


def test_a_lower_threshold_shows_more(tmp_path: Path) -> None:
    draw_predictions([compared()], NAMES, tmp_path / "predictions.png", conf_thres=0.1)
    right = is_drawn(read(tmp_path / "predictions.png")[30:330, 412:812])
    assert right[211:290, 10].all()


def test_pictures_of_many_sizes(tmp_path: Path) -> None:
    many = [compared(h, w) for h, w in ((2160, 3840), (20, 30), (1000, 100), (300, 400), (300, 400))]
    draw_predictions(many, NAMES, tmp_path / "predictions.jpg", limit=4)
    sheet = read(tmp_path / "predictions.jpg")
    assert sheet.shape[1] <= 1920
    draw_predictions(many, NAMES, tmp_path / "predictions.jpg", limit=16)
    assert read(tmp_path / "predictions.jpg").shape[0] > sheet.shape[0]


def test_plain_tuples_without_boxes_will_do(tmp_path: Path) -> None:
    image = np.full((60, 80, 3), GREY, np.uint8)
    none = (image, np.zeros((0, 4), np.float32), np.zeros(0, np.int64), Detections.empty())
    draw_predictions([none], NAMES, tmp_path / "predictions.png")
    before = image.copy()
    draw_predictions([compared()], NAMES, tmp_path / "predictions.png")
    np.testing.assert_array_equal(image, before)
