"""Turning decoded pictures the way their container or EXIF data says they are to be shown."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

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

_EXIF = {
    1: UPRIGHT,
    2: Orientation(mirror_x=True),
    3: Orientation(mirror_x=True, mirror_y=True),
    4: Orientation(mirror_y=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, mirror_x=True),
    7: Orientation(transpose=True, mirror_x=True, mirror_y=True),
    8: Orientation(transpose=True, mirror_y=True),
}


def from_exif(value: int) -> Orientation:
    """The orientation of an EXIF `Orientation` tag (TIFF 6.0, tag 274), 1 to 8; other values mean upright."""
    return _EXIF.get(value, UPRIGHT)


def from_frame(frame: av.VideoFrame) -> Orientation:
    """The orientation that a frame's display matrix asks for (ISO/IEC 14496-12, section 6.2.2).

    Only multiples of 90 degrees and mirrorings exist for pixels; a matrix with any other angle leaves the frame as
    it is stored.
    """
    matrix = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if b == c == 0:
        return Orientation(mirror_x=a < 0, mirror_y=d < 0)
    if a == d == 0:
        return Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)
    return UPRIGHT
