"""The detector alone: boxes of one image.

python examples/detect_image.py photo.jpg yolox-nano
"""

import sys

import cv2

from detector.detector import DetectorConfig, YoloDetector

path, weights = sys.argv[1:3]
image = cv2.imread(path)
if image is None:
    sys.exit(f"{path}: not an image")
detector = YoloDetector(DetectorConfig(weights=weights))
[found] = detector.detect_images([image])
for box, confidence, class_id in zip(found.xyxy, found.confidence, found.class_id, strict=True):
    print(f"{detector.class_names[class_id]:<12} {confidence:.2f}  {box.round(1).tolist()}")
detector.close()
