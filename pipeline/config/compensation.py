"""Whether a configuration's wish to make up for latency can be met."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipeline.config.cameras import LIVE_KINDS, addresses_of
from pipeline.config.registry import TRACKERS
from pipeline.config.schema import RunConfig
from pipeline.core.errors import ConfigError
from pipeline.core.protocols import ForecastingTracker
from pipeline.runtime.compensate import Compensate, is_compensated
from pipeline.runtime.sink_worker import SinkBinding

logger = logging.getLogger(__name__)


def check_compensation(config: RunConfig) -> None:
    """Refuse what cannot be compensated, before anything heavy is loaded.

    Raises:
        ConfigError: there is no tracker that tells where its tracks are going, no latency to make up for, or a
            recording is played at another speed than its own.
    """
    kind = config.runtime.compensate
    if kind is Compensate.OFF:
        return
    tracker_kind = config.tracker.get("kind", "bytetrack")
    if tracker_kind == "none":
        raise ConfigError(
            f"runtime.compensate is {kind}: wanted a tracker, found tracker.kind none; boxes are moved by their tracks"
        )
    if not issubclass(TRACKERS[tracker_kind].stage_class(), ForecastingTracker):
        raise ConfigError(
            f"runtime.compensate is {kind}: wanted a tracker that tells where its tracks are going, found "
            f"{tracker_kind}; take bytetrack, or compensate off"
        )
    runtime = config.runtime
    is_late = runtime.realtime or any(address.kind in LIVE_KINDS for address in addresses_of(config))
    # Sources may also come while the run goes on.
    if not is_late and not runtime.keep_open:
        raise ConfigError(
            f"runtime.compensate is {kind}: wanted a camera or stream, found recorded sources only, which have no "
            "latency; play them with --realtime, or compensate off"
        )
    speed = config.source.get("replay", {}).get("speed", 1)
    if runtime.realtime and speed != 1:
        raise ConfigError(
            f"runtime.compensate is {kind}: wanted source.replay.speed 1, found {speed:g}; tracks move in the time of "
            "the recording, and latency is of the clock's"
        )


def warn_of_no_effect(config: RunConfig, sinks: Sequence[SinkBinding]) -> None:
    """Say so where no output of the run is one that is compensated."""
    kind = config.runtime.compensate
    if kind is not Compensate.OFF and not any(is_compensated(binding.sink, kind) for binding in sinks):
        logger.warning(
            "runtime.compensate is %s, but no output of this run is compensated: files of frames keep each frame's own "
            "boxes, and live pictures need display; see docs/streaming-accuracy.md",
            kind,
        )
