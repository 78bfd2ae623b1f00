"""Verb `events`: what is in an event store."""

from __future__ import annotations

import argparse
import importlib
from types import ModuleType

SUB_VERBS = {
    "list": "print events as a table",
    "show": "print all that is known of one event",
    "export": "write events to .csv, .jsonl or .parquet",
    "prune": "delete old events and their pictures",
    "import": "read back what a run could not save",
}
"""Each is the module `events_<name>` beside this one, with `add_arguments(parser)` and `run(args)`."""


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
    return importlib.import_module(f"pipeline.cli.events_{name}")
