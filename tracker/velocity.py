"""Where tracks are going: a filter made to look ahead, beside the one that boxes are matched by.

ByteTrack's filter lets a box jump by a twentieth of its height between any two frames. That keeps hold of boxes, but
leaves little for velocity to explain: it is learnt slowly, and noise gets into it. This filter differs:

- A box moves by its velocity and in no other way. The velocity wanders, and is forgotten over seconds.
- How exact the detector's boxes are is learnt from how they fit, for detectors differ by a factor of ten. The surer one
  is of a box, the better it fits: its variance goes with sqrt(1 - score).
- The centre's two coordinates share one covariance; width and height, which are noisier and change less, another.
- What all tracks do at once is the camera's doing. This drift is followed on its own, since ten tracks together tell
  it better than one, and tracks move relative to it.
- A velocity is given out less some of its doubt (James and Stein), so that what stands still stays where it is.

Lengths are in heights of the track's box where nothing else is said. docs/streaming-accuracy.md tells on what the
numbers were chosen. Source: the velocity is an Ornstein-Uhlenbeck process; W. James and C. Stein, "Estimation with
quadratic loss" (1961).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracker.track_table import DOUBT, PLACE, SPEED, Real, Whole

NOISIEST = (1 / 20, 1 / 10)
"""Standard deviation of a measured centre, and of a width or height, at first; it is never taken for more."""
STEADIEST = 1 / 200
"""Nor for less than this."""
NOISE_MEMORY = 150.0
"""How many boxes it is learnt from, the latest ones counting most."""
NOISE_START = 10.0
"""How many boxes the first guess counts for."""
OUTLIER = 3.0
"""A box that fits worse than by this many standard deviations counts as one that fits so badly."""
SUREST = 0.002
"""No detector is surer than 1 - this."""
USUAL = 0.03
"""1 - the score at which noise is what it is taken for."""
CENTRE_CHANGE = 0.2
"""How much a velocity wanders: standard deviation in heights/s after a second."""
SIZE_CHANGE = 0.05
CENTRE_START_STD = 1.5
"""Standard deviation of the velocity of a new track, in heights/s."""
SIZE_START_STD = 0.3
MEMORY_S = 4.0
"""Time over which a velocity is forgotten."""
DRIFT_MEMORY_S = 0.5
"""Time over which the camera's velocity is forgotten."""
DRIFT_LEARNING_S = 1.5
"""Time over which it is learnt how much the camera moves."""
MIN_TOGETHER = 3
"""Fewer tracks than this do not tell the camera's motion from their own."""
SHRINK = 0.5
"""How many variances a squared velocity is cut by."""

_BLOCKS = ((slice(0, 2), slice(0, 3)), (slice(2, 4), slice(3, 6)))
_CHANGE = (CENTRE_CHANGE, SIZE_CHANGE)
_START_STD = (CENTRE_START_STD, SIZE_START_STD)


class Drift:
    """How all tracks move at once: the camera's velocity in the picture.

    Attributes:
        velocity: px/s, x and y.
        variance: of it, px^2/s^2.
    """

    def __init__(self) -> None:
        self.velocity = [0.0, 0.0]
        self.variance = [0.0, 0.0]
        # Sums over the frames so far, the latest ones counting most: their quotient is the mean square of the velocity.
        self._squares = [0.0, 0.0]
        self._time2 = 0.0

    def pass_time(self, dt_s: float) -> None:
        """Forget some of the velocity over `dt_s` seconds."""
        keep = math.exp(-dt_s / DRIFT_MEMORY_S)
        for c in range(2):
            usual = max(self._squares[c] / self._time2, 0.0) if self._time2 > 0 else 0.0
            self.velocity[c] *= keep
            self.variance[c] = self.variance[c] * (keep * keep) + usual * (1 - keep * keep)

    def learn(self, common: tuple[float, float], variance: float, dt_s: float) -> tuple[float, float]:
        """Take the shift in px that all tracks together show over `dt_s` seconds beyond what was predicted.

        Returns:
            how much of it is taken for the camera's, px.
        """
        keep = math.exp(-dt_s / DRIFT_LEARNING_S)
        self._time2 = self._time2 * keep + dt_s * dt_s
        shift = [0.0, 0.0]
        for c in range(2):
            seen = common[c] + self.velocity[c] * dt_s
            self._squares[c] = self._squares[c] * keep + (seen * seen - variance)
            total = self.variance[c] * dt_s * dt_s + variance
            gain = self.variance[c] * dt_s / total * common[c]
            shift[c] = gain * dt_s
            self.velocity[c] += gain
            self.variance[c] = self.variance[c] * variance / total
        return shift[0], shift[1]


