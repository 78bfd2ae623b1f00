"""Fine-tune on pictures of one's own, then look at a video with the new model.

python examples/finetune.py my/data.yaml street.mp4 epochs=60
"""

import sys

from pipeline.api import stream
from pipeline.api_train import train

data, video, *settings = sys.argv[1:]
result = train(data, **dict(setting.split("=", 1) for setting in settings))
for found in stream(video, weights=result.best):
    print(f"frame {found.frame.index}: {len(found.tracks)} objects, ids {found.tracks.track_id.tolist()}")
print(f"AP50 {100 * result.ap50:.1f}; weights: {result.best}")
