"""Reads FiftyOne's FiftyOneVideoLabelsDataset: manifest.json, and for each video a file of ETA's VideoLabels form.

Boxes are fractions of the frame, so they become px only when the video is open. Frames that are not in the file have no
objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.archive.corrected.checks import MAX_FRAME, number, read_json, records, safe_name, whole
from pipeline.archive.corrected.labels import Annotations, LabelBox
from pipeline.core.errors import DatasetError
