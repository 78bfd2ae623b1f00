"""Verb `zones`: draw rules with the mouse, show them on a picture, check them."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

SUB_VERBS = {
    "edit": "open a local page where lines and zones are drawn on a picture of a source",
    "show": "draw the rules of a source on a picture of it",
    "check": "say what a file of rules holds, and what is wrong with it",
}
"""Each is the module `zones_<name>` beside this one, with `add_arguments(parser)` and `run(args)`."""


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


def add_snapshot_options(parser: argparse.ArgumentParser) -> None:
    """Which picture of which source."""
    parser.add_argument(
        "--source", required=True, metavar="SOURCE", help="file, camera number, URL or folder of images"
    )
    parser.add_argument("--at", type=float, metavar="S", help="time of the picture in a recorded source (s)")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"pipeline.cli.zones_{name}")
