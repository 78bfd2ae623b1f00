"""Frame rates as exact numbers."""

from __future__ import annotations

from fractions import Fraction

from pipeline.core.errors import UsageError

_NEAR = Fraction(1, 1000)
MOST_FPS = 10_000


def frame_rate(value: float | str) -> Fraction:
    """A frame rate, exactly: 30, 12.5, 30000/1001; 29.97 and its like are the television rate they stand for.

    Raises:
        UsageError: no number, or none above 0 and at most `MOST_FPS`.
    """
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= MOST_FPS:
        raise UsageError(f"frame rate: wanted frames per s such as 30 or 30000/1001, found {value!r}")
    television = Fraction(round(rate) * 1000, 1001)
    return television if rate.denominator > 1 and abs(rate - television) < _NEAR else rate


def rates_agree(one: Fraction, other: Fraction) -> bool:
    """Whether two rates are the same to 0.5 %: files round theirs."""
    return abs(one - other) <= one / 200


def rate_text(rate: Fraction) -> str:
    """A rate as people write it."""
    return f"{float(rate):.6g} frames/s"
