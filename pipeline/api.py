"""Tracklight from Python.

Results one by one, from anything that `--source` takes::

    from pipeline.api import stream

    for result in stream("street.mp4", weights="yolox_nano.pth"):
        print(result.frame.index, result.tracks.track_id, result.tracks.xyxy)

The parts work alone too: `detector.detector.YoloDetector` gives boxes for images, `tracker.bytetrack.ByteTracker` gives
ids for boxes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config.build import build_run, load_run_config
from pipeline.config.yaml_file import merge
from pipeline.core.errors import MissingExtraError, StopRequest
from pipeline.core.frame import StreamInfo
from pipeline.core.protocols import Detector
from pipeline.core.result import FrameResult
from pipeline.runtime.channel import Channel, ChannelClosedError, Policy
from pipeline.runtime.sink_worker import SinkBinding

if TYPE_CHECKING:
    import supervision

HELD_RESULTS = 2
"""Results that wait for the loop's body. A slow body slows a recorded source down, and makes a live one drop frames."""


class _LoopSink:
    """Hands results to the generator."""

    needs_image = True
    needs_main_thread = False
    is_live = False
    shared = True
    compensated = "data"

    def __init__(self) -> None:
        self.channel: Channel[FrameResult] = Channel(HELD_RESULTS, Policy.BLOCK)

    def open(self, info: StreamInfo) -> None:
        """Nothing to prepare."""

    def write(self, result: FrameResult) -> None:
        """Wait until the loop has room. Raises StopRequest once the loop was left."""
        try:
            self.channel.put(result)
        except ChannelClosedError:
            raise StopRequest from None

    def close(self) -> None:
        """The loop ends after the results that it has not taken yet."""
        self.channel.close()


def stream(
    source: str | Path | Sequence[str | Path],
    *,
    weights: str | Path | None = None,
    detector: Detector | None = None,
    settings: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
) -> Iterator[FrameResult]:
    """Run a pipeline and give its results one by one, in memory that does not grow.

    Args:
        source: one or several of what `--source` takes.
        weights: a weights file or a model name; default: the model that ships with the project.
        detector: use this one instead; it stays open.
        settings: nested settings as in a configuration file, such as `{"tracker": {"buffer_s": 2}}`.
        config: a YAML file below these settings.

    Yields:
        One FrameResult per frame; frames of one source in order.

    Raises:
        TracklightError: the configuration cannot work, or a stage failed.
    """
    sources = [str(item) for item in ([source] if isinstance(source, str | Path) else source)]
    values: dict[str, Any] = {"sources": sources}
    if weights is not None:
        values["detector"] = {"weights": str(weights)}
    run_config = load_run_config(str(config) if config else None, merge(dict(settings or {}), values), [])
    sink = _LoopSink()
    errors: list[BaseException] = []
    with build_run(run_config, detector=detector, extra_sinks=[SinkBinding("loop", sink)]) as running:

        def run() -> None:
            try:
                running.runner.run()
            except BaseException as error:  # noqa: BLE001 - raised again in the loop's own thread
                errors.append(error)
            finally:
                sink.channel.close()

        thread = threading.Thread(target=run, name="stream")
        thread.start()
        try:
            while (result := _next(sink.channel)) is not None:
                yield result
        finally:
            running.runner.stop()
            sink.channel.abort()
            thread.join()
        if errors:
            raise errors[0]


def _next(channel: Channel[FrameResult]) -> FrameResult | None:
    try:
        return channel.get()
    except ChannelClosedError:
        return None


def to_supervision(result: FrameResult) -> supervision.Detections:
    """The tracks of a result (its detections in a run without tracker) as `supervision.Detections`.

    Raises:
        MissingExtraError: the package supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise MissingExtraError("supervision", "interop", "to_supervision") from error
    if result.tracked:
        found, ids = result.tracks, result.tracks.track_id.copy()
        return supervision.Detections(
            xyxy=found.xyxy.copy(), confidence=found.confidence.copy(), class_id=found.class_id.copy(), tracker_id=ids
        )
    boxes = result.detections
    return supervision.Detections(
        xyxy=boxes.xyxy.copy(), confidence=boxes.confidence.copy(), class_id=boxes.class_id.copy()
    )
