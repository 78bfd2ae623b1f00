"""Verb `zones show`: the rules of a source drawn on a picture of it, as a run would draw them."""

from __future__ import annotations

import argparse
from pathlib import Path

from pipeline.cli.options import add_settings_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `zones show`."""
    from pipeline.cli.zones import add_snapshot_options

    add_snapshot_options(parser)
    parser.add_argument("--rules", required=True, metavar="RULES.yaml", help="file with the rules")
    parser.add_argument("-o", "--output", required=True, metavar="PICTURE", help=".png or .jpg to write")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite the picture if it exists")
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the picture."""
    from pipeline.config.analytics import analytics_config, rules_for
    from pipeline.config.yaml_file import read_yaml
    from pipeline.core.errors import ConfigError, SinkError, UsageError
    from pipeline.core.whole_file import write_whole
    from pipeline.zone_editor.rules_picture import rules_picture
    from pipeline.zone_editor.snapshot import take_snapshot

    path = Path(args.output)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"-o: wanted a .png or .jpg file, found {args.output!r}")
    if path.exists() and not args.exist_ok:
        raise UsageError(f"{path}: exists already; choose another name or say --exist-ok")
    config = analytics_config(read_yaml(Path(args.rules)))
    snapshot = take_snapshot(args.source, args.at, args.config, args.set or [])
    rules = rules_for(config, snapshot.info.source_id)
    if rules is None:
        there = ", ".join(config.sources) or "none"
        raise ConfigError(f"{args.rules}: wanted rules for {snapshot.info.source_id}, found those of: {there}")
    try:
        write_whole(path, rules_picture(snapshot, rules, path.suffix.lower()))
    except OSError as error:
        raise SinkError(f"{path}: cannot be written: {error.strerror or error}") from error
    print(path)
    return 0
