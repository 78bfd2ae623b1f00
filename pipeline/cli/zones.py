"""Verb `zones`: draw rules with the mouse, show them on a picture, check them."""

from __future__ import annotations

import argparse

from pipeline.cli.sub_verbs import SubVerbs

SUB_VERBS = {
    "edit": "open a local page where lines and zones are drawn on a picture of a source",
    "show": "draw the rules of a source on a picture of it",
    "check": "say what a file of rules holds, and what is wrong with it",
}

_verbs = SubVerbs("zones", SUB_VERBS)
add_arguments, run = _verbs.add_arguments, _verbs.run


def add_snapshot_options(parser: argparse.ArgumentParser) -> None:
    """Which picture of which source."""
    parser.add_argument(
        "--source", required=True, metavar="SOURCE", help="file, camera number, URL or folder of images"
    )
    parser.add_argument("--at", type=float, metavar="S", help="time of the picture in a recorded source (s)")