class Noise:
    """How far the detector's boxes lie off, in variances for a height of 1: of the centre, and of the size."""

    def __init__(self) -> None:
        self._count = NOISE_START
        self._squares = [std * std * NOISE_START for std in NOISIEST]

    def variance(self, block: int) -> float:
        """Of the centre (block 0) or the size (1), at a usual score."""
        return self._squares[block] / self._count

    def learn(self, fits: list[float], n: int) -> None:
        """Take the summed squares of what n boxes differ from their tracks, centre and size."""
        self._count += n
        for block, std in enumerate(NOISIEST):
            least, most = STEADIEST * STEADIEST * self._count, std * std * self._count
            self._squares[block] = min(max(self._squares[block] + fits[block], least), most)
            if self._count > NOISE_MEMORY:
                self._squares[block] *= NOISE_MEMORY / self._count
        self._count = min(self._count, NOISE_MEMORY)


def measurement(xyxy: NDArray[Any]) -> Real:
    """(n, 4) corners in px to (n, 4) centre, width and height."""
    box = xyxy.astype(np.float64)
    size = box[:, 2:] - box[:, :2]
    return np.hstack([box[:, :2] + size / 2, size])


def begin(real: Real, measured: Real, score: Real, noise: Noise) -> None:
    """Begin to follow new tracks.

    Args:
        real: their rows (n, 31); changed in place.
        measured: (n, 4) centre, width and height in px.
        score: (n,).
        noise: of the detector.
    """
    real[:, PLACE], real[:, SPEED], real[:, DOUBT] = measured, 0, 0
    scale, height2 = _scale(measured, score), measured[:, 3] * measured[:, 3]
    for block, ((_, of), start_std) in enumerate(zip(_BLOCKS, _START_STD, strict=True)):
        real[:, DOUBT][:, of.start] = noise.variance(block) * scale
        real[:, DOUBT][:, of.start + 2] = start_std * start_std * height2


def pass_time(real: Real, drift: Drift, dt_s: float) -> None:
    """Move the tracks on by `dt_s` seconds: what it says of `real` (n, 31) is changed in place."""
    drift.pass_time(dt_s)
    keep, reach = _decay(dt_s)
    noise = step_noise(dt_s)
    place, speed, doubt = real[:, PLACE], real[:, SPEED], real[:, DOUBT]
    height2 = place[:, 3] * place[:, 3]
    place += reach * speed
    for c in range(2):
        place[:, c] += drift.velocity[c] * dt_s
    speed *= keep
    for (_, of), change in zip(_BLOCKS, _CHANGE, strict=True):
        scale = change * change * height2
        pp, pv, vv = doubt[:, of].T
        pp += reach * (2 * pv + reach * vv) + noise[0] * scale
        pv[:] = (pv + reach * vv) * keep + noise[1] * scale
        vv[:] = vv * (keep * keep) + noise[2] * scale


def step_noise(dt_s: float) -> tuple[float, float, float]:
    """Variance that `dt_s` seconds add for a change of 1 and a height of 1: of place, both, and velocity.

    As time flows: a step over t1 + t2 equals a step over t1 and then one over t2.
    """
    keep, reach = _decay(dt_s)
    velocity = MEMORY_S / 2 * (1 - keep * keep)
    return MEMORY_S * MEMORY_S * (dt_s - 2 * reach + velocity), reach * reach / 2, velocity


