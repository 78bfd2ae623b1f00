"""From sources to a data set: wires pipelines that end in a harvest, and runs them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from detector.data.output_folder import check_apart, check_output_folder
from pipeline.config.build import (
    build_detector,
    build_sources,
    detector_config,
    tracker_config,
    tracker_factory,
)
from pipeline.config.cameras import LIVE_KINDS
from pipeline.config.schema import RunConfig, Section
from pipeline.core.class_names import class_ids
from pipeline.core.clock import MonotonicClock
from pipeline.core.detections import Detections
from pipeline.core.errors import SinkError, SourceError, StageError, UsageError
from pipeline.core.frame import Frame
from pipeline.core.protocols import Detector, Source
from pipeline.core.url import redact
from pipeline.footage.harvest import Harvest, SourceCount
from pipeline.footage.limited_source import LimitedSource
from pipeline.footage.picture_folder import PictureFolder
from pipeline.footage.settings import FootageSettings
from pipeline.runtime.runner import Runner
from pipeline.runtime.runner_settings import RunnerSettings
from pipeline.runtime.sink_worker import SinkBinding
from sources.address import SourceAddress, expand_sources

Watch = Callable[[Runner], AbstractContextManager[Any]]
"""Shows a runner's progress while the context lasts."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What came of it.

    Attributes:
        status: completed, interrupted, or partial (a source failed, the others are in).
        sources: what became of the frames of each source.
        pictures: by split.
        errors: one line per source that failed.
        class_names: of the data set.
    """

    status: str
    sources: dict[str, SourceCount]
    pictures: dict[str, int]
    errors: tuple[str, ...]
    class_names: tuple[str, ...]


class _NoDetector:
    """Finds nothing: pictures without labels, or labels that are found later in the pictures alone."""

    class_names: tuple[str, ...] = ()

    def warmup(self) -> None:
        """Nothing to prepare."""

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """No boxes in any frame."""
        return [Detections.empty()] * len(frames)

    def close(self) -> None:
        """Nothing to release."""


class Collection:
    """Makes a data set from footage. Recorded sources are read one after another, then all live ones together.

    Args:
        config: sources, limits, detector and tracker. Without `detector.weights` pictures get no labels; with them
            and a tracker, every frame is looked at, without a tracker the pictures only.
        settings: which frames, which boxes.
        folder: where the data set goes.
        exist_ok: replace a data set that this program wrote there.

    Raises:
        UsageError: no source, a folder that cannot be used, or a detector threshold beside those of `settings`.
        SourceError: a source that leads nowhere.
    """

    def __init__(self, config: RunConfig, settings: FootageSettings, folder: Path, *, exist_ok: bool = False) -> None:
        if not config.sources:
            raise UsageError("from-video: wanted at least one source, found none")
        if "conf_thres" in config.detector:
            raise UsageError("detector.conf_thres: wanted to be left out; --conf and --unsure say which boxes count")
        check_output_folder(folder, exist_ok=exist_ok)
        self._config = config
        self._settings = settings
        self._folder = folder
        self._clock = MonotonicClock()
        self._addresses = expand_sources(config.sources)
        check_apart(folder, [Path(address.value) for address in self._addresses if address.kind not in LIVE_KINDS])
        self._sources = {
            source.source_id: LimitedSource(source, settings.duration_s)
            for source in build_sources(config, self._clock)
        }
        self._stopping = threading.Event()
        # Without a lock: a signal's handler runs in the very thread that sets it.
        self._runner: Runner | None = None

    def stop(self, *, at_once: bool = False) -> None:
        """Ask for the end: what was taken is kept, and the data set is finished. From any thread; idempotent."""
        self._stopping.set()
        if self._runner is not None:
            self._runner.stop(at_once=at_once)

    def run(self, watch: Watch) -> Collected:
        """Read all sources and write the data set, which is finished whatever happens after the first picture.

        Raises:
            TracklightError: weights that cannot be used; every source failed; a stage failed.
            SinkError: the folder cannot be written.
        """
        with self._labeller() as (detector, class_names, wanted):
            folder = PictureFolder(self._folder, self._settings, class_names, labelled=detector is not None)
            tracking = self._tracking() if detector is not None else {"kind": "none"}
            each_frame = detector is not None and tracking.get("kind") != "none"
            harvest = Harvest(
                self._settings,
                folder,
                class_ids=wanted,
                detector=None if each_frame else detector,
                full=lambda name: self._sources[name].interrupt(),
            )
            errors: list[str] = []
            pictures = dict.fromkeys(self._settings.shares, 0)
            status = "failed"
            try:
                for batch in self._batches():
                    used = detector if each_frame and detector is not None else _NoDetector()
                    errors += self._run(batch, used, tracking, harvest, watch)
                if len(errors) == len(self._sources):
                    raise SourceError(errors[0])
                status = "interrupted" if self._stopping.is_set() else "partial" if errors else "completed"
            finally:
                # A run that fails or is stopped before its first picture leaves the folder as it was.
                if len(folder) or status in ("completed", "partial"):
                    with _writing(self._folder):
                        pictures = folder.finish(self._facts(status, harvest, errors))
        return Collected(status, harvest.counts, pictures, tuple(errors), class_names)

    def _run(
        self, batch: list[Source], detector: Detector, tracking: Section, harvest: Harvest, watch: Watch
    ) -> list[str]:
        """Run some sources to their end. Returns one line for each that failed."""
        runtime = self._config.runtime
        limits = RunnerSettings(
            max_batch=runtime.batch,
            batch_wait_s=runtime.batch_wait_s,
            drain_s=runtime.drain_s,
            max_frames=self._config.max_frames,
        )
        sinks = [SinkBinding("pictures", harvest)]
        runner = Runner(batch, detector, tracker_factory(tracking), sinks, limits, self._clock)
        self._runner = runner
        if self._stopping.is_set():
            return []
        try:
            with watch(runner):
                runner.run()
        except StageError as error:
            if not error.stage.startswith("source:"):
                raise
        return [source.error for source in runner.report().sources.values() if source.error]

    def _batches(self) -> Iterator[list[Source]]:
        live: list[Source] = []
        for address in self._addresses:
            source = self._sources[address.source_id]
            if address.kind in LIVE_KINDS:
                live.append(source)
            else:
                yield [source]
        if live:
            yield live

    @contextmanager
    def _labeller(self) -> Iterator[tuple[Detector | None, tuple[str, ...], tuple[int, ...]]]:
        """The detector if there is one, the class names of the data set, and their numbers in the detector."""
        section = self._config.detector
        if "weights" not in section:
            yield None, tuple(dict.fromkeys(map(str, detector_config(section).classes))), ()
            return
        lowest = self._settings.unsure
        if self._tracking().get("kind") != "none":
            lowest = min(lowest, tracker_config(self._tracking())[1].low_score)
        detector = build_detector({**section, "conf_thres": lowest})
        try:
            chosen = detector_config(section).classes
            numbers = class_ids(chosen, detector.class_names) if chosen else tuple(range(len(detector.class_names)))
            yield detector, tuple(detector.class_names[number] for number in numbers), numbers
        finally:
            detector.close()

    def _tracking(self) -> Section:
        """The tracker's section. A box that may be a label may begin a track too, unless the section says otherwise."""
        section = self._config.tracker
        if section.get("kind", "bytetrack") != "bytetrack":
            return section
        conf = self._settings.conf
        high = section.get("high_score", min(0.5, conf))
        return {"high_score": high, "new_track_score": max(high, conf), "low_score": min(0.1, high), **section}

    def _facts(self, status: str, harvest: Harvest, errors: Sequence[str]) -> dict[str, Any]:
        """The head of the manifest."""
        counts = harvest.counts
        addresses = [_address_record(address) | _count_record(counts, address) for address in self._addresses]
        return {
            "status": status,
            "settings": asdict(self._settings),
            "weights": self._config.detector.get("weights"),
            "errors": [redact(error) for error in errors],
            "sources": addresses,
        }


def _address_record(address: SourceAddress) -> dict[str, Any]:
    return {"source": address.source_id, "kind": str(address.kind), "address": redact(address.value)}


def _count_record(counts: dict[str, SourceCount], address: SourceAddress) -> dict[str, Any]:
    return asdict(counts.get(address.source_id, SourceCount()))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the system refuses becomes one line."""
    try:
        yield
    except OSError as error:
        if isinstance(error, SinkError):
            raise
        raise SinkError(f"{folder}: wanted to write there, found: {error.strerror or error}") from error
