"""Verb `annotate`: a folder of videos in, tracks of every video out; goes on where it was interrupted."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import add_detector_options, add_settings_options, given, image_size, rules_section
from pipeline.cli.signals import stop_on_signals
from pipeline.core.errors import UsageError
from pipeline.core.url import redact

if TYPE_CHECKING:
    from pipeline.archive.annotate import Annotated
    from pipeline.archive.formats import FormatOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `annotate`."""
    parser.add_argument(
        "--source",
        nargs="+",
        action="extend",
        metavar="SOURCE",
        help="folders (with all below), globs or files of recorded video",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where results go, or are continued")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one per core, two on a GPU)")
    parser.add_argument(
        "--ray", metavar="ADDRESS", help="share the videos out with Ray: `local`, or a cluster's address, or auto"
    )
    parser.add_argument(
        "--format", action="append", metavar="NAME", help="also write all results as NAME; may be given several times"
    )
    parser.add_argument(
        "--format-set",
        action="append",
        metavar="KEY=VALUE",
        help="a setting of the formats, such as min_confidence=0.5",
    )
    parser.add_argument(
        "--only-formats", action="store_true", help="annotate nothing; write --format from what is done in -o"
    )
    parser.add_argument("--rules", metavar="FILE.yaml", help="lines, zones and other rules by video name")
    parser.add_argument("--tracker", metavar="NAME", help="bytetrack, a name in configs/trackers, or a .yaml file")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of each video")
    parser.add_argument("--exist-ok", action="store_true", help="annotate again what was done with other settings")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    add_detector_options(parser)
    add_settings_options(parser)


def run(args: argparse.Namespace) -> int:
    """Annotate what is not done, write the formats, and say how it went."""
    out = Path(args.output)
    formats = _Formats.of(args)
    if args.only_formats:
        if not formats.names:
            raise UsageError("--only-formats: wanted --format with it, found none")
        formats.write(out, quiet=args.quiet)
        return 0
    from pipeline.archive.annotate import Annotation
    from pipeline.cli.archive_progress import ArchiveProgress
    from pipeline.config.build import load_run_config

    config = load_run_config(args.config, _flags(args), args.set or [])
    annotation = Annotation(
        config, out, workers=args.workers, ray=args.ray, exist_ok=args.exist_ok, verbose=args.verbose
    )
    with stop_on_signals(annotation) as signalled:
        annotated = annotation.run(lambda one: ArchiveProgress(one, quiet=args.quiet))
    for name, status, reason in annotated.given_up:
        print(f"tracklight: {status}: {redact(reason if name in reason else f'{name}: {reason}')}", file=sys.stderr)
    if not args.quiet:
        _print_summary(annotated, out)
    if signalled:
        print("tracklight: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    if annotated.progress.n_done:
        formats.write(out, quiet=args.quiet)
    return 1 if annotated.status == "partial" else 0


def _flags(args: argparse.Namespace) -> dict[str, Any]:
    flags: dict[str, Any] = {
        **given(sources=args.source, max_frames=args.max_frames, analytics=rules_section(args.rules)),
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
        "runtime": given(batch=args.batch_size),
    }
    if args.tracker is not None:
        from pipeline.config.build import tracker_section

        flags["tracker"] = tracker_section(args.tracker)
    return flags


@dataclass(frozen=True, slots=True)
class _Formats:
    """What `--format` and `--format-set` ask for."""

    names: tuple[str, ...]
    options: FormatOptions | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> _Formats:
        """Checked before anything is annotated."""
        names = tuple(dict.fromkeys(args.format or ()))
        if not names:
            if args.format_set:
                raise UsageError("--format-set: wanted --format with it, found none")
            return cls((), None)
        from pipeline.archive.formats import FORMATS, FormatOptions
        from pipeline.config.registry import nearest
        from pipeline.config.validate import validated
        from pipeline.config.yaml_file import parse_settings

        for name in names:
            if name not in FORMATS:
                raise UsageError(f"--format: wanted {', '.join(FORMATS)}, found {name!r}{nearest(name, list(FORMATS))}")
        return cls(names, validated(FormatOptions, parse_settings(args.format_set or []), "--format-set"))

    def write(self, out: Path, *, quiet: bool) -> None:
        """All results on disk, in each format in a folder of its name."""
        if not self.names:
            return
        from pipeline.archive.archive import read_archive
        from pipeline.archive.formats import write_format
        from pipeline.archive.lock import locked

        videos = read_archive(out)
        if not videos:
            raise UsageError(f"{out}: wanted annotated videos to write as {', '.join(self.names)}, found none")
        with locked(out):
            for name in self.names:
                write_format(name, videos, out / name, self.options)
                if not quiet:
                    print(f"tracklight: wrote {out / name}", file=sys.stderr)


def _print_summary(annotated: Annotated, out: Path) -> None:
    before = f", {annotated.n_skipped} were done before" if annotated.n_skipped else ""
    redone = f" ({annotated.n_redone} again)" if annotated.n_redone else ""
    given_up = f", {len(annotated.given_up)} given up" if annotated.given_up else ""
    progress = annotated.progress
    print(
        f"tracklight: {annotated.status}: {annotated.n_done} videos annotated{redone}{before}{given_up}; "
        f"{progress.n_frames} frames, {progress.frames_per_s:.1f} frames/s; see {out / 'manifest.json'}",
        file=sys.stderr,
    )
