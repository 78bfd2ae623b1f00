"""Verb `dataset`: check, convert, plot, split data sets, or make one from a video or annotations."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

SUB_VERBS = {
    "check": "what is in a data set and what is wrong with it",
    "convert": "write a data set in another layout (YOLO, COCO, VOC)",
    "plot": "draw classes, box sizes, centres and a contact sheet",
    "split": "divide a data set into train, val and test",
    "from-video": "take pictures for labelling out of a video",
    "import": "make a data set of annotations that were corrected in CVAT and other tools",
}
"""Each is the module `dataset_<name>` beside this one, with `add_arguments(parser)` and `run(args)`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The sub-verbs and their options."""
    sub_verbs = parser.add_subparsers(dest="sub_verb", metavar="SUB-VERB", required=True)
    for name, text in SUB_VERBS.items():
        sub_parser = sub_verbs.add_parser(name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False)
        _module(name).add_arguments(sub_parser)


def run(args: argparse.Namespace) -> int:
    """Run the sub-verb."""
    code: int = _module(args.sub_verb).run(args)
    return code


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"pipeline.cli.dataset_{name.replace('-', '_')}")
