"""Whether anything moves in a picture: a still scene costs no detection."""

from __future__ import annotations

import cv2
import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from pipeline.core.arrays import ImageArray

WIDTH_PX = 160
"""Pictures are compared this small: noise is averaged away, and a person far off is still some pixels."""
BACKGROUND_WEIGHT = 0.1
"""Share of a still picture in the background, which follows the light of the day."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MotionGateConfig:
    """When a scene counts as still."""

    threshold: int = Field(default=18, ge=1, le=255, description="change of brightness that counts (of 255)")
    min_share: float = Field(default=0.0005, ge=0, le=1, description="share of the picture that must change")
    hold_s: float = Field(default=2.0, ge=0, description="go on detecting for so long after the last motion (s)")
    every_s: float = Field(default=10.0, gt=0, description="detect at least this often, still or not (s)")


class MotionGate:
    """Compares small grey pictures with a slow average of those before. One instance per source.

    Args:
        config: when a scene counts as still.
    """

    def __init__(self, config: MotionGateConfig) -> None:
        self._config = config
        self._background: np.ndarray | None = None
        self._moved_ns = 0
        self._detected_ns: int | None = None

    def is_open(self, image: ImageArray, captured_ns: int) -> bool:
        """Whether this picture is to be detected: motion, shortly after it, or long since the last detection.

        Args:
            image: uint8 (h, w, 3) BGR.
            captured_ns: when it was captured, not falling.
        """
        if self._moves(image):
            self._moved_ns = captured_ns
            open_ = True
        else:
            held = captured_ns - self._moved_ns <= self._config.hold_s * 1e9
            due = self._detected_ns is None or captured_ns - self._detected_ns >= self._config.every_s * 1e9
            open_ = held or due
        if open_:
            self._detected_ns = captured_ns
        return open_

    def _moves(self, image: ImageArray) -> bool:
        height = max(1, round(image.shape[0] * WIDTH_PX / image.shape[1]))
        small = cv2.cvtColor(cv2.resize(image, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        now = small.astype(np.float32)
        if self._background is None or self._background.shape != now.shape:
            self._background = now
            return True
        change = np.abs(now - self._background)
        self._background += BACKGROUND_WEIGHT * (now - self._background)
        return bool(np.count_nonzero(change > self._config.threshold) > self._config.min_share * change.size)
