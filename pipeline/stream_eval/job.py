"""The steps of an evaluation: answers from a recorded run, from a run in real time, or from a simulated one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.build import build_detector, detector_section_for_tracking, tracker_config, tracker_factory
from pipeline.config.schema import RunConfig
from pipeline.core.errors import UsageError
from pipeline.core.motion import TrackMotion
from pipeline.stream_eval.answers import Answers, Detected, Device
from pipeline.stream_eval.classes import ClassMap
from pipeline.stream_eval.clip import Clip, detect_all
from pipeline.stream_eval.labelled import Labelled
from pipeline.stream_eval.live import Decode, LiveRun, run_live
from pipeline.stream_eval.results import pair_with, read_results, recorded
from pipeline.stream_eval.stored import read_detections
from pipeline.streaming.boxes import Boxes
from pipeline.streaming.outputs import Output
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler

MEASURE_S = 10.0
"""Of the clip that is played to measure runtimes for a simulation."""
PLACE = "{sequence}"
"""Stands for a sequence's name in a path."""

Progress = Callable[[str, int, int], None]


def clips_of(labelled: Sequence[Labelled], source: str | None, config: RunConfig) -> list[Clip]:
    """The pictures of every sequence.

    Args:
        labelled: the sequences.
        source: a video or a folder, `{sequence}` standing for the sequence's name; None = beside the labels.
        config: the run that they are played with.

    Raises:
        UsageError: one place for several sequences, or none where nothing lies beside the labels.
        SourceError: nothing is at a place.
    """
    clips = []
    for one in labelled:
        if source is None and not one.pictures.is_dir():
            raise UsageError(
                f"{one.name}: wanted its pictures in {one.pictures}, found no such folder; "
                "name a video or folder with --source"
            )
        if source is not None and PLACE not in source and len(labelled) > 1:
            raise UsageError(
                f"--source: wanted a place for each of {len(labelled)} sequences ({PLACE} stands for the name), "
                f"found {source!r}; or choose one with --sequence"
            )
        place = str(one.pictures) if source is None else source.replace(PLACE, one.name)
        alone: dict[str, Any] = {
            "sources": (place,),
            "cameras": {},
            "outputs": (),
            "report": None,
            "analytics": {},
            "alerts": (),
        }
        clips.append(Clip(one, config.model_copy(update=alone)))
    return clips


class Pipeline:
    """A detector and tracker at work on labelled clips.

    Args:
        config: the run: detector, tracker, runtime.
        clips: at least one, with the classes of the first one's labels.
        progress: told what is done: a text, how many frames, of how many (0 = not known).

    Attributes:
        clips: as given.
        classes: which of the detector's classes are the truth's.

    Raises:
        UsageError: the detector knows no class of the truth.
        TracklightError: the detector cannot be made.
    """

    def __init__(
        self, config: RunConfig, clips: Sequence[Clip], progress: Progress = lambda text, done, total: None
    ) -> None:
        self._config = config
        self.clips = clips
        self._progress = progress
        self._detector = build_detector(detector_section_for_tracking(config))
        try:
            self.classes = ClassMap(self._detector.class_names, clips[0].labelled.truth.class_names)
        except UsageError:
            self._detector.close()
            raise

    def close(self) -> None:
        """Release the detector. Idempotent."""
        self._detector.close()

    def detect(self) -> list[Detected]:
        """Look at every labelled frame once. Raises as `detect_all` does."""
        factory = tracker_factory(self._config.tracker)
        found = []
        for clip in self.clips:
            name = clip.labelled.name
            detections = detect_all(clip, self._detector, partial(self._progress, f"detecting {name}"))
            found.append(Detected(clip.labelled, [self.classes.detections(one) for one in detections], factory))
        return found

    def play(self, clip: Clip, decode: Decode, seconds: float | None = None) -> LiveRun:
        """Run one clip in real time. Raises as `run_live` does."""
        self._progress(f"playing {clip.labelled.name} in real time", 0, 0)
        return run_live(clip, self._detector, decode=decode, seconds=seconds)

    def answers(self, clip: Clip, run: LiveRun) -> Answers:
        """What a run in real time said, in the truth's classes."""
        kind, _ = tracker_config(self._config.tracker)
        outputs: list[Output] = []
        motion: dict[int, TrackMotion] = {}
        for one in run.results:
            boxes = Boxes.of_detections(one.detections) if kind == "none" else Boxes.of_tracks(one.tracks)
            at_ns = max((one.timeline.emitted or 0) - run.t0_ns, clip.stream.arrival_ns(one.frame))
            outputs.append(Output(at_ns, one.frame, self.classes.boxes(boxes)))
            if one.motion is not None:
                motion[one.frame] = one.motion.select(self.classes.known(boxes.class_id))
        return Answers(clip.labelled, tuple(outputs), None, motion if len(motion) == len(outputs) else None)


