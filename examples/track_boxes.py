"""The tracker alone: ids for boxes that come from anywhere, here two that cross each other."""

import numpy as np

from pipeline.core.detections import Detections
from tracker.bytetrack import ByteTrackConfig, ByteTracker

tracker = ByteTracker(ByteTrackConfig())
for i in range(40):
    boxes = np.array([[10 + 8 * i, 50, 50 + 8 * i, 150], [330 - 8 * i, 60, 370 - 8 * i, 160]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([0, 0]))
    tracks = tracker.update(found, frame_index=i, pts_s=i / 25)
    print(i, dict(zip(tracks.track_id.tolist(), tracks.xyxy.round().tolist(), strict=True)))
