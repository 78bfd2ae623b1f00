"""Results one by one: counts the people in each frame of a video.

python examples/stream_results.py street.mp4 yolox-nano
"""

import sys

from pipeline.api import stream

video, weights = sys.argv[1:3]
for result in stream(video, weights=weights, settings={"detector": {"classes": ["person"]}}):
    ids = result.tracks.track_id.tolist()
    print(f"frame {result.frame.index}: {len(ids)} people, ids {ids}")
