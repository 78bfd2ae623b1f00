"""Verb `stream-eval`: what latency costs in accuracy, on labelled video."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.options import add_detector_options, add_settings_options, given, image_size
from pipeline.core.errors import UsageError

if TYPE_CHECKING:
    from pipeline.config.schema import RunConfig
    from pipeline.stream_eval.answers import Answers, Detected, Device
    from pipeline.stream_eval.clip import Clip
    from pipeline.stream_eval.evaluate import Evaluation, MakeForecast
    from pipeline.stream_eval.labelled import Labelled
    from pipeline.stream_eval.latency_curve import CurvePoint

_MOST_MS = 3_600_000
FORECASTS = ("off", "published", "ours")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `stream-eval`."""
    parser.add_argument(
        "--truth", required=True, metavar="PATH", help="COCO .json of video, a MOT folder, or a folder of those"
    )
    parser.add_argument("--fps", metavar="RATE", help="frame rate of a truth that says none, such as 30 or 30000/1001")
    parser.add_argument("--sequence", action="append", metavar="NAME", help="this sequence only; several times")
    _add_sources(parser)
    _add_schedule(parser)
    group = parser.add_argument_group("outputs")
    group.add_argument("--report", metavar="FILE.json", help="write the figures here")
    group.add_argument("--html", metavar="FILE.html", help="write a page with tables and plots here")
    group.add_argument("--video", metavar="FILE.mp4", help="write truth and what was shown, side by side")
    group.add_argument("--dump", metavar="FILE.jsonl", help="write what stood for every frame")
    group.add_argument("--save-runtimes", metavar="FILE.json", help="write the runtimes that were measured")
    group.add_argument("--exist-ok", action="store_true", help="overwrite what exists")
    group.add_argument("--quiet", action="store_true", help="no progress and no table")
    add_detector_options(parser)
    add_settings_options(parser)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is scored ({sequence} in a path stands for the sequence's name)")
    group.add_argument("--results", metavar="FILE.jsonl", help="a recorded run: `run --realtime -o FILE.jsonl`")
    group.add_argument("--source", metavar="PATH", help="run this video or folder of pictures; default: beside a truth")
    group.add_argument(
        "--detections", metavar="FILE.txt", help="simulate with these detections (MOT text) instead of a detector"
    )
    group.add_argument("--tracker", metavar="NAME", help="as for `run`; none scores the detections")


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("time")
    group.add_argument(
        "--scheduler",
        metavar="NAME",
        help="idle-free, shrinking-tail, stride-2 (any number), planned (default: the configuration's, idle-free)",
    )
    group.add_argument(
        "--forecast",
        choices=FORECASTS,
        default="off",
        help="move boxes to the frame they are shown at: the paper's way, or by our tracker (default: %(default)s)",
    )
    group.add_argument("--simulate", action="store_true", help="simulated time instead of real time: exact, repeatable")
    group.add_argument("--runtimes", metavar="FILE.json", help="simulate with these runtimes (--save-runtimes wrote)")
    group.add_argument("--runtime-ms", type=float, metavar="MS", help="simulate with one runtime for every frame")
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the runtimes drawn (default: %(default)s)")
    group.add_argument(
        "--devices",
        choices=("1", "unlimited"),
        default="1",
        help="unlimited: one for each frame (default: %(default)s)",
    )
    group.add_argument(
        "--eta", default="0", metavar="FRAMES", help="ask for a frame so long before it arrives; below 0: after"
    )
    group.add_argument(
        "--decode",
        choices=("excluded", "included"),
        default="excluded",
        help="whether decoding a frame counts as latency (default: %(default)s)",
    )


@dataclass(slots=True)
class _Evidence:
    """What is scored, and what is known beside it."""

    answers: list[Answers]
    mode: str
    detected: list[Detected] | None = None
    device: Device | None = None
    clips: list[Clip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def run(args: argparse.Namespace) -> int:
    """Score, print tables, write what was asked for."""
    _check(args)
    eta = _eta(args.eta)
    from pipeline.stream_eval.evaluate import evaluate
    from pipeline.stream_eval.forecasts import make_forecast
    from pipeline.stream_eval.frame_rate import frame_rate
    from pipeline.stream_eval.read_truth import read_truth
    from pipeline.streaming.schedulers import scheduler

    config = _config(args)
    scheduler(config.runtime.scheduler)
    labelled = read_truth(Path(args.truth), frame_rate(args.fps) if args.fps else None, args.sequence or [])
    forecast = make_forecast(args.forecast, config.tracker)
    evidence = _evidence(args, labelled, config)
    evaluation = evaluate(evidence.answers, eta, forecast)
    document = _document(args, evidence, evaluation, _curve(args, config, evidence, eta, forecast), config)
    _write(args, document, evaluation, evidence)
    if not args.quiet:
        from rich.console import Console

        from pipeline.stream_eval.table import print_document

        print_document(document, Console(highlight=False, width=None if sys.stdout.isatty() else 160))
    return 0


# -- what is asked ----------------------------------------------------------------------------------------------------


def _check(args: argparse.Namespace) -> None:
    """Options that do not go together, and outputs that are in the way, before anything is read."""
    from sinks.output_path import check_output

    for refused, text in _refusals(args):
        if refused:
            raise UsageError(text)
    for path in (args.report, args.html, args.video, args.dump, args.save_runtimes):
        if path:
            check_output(Path(path), exist_ok=args.exist_ok)


def _refusals(args: argparse.Namespace) -> Iterator[tuple[bool, str]]:
    """What does not go together: whether it is asked for, and what is said then."""
    is_given = bool(args.runtimes) or args.runtime_ms is not None
    replayed = bool(args.results or args.detections)
    yield (
        bool(args.results) and bool(args.detections or args.simulate or args.weights),
        "--results: wanted a recorded run alone, found --detections, --simulate or --weights beside it",
    )
    yield bool(args.detections and args.weights), "wanted --detections or --weights, found both"
    yield (
        replayed and bool(args.source) != bool(args.video),
        "--source: wanted with --results or --detections for --video only, which needs it, found one without the other",
    )
    yield bool(args.results and args.save_runtimes), "--save-runtimes: wanted a run that measures them, found --results"
    yield bool(args.runtimes) and args.runtime_ms is not None, "wanted --runtimes or --runtime-ms, found both"
    yield (
        (is_given or args.devices != "1") and not (args.simulate or args.detections),
        "--runtimes, --runtime-ms and --devices are for a simulation; add --simulate",
    )
    yield (
        bool(args.detections) and not is_given,
        "--detections: wanted how long they take, --runtimes FILE.json or --runtime-ms MS, found neither",
    )
    yield (
        args.runtime_ms is not None and not 0 < args.runtime_ms <= _MOST_MS,
        f"--runtime-ms: wanted milliseconds above 0 and at most {_MOST_MS}, found {args.runtime_ms}",
    )
    yield (
        args.decode == "included" and bool(args.results or is_given),
        "--decode included: wanted a run here, in real time or measured; recorded results and given runtimes do not "
        "tell it",
    )


def _eta(text: str) -> Fraction:
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise UsageError(f"--eta: wanted frames, a number such as 1, -0.5 or 1/3, found {text!r}") from None


def _config(args: argparse.Namespace) -> RunConfig:
    from pipeline.config.build import load_run_config, tracker_section

    flags: dict[str, Any] = {
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
        "runtime": given(batch=args.batch_size, scheduler=args.scheduler),
    }
    if args.tracker is not None:
        flags["tracker"] = tracker_section(args.tracker)
    config = load_run_config(args.config, flags, args.set or [])
    if config.runtime.compensate != "off":
        raise UsageError(
            f"runtime.compensate: wanted off, found {config.runtime.compensate}; --forecast ours scores what it does"
        )
    return config


# -- evidence ---------------------------------------------------------------------------------------------------------


def _evidence(args: argparse.Namespace, labelled: list[Labelled], config: RunConfig) -> _Evidence:
    from pipeline.stream_eval.job import clips_of, recorded_answers, simulate_all, stored_detections, truth_notes
    from pipeline.streaming.schedulers import scheduler

    runs = not (args.results or args.detections)
    clips = clips_of(labelled, args.source, config) if runs or args.video else []
    if runs:
        return _run_pipeline(args, clips, config)
    if args.results:
        answers, notes = recorded_answers(labelled, args.results, forecast=args.forecast != "off")
        return _Evidence(answers, "recorded", clips=clips, notes=[*truth_notes(labelled, None), *notes])
    device = _given_device(args)
    detected = stored_detections(labelled, args.detections, config)
    answers = simulate_all(detected, scheduler(config.runtime.scheduler), device, args.seed)
    return _Evidence(answers, "simulated", detected, device, clips, truth_notes(labelled, None))


def _run_pipeline(args: argparse.Namespace, clips: list[Clip], config: RunConfig) -> _Evidence:
    from dataclasses import replace

    from pipeline.stream_eval.job import MEASURE_S, Pipeline, device_of, left_out_notes, simulate_all, truth_notes
    from pipeline.streaming.schedulers import scheduler

    with _Progress(quiet=args.quiet) as progress, closing(Pipeline(config, clips, progress.show)) as it:
        detected = it.detect()
        notes = [*truth_notes([clip.labelled for clip in clips], it.classes), *left_out_notes("detector", it.classes)]
        if args.simulate:
            if args.runtimes or args.runtime_ms is not None:
                device = _given_device(args)
            else:
                device = device_of([it.play(clips[0], args.decode, MEASURE_S)], "measured in a run in real time")
                device = replace(device, unlimited=args.devices == "unlimited")
            answers = simulate_all(detected, scheduler(config.runtime.scheduler), device, args.seed)
            return _Evidence(answers, "simulated", detected, device, clips, notes)
        runs = [it.play(clip, args.decode) for clip in clips]
        device = device_of(runs, "measured in this run")
        answers = [
            replace(it.answers(clip, live), offline=one.offline())
            for clip, live, one in zip(clips, runs, detected, strict=True)
        ]
        return _Evidence(answers, "real time", detected, device, clips, notes)


def _given_device(args: argparse.Namespace) -> Device:
    from pipeline.stream_eval.answers import Device
    from pipeline.streaming.runtimes import Runtimes

    runtimes = Runtimes.constant(args.runtime_ms) if args.runtimes is None else Runtimes.load(Path(args.runtimes))
    return Device(runtimes, unlimited=args.devices == "unlimited")


# -- results ----------------------------------------------------------------------------------------------------------


def _curve(
    args: argparse.Namespace,
    config: RunConfig,
    evidence: _Evidence,
    eta: Fraction,
    forecast: MakeForecast | None,
) -> list[CurvePoint]:
    """Accuracy at other latencies, where somebody will see it."""
    from pipeline.stream_eval.latency_curve import shifted_curve, simulated_curve
    from pipeline.streaming.schedulers import scheduler

    if not (args.report or args.html):
        return []
    if evidence.detected is None:
        return shifted_curve(evidence.answers, eta, forecast)
    unlimited = args.devices == "unlimited"
    return simulated_curve(evidence.detected, scheduler(config.runtime.scheduler), eta, forecast, unlimited=unlimited)


def _document(
    args: argparse.Namespace,
    evidence: _Evidence,
    evaluation: Evaluation,
    curve: list[CurvePoint],
    config: RunConfig,
) -> dict[str, Any]:
    from pipeline.stream_eval.document import to_document
    from pipeline.stream_eval.object_speed import error_by_speed

    runs = not (args.results or args.detections)
    settings = given(
        mode=evidence.mode,
        truth=args.truth,
        results=args.results,
        detections=args.detections,
        source=args.source,
        scheduler=None if args.results else config.runtime.scheduler,
        forecast=args.forecast,
        eta=args.eta,
        decode=args.decode if runs else "excluded",
        devices=args.devices if evidence.mode == "simulated" else None,
        seed=args.seed if evidence.mode == "simulated" else None,
        tracker=None if args.results else config.tracker or {"kind": "bytetrack"},
        detector=(config.detector or {"weights": "default"}) if runs else None,
    )
    return to_document(
        evaluation,
        settings,
        device=evidence.device,
        curve=curve,
        speeds=error_by_speed(evaluation.answers, evaluation.shown),
        notes=evidence.notes,
    )


def _write(args: argparse.Namespace, document: dict[str, Any], evaluation: Evaluation, evidence: _Evidence) -> None:
    from pipeline.core.whole_file import write_whole
    from pipeline.stream_eval.dump import write_dump

    if args.save_runtimes and evidence.device is not None:
        evidence.device.runtimes.save(Path(args.save_runtimes))
    if args.report:
        write_whole(Path(args.report), json.dumps(document, indent=2) + "\n")
    if args.html:
        from pipeline.stream_eval.page_writer import html_page

        write_whole(Path(args.html), html_page(document))
    if args.dump:
        write_dump(Path(args.dump), evaluation)
    if args.video:
        _write_video(args, evaluation, evidence)


def _write_video(args: argparse.Namespace, evaluation: Evaluation, evidence: _Evidence) -> None:
    from pipeline.stream_eval.video import write_video

    clips = dict(zip([one.labelled.name for one in evidence.clips], evidence.clips, strict=True))
    for answers, shown in zip(evaluation.answers, evaluation.shown, strict=True):
        name = answers.labelled.name
        path = Path(args.video)
        if len(evaluation.answers) > 1:
            path = path.with_stem(f"{path.stem}-{name}")
        write_video(path, clips[name], shown, exist_ok=args.exist_ok)


class _Progress:
    """A bar on a terminal, nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(file=sys.stderr)
        self._bars = Progress(console=console, transient=True, disable=quiet or not console.is_terminal)
        self._task = self._bars.add_task("", total=None)

    def __enter__(self) -> _Progress:
        """Begin."""
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End; the terminal is left clean."""
        self._bars.stop()

    def show(self, text: str, done: int, total: int) -> None:
        """So many frames of so many; a total of 0 is not known."""
        self._bars.update(self._task, description=text, completed=done, total=total or None)
