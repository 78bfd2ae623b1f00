"""Verbs that have verbs of their own: `tracklight dataset check`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping
from types import ModuleType


class SubVerbs:
    """The sub-verbs of a verb.

    Args:
        verb: its name.
        texts: what each sub-verb does, by name. Each is the module `<verb>_<name>` beside this one (`_` for `-`), with
            `add_arguments(parser)` and `run(args)`.
    """

    def __init__(self, verb: str, texts: Mapping[str, str]) -> None:
        self._verb = verb
        self._texts = texts

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """The sub-verbs and their options."""
        parsers = parser.add_subparsers(dest="sub_verb", metavar="SUB-VERB", required=True)
        for name, text in self._texts.items():
            sub_parser = parsers.add_parser(name, help=text, description=f"{text.capitalize()}.", allow_abbrev=False)
            self._module(name).add_arguments(sub_parser)

    def run(self, args: argparse.Namespace) -> int:
        """Run the sub-verb."""
        code: int = self._module(args.sub_verb).run(args)
        return code

    def _module(self, name: str) -> ModuleType:
        return importlib.import_module(f"pipeline.cli.{self._verb}_{name.replace('-', '_')}")
