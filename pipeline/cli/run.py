"""Verb `run`: sources in, annotated video, tracks and a report out."""

from __future__ import annotations

import argparse
import json
import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli import logs
from pipeline.cli.options import (
    add_detector_options,
    add_settings_options,
    free_folder,
    given,
    image_size,
    rules_section,
)
from pipeline.cli.signals import stop_on_signals
from pipeline.core.errors import StageError, UsageError
from pipeline.core.whole_file import write_whole

if TYPE_CHECKING:
    from pipeline.config.schema import RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    parser.add_argument(
        "--source",
        action="append",
        metavar="SOURCE",
        help="file, glob, folder, camera number, URL or .streams list; may be given several times",
    )
    parser.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="OUTPUT",
        help=".mp4 .mkv .jsonl .csv .parquet .txt (MOT) .json (COCO), .db or postgresql://… (events), rtsp://… (push), "
        "rtsp-serve:PORT, .m3u8 (HLS), record:FOLDER, web, metrics, mqtt://…, display or null; may be given several "
        "times. Without any: video, tracks, report and, with rules, events in a fresh folder "
        "below runs/run",
    )
    parser.add_argument("--report", metavar="FILE.json", help="write the run report here")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of each source")
    parser.add_argument(
        "--tracker", metavar="NAME", help="bytetrack, a name in configs/trackers, a .yaml file, or none"
    )
    parser.add_argument(
        "--rules",
        metavar="FILE.yaml",
        help="lines, zones and other rules by source (`tracklight zones edit` draws them)",
    )
    parser.add_argument("--realtime", action="store_true", help="play files at their own rate, dropping late frames")
    parser.add_argument(
        "--compensate",
        choices=("off", "emit", "display"),
        help="live sources: move tracks ahead by their latency, to when results are emitted or shown (default: off)",
    )
    parser.add_argument("--view-img", action="store_true", help="show a window (same as -o display)")
    parser.add_argument("--exist-ok", action="store_true", help="overwrite outputs that exist")
    parser.add_argument("--project", default="runs/run", help="folder of runs without -o (default: %(default)s)")
    parser.add_argument("--name", default="exp", help="name of a run without -o (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress and no table")
    add_detector_options(parser)
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Build the pipeline, run it, and say how it went."""
    from pipeline.config.build import build_run, load_run_config
    from pipeline.config.reload import reload

    def read() -> RunConfig:
        return load_run_config(args.config, _flags(args), args.set or [])

    config = read()
    if not config.sources and not config.cameras and not config.runtime.keep_open:
        raise UsageError("run: wanted --source (a file, folder, camera, URL …), found none")
    if not config.outputs:
        config = _default_outputs(config, args)
    error: StageError | None = None
    quiet = args.quiet or args.log_format == "json"

    def read_again() -> RunConfig:
        fresh = read()
        return fresh if fresh.outputs else fresh.model_copy(update={"outputs": config.outputs, "report": config.report})

    with build_run(config) as running:
        again = partial(reload, running.control, read_again) if args.config is not None else None
        with stop_on_signals(running.runner, again) as signalled:
            try:
                from pipeline.cli.progress import RunProgress

                with RunProgress(running.runner, quiet=quiet):
                    running.runner.run()
            except StageError as failure:
                error = failure
        report = running.runner.report()
    reported = _write_report(report, config.report)
    if not quiet and report.end_to_end.count:
        from pipeline.cli.run_table import print_table

        print_table(report, running.written)
    if error is not None:
        raise error
    if signalled:
        logs.say("interrupted; what was written is complete up to here")
        return 130
    for text in report.errors:
        logs.say(text, level=logging.ERROR)
    return 1 if report.status == "partial" or not reported else 0


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    outputs = [*(args.output or []), *(["display"] if args.view_img else [])]
    flags: dict[str, Any] = {
        **given(sources=args.source, outputs=outputs or None, report=args.report, max_frames=args.max_frames),
        **given(exist_ok=args.exist_ok or None, analytics=rules_section(args.rules)),
        "detector": given(
            weights=args.weights,
            img_size=image_size(args.img_size),
            conf_thres=args.conf_thres,
            iou_thres=args.iou_thres,
            device=args.device,
            backend=args.backend,
            precision=args.precision,
            classes=args.classes,
        ),
        "runtime": given(realtime=args.realtime or None, batch=args.batch_size, compensate=args.compensate),
    }
    if args.tracker is not None:
        from pipeline.config.build import tracker_section

        flags["tracker"] = tracker_section(args.tracker)
    return flags


def _default_outputs(config: Any, args: argparse.Namespace) -> Any:
    """What a run without -o leaves behind: a video, tracks, a report, and events where there are rules."""
    folder = free_folder(Path(args.project), args.name, exist_ok=args.exist_ok)
    outputs = [str(folder / "video.mp4"), str(folder / "tracks.jsonl")]
    if config.analytics:
        outputs.append(str(folder / "events.db"))
    report = config.report or folder / "report.json"
    return config.model_copy(update={"outputs": tuple(outputs), "report": report})


def _write_report(report: Any, path: Path | None) -> bool:
    if path is None:
        return True
    try:
        write_whole(path, json.dumps(report.to_json(), indent=2) + "\n")
    except OSError as error:
        # The run itself is over and its outputs are closed, so this must not hide how it ended.
        logs.say(f"{path}: the report could not be written: {error.strerror or error}", level=logging.ERROR)
        return False
    return True
