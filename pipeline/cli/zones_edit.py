"""Verb `zones edit`: rules drawn with the mouse."""

from __future__ import annotations

import argparse
import shlex
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import add_settings_options
from pipeline.cli.signals import signals_noted

if TYPE_CHECKING:
    from pipeline.zone_editor.rules_file import RulesFile
    from pipeline.zone_editor.snapshot import Snapshot

_N_COLORS = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `zones edit`."""
    from pipeline.cli.zones import add_snapshot_options

    add_snapshot_options(parser)
    parser.add_argument(
        "-o", "--output", required=True, metavar="RULES.yaml", help="file to write; rules in it are loaded first"
    )
    parser.add_argument(
        "--units", choices=("fraction", "px"), help="of the coordinates written; absent = as in the file, else fraction"
    )
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the page; 0 = any (default)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address of the page")
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until the person is done."""
    from pipeline.core.errors import UsageError
    from pipeline.zone_editor.rules_file import RulesFile
    from pipeline.zone_editor.server import EditorContent, EditorServer
    from pipeline.zone_editor.snapshot import take_snapshot

    path = Path(args.output)
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"-o: wanted a .yaml file, found {args.output!r}")
    if path.is_dir():
        raise UsageError(f"-o: wanted a .yaml file, found the folder {path}")
    snapshot = take_snapshot(args.source, args.at, args.config, args.set or [])
    height, width = snapshot.frame.shape_hw
    rules = RulesFile(path, snapshot.info.source_id, (width, height), args.units)
    content = EditorContent(_facts(args.source, snapshot, rules), _jpeg(snapshot), rules)
    with EditorServer(content, args.port) as server, signals_noted() as received:
        print(f"The editor is at {server.url}", flush=True)
        print("Ctrl-C here, or Done on the page, ends it.", flush=True)
        if not args.no_browser:
            webbrowser.open(server.url)
        server.wait(received)
    print(f"Rules are in {path}" if path.exists() else "Nothing was saved")
    return 0


def _facts(source: str, snapshot: Snapshot, rules: RulesFile) -> dict[str, Any]:
    """What the page shows and cannot change."""
    from pipeline.core.url import redact
    from sinks.palette import Bgr, line_color, rule_color

    def css(color: Bgr) -> str:
        blue, green, red = color
        return f"#{red:02x}{green:02x}{blue:02x}"

    height, width = snapshot.frame.shape_hw
    shown = redact(source)
    return {
        "source": shown,
        "source_id": snapshot.info.source_id,
        "key": rules.key,
        "is_live": snapshot.info.is_live,
        "width": width,
        "height": height,
        "at_s": snapshot.frame.pts_s,
        "file": str(rules.path),
        "command": f"tracklight run --source {shlex.quote(shown)} --rules {shlex.quote(str(rules.path))} -o out.mp4",
        "zone_colors": [css(rule_color(number)) for number in range(_N_COLORS)],
        "line_colors": [css(line_color(number)) for number in range(_N_COLORS)],
    }


def _jpeg(snapshot: Snapshot) -> bytes:
    import cv2

    # 92: edges stay sharp enough to put corners on them, and a 4K picture loads at once.
    return cv2.imencode(".jpg", snapshot.frame.image, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
