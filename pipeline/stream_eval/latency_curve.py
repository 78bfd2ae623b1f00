"""Streaming accuracy at other latencies: what a faster or slower device would give with the same boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from pipeline.stream_eval.answers import Answers, Detected, Device
from pipeline.stream_eval.evaluate import MakeForecast, show_answers
from pipeline.streaming.outputs import Output
from pipeline.streaming.runtimes import Runtimes
from pipeline.streaming.schedulers import Scheduler
from pipeline.streaming.score import average_precision

LATENCIES_MS = (5, 10, 20, 33, 50, 75, 100, 150, 200, 300, 400)


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Average precision at one latency, fractions of 1; None where nothing counts.

    Attributes:
        latency_ms: what every frame takes.
        ap, ap50, ap75: as shown, forecast included.
        plain_ap: without forecast; None where there is none.
    """

    latency_ms: float
    ap: float | None
    ap50: float | None
    ap75: float | None
    plain_ap: float | None


def simulated_curve(
    detected: Sequence[Detected],
    scheduler: Scheduler,
    eta: Fraction,
    make_forecast: MakeForecast | None,
    *,
    unlimited: bool = False,
) -> list[CurvePoint]:
    """The same detections on devices that take so long for every frame, and drop what comes meanwhile."""

    def answers(latency_ms: float) -> list[Answers]:
        runtimes = Runtimes.constant(latency_ms)
        device = Device(runtimes, unlimited=unlimited)
        draws: Iterator[int] = runtimes.draws(0)
        return [one.simulated(scheduler, device, draws) for one in detected]

    return _curve(answers, eta, make_forecast)


def shifted_curve(recorded: Sequence[Answers], eta: Fraction, make_forecast: MakeForecast | None) -> list[CurvePoint]:
    """The recorded outputs, each so long after its frame; frames that were dropped stay dropped."""

    def answers(latency_ms: float) -> list[Answers]:
        return [replace(one, outputs=_shifted(one, round(latency_ms * 1e6))) for one in recorded]

    return _curve(answers, eta, make_forecast)


def _curve(
    answers: Callable[[float], list[Answers]], eta: Fraction, make_forecast: MakeForecast | None
) -> list[CurvePoint]:
    points = []
    for latency_ms in LATENCIES_MS:
        sequences = answers(latency_ms)
        truth = [one.labelled.truth for one in sequences]
        shown = [show_answers(one, eta, make_forecast) for one in sequences]
        figures = average_precision(truth, [dict(enumerate(one.boxes)) for one in shown])
        plain_ap = None
        if make_forecast is not None:
            plain = [show_answers(one, eta, None) for one in sequences]
            plain_ap = average_precision(truth, [dict(enumerate(one.boxes)) for one in plain]).ap
        points.append(CurvePoint(latency_ms, figures.ap, figures.ap50, figures.ap75, plain_ap))
    return points


def _shifted(answers: Answers, latency_ns: int) -> tuple[Output, ...]:
    stream = answers.stream
    return tuple(
        replace(output, at_ns=stream.arrival_ns(output.input_frame) + latency_ns)
        for output in sorted(answers.outputs, key=lambda output: output.input_frame)
    )
