from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import ShapeError, UsageError
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.stream import Stream
from pipeline.streaming.truth import Truth


def truth(**changed: Any) -> Truth:
    box = Boxes(np.array([[1.0, 2, 3, 4]]), np.ones(1), np.array([1]), np.array([7]))
    fields = {
        "stream": Stream("street", Fraction(10), 2, 640, 480),
        "boxes": (box, Boxes.empty()),
        "crowd": (np.array([False]), np.zeros(0, np.bool_)),
        "area": (np.array([12.0]), np.zeros(0)),
        "class_names": ("person", "car"),
    }
    return Truth(**fields | changed)


def test_a_frame_without_objects_has_empty_boxes() -> None:
    assert [len(boxes) for boxes in truth().boxes] == [1, 0]


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"boxes": (Boxes.empty(),)}, "street: wanted boxes of 2 frames, found 1"),
        ({"crowd": ()}, "street: wanted crowd of 2 frames, found 0"),
        ({"area": (np.zeros(0),) * 3}, "street: wanted area of 2 frames, found 3"),
        ({"class_names": ("person",)}, r"street, frame 0: wanted classes 0\.\.0, found 1"),
    ],
)
def test_refused(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        truth(**changed)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"crowd": (np.zeros(2, np.bool_), np.zeros(0, np.bool_))}, "street, frame 0: crowd: wanted shape"),
        ({"area": (np.zeros(1), np.zeros(1))}, "street, frame 1: area: wanted shape"),
    ],
)
def test_flags_and_areas_have_to_fit(changed: dict[str, Any], text: str) -> None:
    with pytest.raises(ShapeError, match=text):
        truth(**changed)
