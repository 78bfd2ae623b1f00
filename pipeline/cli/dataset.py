"""Verb `dataset`: check, convert, plot, split data sets, or make one from a video or annotations."""

from __future__ import annotations

from pipeline.cli.sub_verbs import SubVerbs

SUB_VERBS = {
    "check": "what is in a data set and what is wrong with it",
    "convert": "write a data set in another layout (YOLO, COCO, VOC)",
    "plot": "draw classes, box sizes, centres and a contact sheet",
    "split": "divide a data set into train, val and test",
    "from-video": "take pictures for labelling out of a video",
    "import": "make a data set of annotations that were corrected in CVAT and other tools",
}

_verbs = SubVerbs("dataset", SUB_VERBS)
add_arguments, run = _verbs.add_arguments, _verbs.run
