"""What a warm-up runs: something at the size that frames will have, or nothing."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch

from detector.backends import DetectorBackend
from detector.detector import DetectorConfig, YoloDetector
from detector.open_network import OpenedNetwork
from pipeline.core.protocols import IoSpec


class Recorder:
    """A backend that finds nothing and notes what it was given."""

    device = torch.device("cpu")
    precision = "fp32"
    head = None

    def __init__(self, **spec: Any) -> None:
        self.io_spec = IoSpec(stride=32, max_batch=None, num_classes=1, output="candidates", **spec)
        self.seen: list[tuple[int, ...]] = []

    def infer(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(images.shape))
        return torch.zeros(len(images), 1, 6)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("spec", "rect", "expected"),
    [
        ({"fixed_hw": None}, True, [(1, 64, 64, 3)]),
        ({"fixed_hw": None, "compiles_shapes": True}, True, []),
        ({"fixed_hw": None, "compiles_shapes": True}, False, [(1, 64, 64, 3)]),
        ({"fixed_hw": (32, 64), "compiles_shapes": True}, True, [(1, 32, 64, 3)]),
    ],
)
def test_only_a_shape_that_will_come_is_compiled(spec: dict[str, Any], rect: bool, expected: list[Any]) -> None:
    backend = Recorder(**spec)
    network = OpenedNetwork(cast(DetectorBackend, backend), ("a",), (64, 64), "yolox")
    detector = YoloDetector(DetectorConfig(rect=rect), network=network)
    detector.warmup()
    assert backend.seen == expected
    # A frame of another shape than the warm-up's runs all the same.
    detector.detect_images([np.zeros((30, 60, 3), np.uint8)])
    assert len(backend.seen) == len(expected) + 1
