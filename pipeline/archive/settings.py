"""All settings that an archive's results depend on, in a form that can be compared."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detector.download import file_sha256
from detector.zoo import resolve_weights
from pipeline.config.analytics import analytics_config
from pipeline.config.build import detector_config, detector_section_for_tracking, source_config, tracker_config
from pipeline.config.schema import RunConfig
from pipeline.core.errors import UsageError

_WITHOUT_EFFECT = ("detector.threads", "detector.weights", "detector.weights_sha256", "source.path", "source.threads")
"""Threads change no result, and of weights the digest counts."""
_OF_RUNS_ONLY = ("outputs", "report", "sink", "draw")


def check_for_archive(config: RunConfig) -> None:
    """Refuse what a run can have and an archive cannot.

    Raises:
        UsageError: outputs or their settings, playing at the videos' own rate, tracks that are moved, or no tracker.
    """
    for name in _OF_RUNS_ONLY:
        if getattr(config, name):
            raise UsageError(f"annotate: wanted no {name!r} in the configuration, found one; all results go to -o")
    if config.runtime.realtime:
        raise UsageError("annotate: wanted runtime.realtime off, found it on; no frame of an archive is left out")
    if config.runtime.compensate != "off":
        kind = config.runtime.compensate
        raise UsageError(f"annotate: wanted runtime.compensate off, found {kind}; an archive holds frames' own boxes")
    if set(config.source) - {"video_file"}:
        raise UsageError(f"annotate: wanted source.video_file alone, found source.{', source.'.join(config.source)}")
    if tracker_config(config.tracker)[1] is None:
        raise UsageError("annotate: wanted a tracker, found none; `tracklight run` writes detections without ids")


def result_settings(config: RunConfig) -> dict[str, Any]:
    """Settings by dotted name, defaults included, as plain JSON values. Downloads published weights.

    Raises:
        ConfigError: a value that cannot work.
        CheckpointError: the weights cannot be had.
    """
    detector = detector_config(detector_section_for_tracking(config))
    kind, tracker = tracker_config(config.tracker)
    nested = {
        "detector": asdict(detector),
        "tracker": {"kind": kind, **asdict(tracker)},
        "analytics": asdict(analytics_config(config.analytics)),
        "source": asdict(source_config(config, "video_file", "any")),
        "runtime": {"batch": config.runtime.batch},
        "max_frames": config.max_frames,
    }
    flat = dict(_flat(json.loads(json.dumps(nested, default=str))))
    weights = resolve_weights(detector.weights, detector.weights_sha256)
    digests = [file_sha256(file) for file in (weights, weights.with_suffix(".bin")) if file.is_file()]
    flat = {name: value for name, value in flat.items() if name not in _WITHOUT_EFFECT}
    return {**flat, "weights": "+".join(digests)}


def digest(settings: Mapping[str, Any]) -> str:
    """16 hexadecimal digits, equal for equal settings."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """The first setting in which they differ and both values, or None."""
    for name in dict.fromkeys((*before, *now)):
        was, is_now = before.get(name), now.get(name)
        if was != is_now:
            return f"{name} {_shown(was)} before and {_shown(is_now)} now"
    return None


def weights_name(config: RunConfig) -> str:
    """What people call the weights, without the folder."""
    return Path(detector_config(config.detector).weights).name


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{above}.{key}" if above else key
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        else:
            yield name, value


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:18]}…{text[-18:]}"
