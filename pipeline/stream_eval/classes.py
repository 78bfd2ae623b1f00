"""Which class of a detector is which class of the ground truth: by name, for numbers differ from file to file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.core.arrays import BoolArray, IntArray
from pipeline.core.detections import Detections
from pipeline.core.errors import UsageError
from pipeline.streaming.boxes import Boxes

_SAME = {"pedestrian": "person", "motorbike": "motorcycle", "aeroplane": "airplane"}


class ClassMap:
    """Turns class numbers of a detector into those of the ground truth; boxes of other classes are left out, counted.

    Names are the same whatever their capitals, and with `_` or `-` for a space; a pedestrian is a person.

    Args:
        of_detector: names by class_id.
        of_truth: names by class_id.

    Attributes:
        left_out: boxes of classes that the truth has not, by name.
        unknown: classes of the truth that the detector does not know.

    Raises:
        UsageError: no class in common.
    """

    def __init__(self, of_detector: Sequence[str], of_truth: Sequence[str]) -> None:
        numbers = {plain_name(name): number for number, name in enumerate(of_truth)}
        self._names = tuple(of_detector)
        self._number = np.array([numbers.get(plain_name(name), -1) for name in of_detector], np.int64)
        known = set(self._number.tolist())
        self.left_out: Counter[str] = Counter()
        self.unknown = tuple(name for number, name in enumerate(of_truth) if number not in known)
        if len(self.unknown) == len(of_truth):
            raise UsageError(
                f"wanted boxes of a class that the truth has ({_some(of_truth)}), found {_some(of_detector) or 'none'}"
            )

    def known(self, class_id: IntArray) -> BoolArray:
        """Which boxes are of classes that the truth has, bool (n,); the others are counted as left out."""
        known: BoolArray = self._number[class_id] >= 0
        self.left_out.update(self._names[number] for number in class_id[~known].tolist())
        return known

    def boxes(self, boxes: Boxes) -> Boxes:
        """The boxes of classes that the truth has, with the truth's numbers."""
        kept = boxes.select(self.known(boxes.class_id))
        return Boxes(kept.ltwh, kept.score, self._number[kept.class_id], kept.track_id)

    def detections(self, detections: Detections) -> Detections:
        """The same for a detector's boxes."""
        kept = detections.select(self.known(detections.class_id))
        return Detections(kept.xyxy, kept.confidence, self._number[kept.class_id])


def plain_name(name: str) -> str:
    """The name by which a class is compared with others."""
    plain = name.strip().casefold().replace("_", " ").replace("-", " ")
    return _SAME.get(plain, plain)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
