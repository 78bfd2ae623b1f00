"""Turning decoded pictures the way their container says they are to be shown."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideData

from pipeline.core.arrays import ImageArray


@dataclass(frozen=True)
class Orientation:
    """One of the eight ways to lay a picture down: first transposed, then mirrored."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    def apply(self, image: ImageArray) -> ImageArray:
        """The picture the right way up, contiguous; the same array where nothing is to be turned."""
        turned: np.ndarray = image
        if self.transpose:
            turned = cv2.transpose(turned)
        if self.mirror_x or self.mirror_y:
            turned = cv2.flip(turned, -1 if self.mirror_x and self.mirror_y else int(self.mirror_x))
        return np.ascontiguousarray(turned)


UPRIGHT = Orientation()


def from_frame(frame: av.VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for (ISO/IEC 14496-12, section 6.2.2).

    Only multiples of 90 degrees and mirrorings exist for pixels; a matrix with any other angle leaves the frame as
    it is stored.
    """
    # PyAV's annotation names only one kind of side data; at run time it maps every kind.
    matrix = cast(Mapping[str, SideData], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if b == c == 0:
        return Orientation(mirror_x=a < 0, mirror_y=d < 0)
    if a == d == 0:
        return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
    return UPRIGHT
