"""Verb `events`: what is in an event store."""

from __future__ import annotations

from pipeline.cli.sub_verbs import SubVerbs

SUB_VERBS = {
    "list": "print events as a table",
    "show": "print all that is known of one event",
    "export": "write events to .csv, .jsonl or .parquet",
    "prune": "delete old events and their pictures",
    "import": "read back what a run could not save",
}

_verbs = SubVerbs("events", SUB_VERBS)
add_arguments, run = _verbs.add_arguments, _verbs.run