def _decay(dt_s: float) -> tuple[float, float]:
    """What is left of a velocity after `dt_s` seconds, and how far it carries until then."""
    keep = math.exp(-dt_s / MEMORY_S)
    return keep, MEMORY_S * (1 - keep)


def learn(real: Real, rows: Whole, measured: Real, score: Real, drift: Drift, noise: Noise, dt_s: float) -> None:
    """Correct the tracks `rows` of `real` (n, 31) by what was measured, in place.

    Args:
        real: all tracks; changed in place.
        rows: (k,), ascending.
        measured: (k, 4) centre, width and height in px.
        score: (k,).
        drift: the camera's motion; changed in place.
        noise: of the detector; changed in place.
        dt_s: seconds since the frame before.
    """
    if not len(rows):
        return
    scale = _scale(measured, score)
    wrong = measured - real[rows, PLACE]
    if len(rows) >= MIN_TOGETHER:
        weight = 1 / (real[rows, DOUBT.start] + noise.variance(0) * scale)
        total = _sum(weight)
        common = _sum(wrong[:, 0] * weight) / total, _sum(wrong[:, 1] * weight) / total
        for c, shift in enumerate(drift.learn(common, 1 / total, dt_s)):
            real[:, PLACE.start + c] += shift
            wrong[:, c] -= shift
    place, speed, doubt = real[rows, PLACE], real[rows, SPEED], real[rows, DOUBT]
    fits = []
    for block, (which, of) in enumerate(_BLOCKS):
        usual = noise.variance(block)
        variance = usual * scale
        pp, pv, vv = doubt[:, of].T
        total_variance = pp + variance
        place[:, which] += (pp / total_variance)[:, None] * wrong[:, which]
        speed[:, which] += (pv / total_variance)[:, None] * wrong[:, which]
        vv -= pv * pv / total_variance
        pv *= variance / total_variance
        pp *= variance / total_variance
        left = (variance / total_variance)[:, None] * wrong[:, which]
        square = ((left[:, 0] * left[:, 0] + left[:, 1] * left[:, 1]) / 2 + pp) / scale
        fits.append(_sum(np.minimum(square, OUTLIER * OUTLIER * usual)))
    real[rows, PLACE], real[rows, SPEED], real[rows, DOUBT] = place, speed, doubt
    noise.learn(fits, len(rows))


def motion(real: Real, drift: Drift, noise: Noise) -> tuple[Real, Real, Real]:
    """How the tracks `real` (n, 31) move.

    The detector's errors last for seconds: that of a centre is what the filter doubts, as if they evened out, and the
    noise of a box once more.

    Returns:
        (n, 4) velocity of left, top, right and bottom in px/s; (n,) standard deviation of the centre in px, and of its
        velocity in px/s.
    """
    doubt = real[:, DOUBT]
    kept = real[:, SPEED].copy()
    for which, of in _BLOCKS:
        square = kept[:, which] * kept[:, which]
        cut = np.broadcast_to((SHRINK * doubt[:, of.stop - 1])[:, None], square.shape)
        kept[:, which] *= 1 - np.divide(cut, square, out=np.ones_like(square), where=square > cut)
    centre = kept[:, :2] + drift.velocity
    half = kept[:, 2:] / 2
    height = real[:, PLACE.start + 3]
    place_variance = doubt[:, 0] + noise.variance(0) * (height * height)
    shared = (drift.variance[0] + drift.variance[1]) / 2
    return np.hstack([centre - half, centre + half]), np.sqrt(place_variance), np.sqrt(doubt[:, 2] + shared)


def _scale(measured: Real, score: Real) -> Real:
    """What the variance for a height of 1 and a usual score is multiplied by, (n,)."""
    return np.asarray(np.sqrt(np.maximum(1 - score, SUREST) / USUAL) * (measured[:, 3] * measured[:, 3]))


def _sum(values: Real) -> float:
    """One after the other, as the compiled build adds."""
    return float(np.cumsum(values)[-1])
