"""Scores of what was shown, of every sequence and of all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from pipeline.stream_eval.answers import Answers
from pipeline.streaming.score import StreamingScores, score
from pipeline.streaming.shown import Forecast, Shown, show

MakeForecast = Callable[[Answers], Forecast]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What came out of it.

    Attributes:
        answers: one per sequence.
        shown: what was shown, one per sequence.
        combined: scores of all boxes of all sequences together (not the mean of the sequences).
        per_sequence: scores by name.
    """

    answers: tuple[Answers, ...]
    shown: tuple[Shown, ...]
    combined: StreamingScores
    per_sequence: dict[str, StreamingScores]


def show_answers(answers: Answers, eta: Fraction, make_forecast: MakeForecast | None) -> Shown:
    """What stands for every frame of a sequence; `eta` as for `match`."""
    forecast = None if make_forecast is None else make_forecast(answers)
    return show(answers.outputs, answers.stream, eta, forecast)


def evaluate(
    answers: Sequence[Answers], eta: Fraction = Fraction(0), make_forecast: MakeForecast | None = None
) -> Evaluation:
    """Score sequences.

    Args:
        answers: at least one, all with the truth's same classes.
        eta: how many frames before its arrival a frame is asked for; below 0: after.
        make_forecast: makes what moves the boxes of a sequence to the frame they are shown at; None leaves them.

    Raises:
        UsageError: outputs that do not fit their stream.
        MissingExtraError: faster-coco-eval or trackeval is not installed.
    """
    shown = [show_answers(one, eta, make_forecast) for one in answers]
    truth = [one.labelled.truth for one in answers]
    offline = [one.without_latency for one in answers]
    combined = score(truth, shown, offline)
    names = [one.labelled.name for one in answers]
    if len(names) == 1:
        return Evaluation(tuple(answers), tuple(shown), combined, {names[0]: combined})
    apart = zip(names, truth, shown, offline, strict=True)
    return Evaluation(tuple(answers), tuple(shown), combined, {name: score([t], [s], [o]) for name, t, s, o in apart})
