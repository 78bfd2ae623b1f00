"""Whatever a label file says, what is trained on lies within the image and has an area."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.data.label_checks import checked
from detector.data.raw_labels import RawBox, RawLabels
from detector.data.report import Kind

SHAPE = (480, 640)
PATH, FILE = Path("a.jpg"), Path("a.txt")

coordinate = st.floats(-1e9, 1e9) | st.floats(-2, 642) | st.sampled_from([0.0, 480.0, 640.0, 639.9999999, -1e-9])
boxes = st.builds(
    RawBox,
    class_id=st.integers(0, 3),
    xyxy=st.tuples(coordinate, coordinate, coordinate, coordinate),
    line=st.none(),
    item=st.just(""),
    ignore=st.booleans(),
    outline=st.just(()),
    area=st.none() | st.floats(1e-3, 1e9),
)


@given(st.lists(boxes, max_size=12))
def test_every_box_is_used_or_told(found: list[RawBox]) -> None:
    image, problems = checked(PATH, SHAPE, RawLabels(boxes=found), FILE)
    assert image is not None
    left_out = [p for p in problems if p.kind in (Kind.OUTSIDE, Kind.NO_AREA, Kind.DUPLICATE_BOX)]
    assert len(image.xyxy) + len(image.ignore_xyxy) + len(left_out) == len(found)
    for xyxy in (image.xyxy, image.ignore_xyxy):
        assert xyxy.dtype == np.float32
        assert (xyxy[:, :2] >= 0).all()
        assert (xyxy[:, 2:] <= (640, 480)).all()
        assert (xyxy[:, 2:] > xyxy[:, :2]).all()
    assert (image.class_id.dtype, image.ignore_class_id.dtype) == (np.int64, np.int64)
    assert len(image.area) in (0, len(image.xyxy))


@pytest.mark.parametrize(
    ("xyxy", "kinds"),
    [
        ((0, 0, 640, 480), []),
        ((-1, -1, 641, 481), []),
        ((-1.5, 0, 640, 480), [Kind.CLIPPED]),
        ((640, 0, 650, 480), [Kind.OUTSIDE]),
        ((-5, -5, 0, 9), [Kind.OUTSIDE]),
        ((639.995, 0, 700, 9), [Kind.NO_AREA]),
        ((5, 5, 5, 9), [Kind.NO_AREA]),
        ((700, 5, 650, 9), [Kind.NO_AREA]),
    ],
)
def test_boxes_at_the_edge(xyxy: tuple[float, float, float, float], kinds: list[Kind]) -> None:
    _, problems = checked(PATH, SHAPE, RawLabels(boxes=[RawBox(0, xyxy, line=3)]), FILE)
    assert [p.kind for p in problems] == kinds
    assert all(p.line == 3 and p.file == FILE for p in problems)


def test_areas_and_outlines_are_cut_with_the_box() -> None:
    ring = np.array([[600, 10], [700, 10], [700, 20], [600, 20]], np.float32)
    raw = RawLabels(boxes=[RawBox(0, (600, 10, 700, 20), outline=(ring,), area=1000.0), RawBox(1, (0, 0, 4, 4))])
    image, problems = checked(PATH, SHAPE, raw, FILE)
    assert image is not None
    assert [p.kind for p in problems] == [Kind.CLIPPED]
    assert image.outlines[0][0].tolist() == [[600, 10], [640, 10], [640, 20], [600, 20]]
    assert image.outlines[1] == ()
    assert image.area.tolist() == [400, 16]


def test_no_areas_where_the_labels_tell_none() -> None:
    image, _ = checked(PATH, SHAPE, RawLabels(boxes=[RawBox(0, (0, 0, 4, 4))]), FILE)
    assert image is not None
    assert (len(image.area), image.outlines) == (0, ())