def device_of(runs: Sequence[LiveRun], name: str) -> Device:
    """What runs in real time measured: how long the detector is busy with a frame, and what is added to that."""
    busy = np.concatenate([run.span_ns("dequeued", "detect_end") + run.turn_ns() for run in runs])
    after = np.concatenate([run.span_ns("detect_end", "emitted") - run.turn_ns() for run in runs])
    wait = np.concatenate([run.wait_ns() for run in runs])
    lag_ns = float(after.mean()) + (float(wait.mean()) if len(wait) else 0.0)
    return Device(Runtimes(busy, name), max(round(lag_ns), 0))


def simulate_all(detected: Sequence[Detected], scheduler: Scheduler, device: Device, seed: int) -> list[Answers]:
    """Every sequence on the same device, one after the other, each beside what would be said without latency."""
    draws = device.runtimes.draws(seed)
    return [replace(one.simulated(scheduler, device, draws), offline=one.offline()) for one in detected]


def recorded_answers(
    labelled: Sequence[Labelled], results: str, *, forecast: bool = False
) -> tuple[list[Answers], list[str]]:
    """What recorded runs said.

    Args:
        labelled: the sequences.
        results: path of the JSON lines, `{sequence}` standing for the sequence's name.
        forecast: boxes will be moved to the frame that they are shown at.

    Returns:
        one per sequence, and what whoever reads the figures must know.

    Raises:
        DatasetError: a file that cannot be read, or is no paced run of these sequences.
        UsageError: boxes of no class that the truth has, or boxes to be moved that the run has moved already.
    """
    names = [one.name for one in labelled]
    if PLACE in results:
        paths = [Path(results.replace(PLACE, name)) for name in names]
        lines = [pair_with([name], read_results(path), path)[0] for name, path in zip(names, paths, strict=True)]
    else:
        lines = pair_with(names, read_results(Path(results)), Path(results))
    answers, notes = [], []
    for one, of_sequence in zip(labelled, lines, strict=True):
        run = recorded(of_sequence, one.truth.stream)
        outputs = run.outputs
        if run.moved and forecast:
            raise UsageError(f"{one.name}: wanted boxes to forecast from, found them moved by --compensate already")
        if run.moved:
            notes.append(f"{one.name}: --compensate moved these boxes off their frames, so AP without latency is low")
        if run.class_names:
            classes = ClassMap(run.class_names, one.truth.class_names)
            outputs = tuple(replace(output, boxes=classes.boxes(output.boxes)) for output in outputs)
            notes += left_out_notes(one.name, classes)
        answers.append(Answers(one, outputs, None))
        notes += [f"{one.name}: captures lie up to {run.worst_off_ns / 1e6:.2f} ms off the stream's even pace"]
    notes.append("AP without latency is that of the frames that were processed, each against its own labels")
    return answers, notes


def stored_detections(labelled: Sequence[Labelled], path: str, config: RunConfig) -> list[Detected]:
    """Detections of every sequence from MOT text, `{sequence}` in the path standing for the sequence's name.

    Raises:
        DatasetError: a file that cannot be used.
        UsageError: one file for several sequences.
    """
    if PLACE not in path and len(labelled) > 1:
        raise UsageError(
            f"--detections: wanted a file for each of {len(labelled)} sequences ({PLACE} stands for the name), "
            f"found {path!r}; or choose one with --sequence"
        )
    factory = tracker_factory(config.tracker)
    return [Detected(one, read_detections(Path(path.replace(PLACE, one.name)), one), factory) for one in labelled]


def left_out_notes(name: str, classes: ClassMap) -> list[str]:
    """What was left out because truth and detector know different classes."""
    if not classes.left_out:
        return []
    counted = ", ".join(f"{count} {what}" for what, count in classes.left_out.most_common(6))
    return [f"{name}: boxes of classes that the truth has not are left out: {counted}"]


def truth_notes(labelled: Sequence[Labelled], classes: ClassMap | None) -> list[str]:
    """What the labels keep from being told, and which of their classes are never found."""
    notes = [
        f"{one.name}: labels without track ids, so no HOTA, MOTA and IDF1 and no error by speed"
        for one in labelled
        if not one.has_tracks
    ]
    if classes is not None and classes.unknown:
        notes.append(f"classes that the detector does not know count as not found: {', '.join(classes.unknown[:8])}")
    return notes
