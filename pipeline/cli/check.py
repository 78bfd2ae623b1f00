"""Verb `check`: a configuration checked without running it, and printed in full."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection
from typing import Any

import yaml
from pydantic import TypeAdapter

from pipeline.cli.options import add_settings_options
from pipeline.core.url import redact


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `check`."""
    add_settings_options(parser)
    parser.add_argument("--source", action="append", metavar="SOURCE", help="also check that these can be found")
    parser.add_argument("--rules", metavar="FILE.yaml", help="also check these lines and zones")
    parser.add_argument("-o", "--output", action="append", metavar="OUTPUT", help="also check these outputs")


def run(args: argparse.Namespace) -> int:
    """Print every setting with the value that it would have."""
    from pipeline.cli.options import given, rules_section
    from pipeline.config.analytics import check_sources
    from pipeline.config.build import build_sources, load_run_config
    from pipeline.config.compensation import check_compensation
    from pipeline.config.outputs import check_outputs
    from pipeline.core.clock import MonotonicClock

    flags = given(sources=args.source, outputs=args.output, analytics=rules_section(args.rules))
    config = load_run_config(args.config, flags, args.set or [])
    sources = build_sources(config, MonotonicClock()) if config.sources or config.cameras else []
    names = [source.source_id for source in sources]
    if names:
        check_sources(config.analytics, names)
        check_compensation(config)
    outputs = check_outputs(config, names or ["source"])
    # What ${ENV} filled in may be a secret, wherever it stands.
    sys.stdout.write(redact(yaml.safe_dump(_in_full(config), sort_keys=False, allow_unicode=True)))
    print(f"# fine: {len(names)} source(s) {', '.join(names)}; {len(outputs)} output(s)".rstrip())
    return 0


def _in_full(config: Any) -> dict[str, Any]:
    """The configuration with the defaults of every stage filled in; addresses of single sources and sinks left out."""
    from pipeline.config.analytics import analytics_config
    from pipeline.config.build import ADDRESS_FIELDS, PLACEHOLDERS, detector_config, source_config, tracker_config
    from pipeline.config.outputs import alerts_config, draw_config, sink_config
    from pipeline.config.registry import SINKS, SOURCES

    full: dict[str, Any] = config.model_dump(mode="json")
    full["source"] = {
        kind: _plain(source_config(config, kind, PLACEHOLDERS.get(kind, "")), {ADDRESS_FIELDS.get(kind)})
        for kind in SOURCES
    }
    full["detector"] = _plain(detector_config(config.detector), set())
    kind, tracker = tracker_config(config.tracker)
    full["tracker"] = {"kind": kind, **(_plain(tracker, set()) if tracker is not None else {})}
    full["analytics"] = _plain(analytics_config(config.analytics), set())
    full["alerts"] = _plain(alerts_config(config), set())["alerts"]
    hidden = {"path", "url", "exist_ok", "draw"}
    full["sink"] = {
        kind: _plain(sink_config(config, kind, PLACEHOLDER_OUTPUTS.get(kind, "any")), hidden) for kind in SINKS
    }
    full["draw"] = _plain(draw_config(config.draw), set())
    return full


PLACEHOLDER_OUTPUTS = {"rtsp": "rtsp://any/stream", "video_file": "any.mp4"}
"""Addresses that stand for any where a config class looks at them."""


def _plain(config: Any, hidden: Collection[str | None]) -> dict[str, Any]:
    values: dict[str, Any] = TypeAdapter(type(config)).dump_python(config, mode="json", fallback=str)
    return {key: value for key, value in values.items() if key not in hidden}
