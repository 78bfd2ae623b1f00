"""The result as plain JSON values: what the report file holds, and what tables and the page are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.core.arrays import IntArray
from pipeline.core.percentile import percentile
from pipeline.stream_eval.answers import Device
from pipeline.stream_eval.evaluate import Evaluation
from pipeline.stream_eval.latency_curve import CurvePoint
from pipeline.stream_eval.object_speed import SpeedBin
from pipeline.streaming.score import StreamingScores

Document = dict[str, Any]
FORMAT = 1


def to_document(
    evaluation: Evaluation,
    settings: Mapping[str, Any],
    *,
    device: Device | None,
    curve: Sequence[CurvePoint],
    speeds: Sequence[SpeedBin],
    notes: Sequence[str],
) -> Document:
    """Everything that was measured.

    Args:
        evaluation: the scores.
        settings: what was asked for.
        device: what detection takes, where it was measured or given.
        curve: accuracy at other latencies.
        speeds: error by object speed.
        notes: what whoever reads the figures must know.
    """
    latency_ns = [int(ns) for one in evaluation.answers for ns in one.latency_ns]
    return {
        "format": FORMAT,
        "settings": dict(settings),
        "notes": list(notes),
        "combined": _scores(evaluation.combined),
        "sequences": {
            name: {**_sequence(one.stream.n_frames, float(one.stream.fps), len(one.outputs)), **_scores(scores)}
            for one, (name, scores) in zip(evaluation.answers, evaluation.per_sequence.items(), strict=True)
        },
        "latency_ms": distribution(latency_ns),
        "device": None if device is None else _device(device),
        "latency_curve": [asdict(point) for point in curve],
        "error_by_speed": [asdict(one) for one in speeds],
    }


def distribution(samples_ns: Sequence[int] | IntArray) -> dict[str, float] | None:
    """Mean, percentiles and extremes in ms; None without samples."""
    values = [int(ns) / 1e6 for ns in samples_ns]
    if not values:
        return None
    return {
        "n": len(values),
        "mean": round(sum(values) / len(values), 3),
        **{f"p{share}": round(percentile(values, share / 100), 3) for share in (5, 50, 95, 99)},
        "max": round(max(values), 3),
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "runtime_ms": distribution(device.runtimes.samples_ns),
        "measured": device.runtimes.name,
        "lag_ms": round(device.lag_ns / 1e6, 3),
        "devices": "unlimited" if device.unlimited else "1",
    }


def _sequence(n_frames: int, fps: float, n_outputs: int) -> dict[str, Any]:
    return {"n_frames": n_frames, "fps": round(fps, 6), "n_outputs": n_outputs}


def _scores(scores: StreamingScores) -> dict[str, Any]:
    values = scores.to_dict()
    n = scores.n_frames
    return {**values, "miss_share": scores.misses / n, "in_time_share": scores.in_time / n}
