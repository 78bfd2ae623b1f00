"""Verb `zones check`: what a file of rules holds."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `zones check`."""
    parser.add_argument("--rules", required=True, metavar="RULES.yaml", help="file to check")


def run(args: argparse.Namespace) -> int:
    """Print one line per source; what is wrong is an error."""
    from pipeline.config.analytics import analytics_config
    from pipeline.config.yaml_file import read_yaml
    from pipeline.core.errors import ConfigError

    try:
        config = analytics_config(read_yaml(Path(args.rules)))
    except ConfigError as error:
        text = str(error)
        raise ConfigError(text if text.startswith(args.rules) else f"{args.rules}: {text}") from None
    for name, rules in config.sources.items():
        lines, zones = ", ".join(one.name for one in rules.lines), ", ".join(one.name for one in rules.zones)
        parts = [f"lines {lines}" if lines else "", f"zones {zones}" if zones else ""]
        parts += ["ground plane" if rules.ground_plane else "", "heat map" if rules.heatmap else ""]
        print(f"{name}: {'; '.join(part for part in parts if part) or 'no lines, no zones'}")
    print(f"# fine: rules for {len(config.sources)} source(s)")
    return 0
