"""The motion model: a constant-velocity Kalman filter over (cx, cy, aspect, height), in seconds.

All covariances start diagonal and every step couples a coordinate with its own velocity only, so the 8 x 8 covariance
of ByteTrack's filter falls apart into four 2 x 2 blocks. The centre's two coordinates and the height share one noise,
hence one block. What is left per track: `mean` (8,) and `cov` (6,) = pp, pv, vv of the shared block, then of the aspect
ratio (p = position, v = velocity per second).

Source: ByteTrack (arXiv 2110.06864), section 4.1, whose filter is DeepSORT's (arXiv 1703.07402), section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import UsageError

RealArray = NDArray[np.float64]

POSITION_STD = 1 / 20
"""Standard deviation of a position step and of a measurement, in heights."""
VELOCITY_STD = 1 / 160
"""Standard deviation of a velocity step, in heights per nominal interval."""
ASPECT_STD = 1e-2
ASPECT_VELOCITY_STD = 1e-5
ASPECT_MEASUREMENT_STD = 1e-1


@dataclass(frozen=True, slots=True)
class Motion:
    """The filter's noise for a nominal frame interval.

    ByteTrack adds the noise (q_p, q_v) once per frame, whatever time a frame takes. Here noise flows continuously with
    the one intensity that gives exactly that over one nominal interval. So a step over t1 + t2 equals a step over t1
    followed by one over t2: neither a jittered clock nor a dropped frame changes what the filter believes.

    Attributes:
        interval_s: the nominal frame interval in seconds, more than 0.
    """

    interval_s: float

    def __post_init__(self) -> None:
        if not self.interval_s > 0:
            raise UsageError(f"Motion.interval_s: wanted more than 0 s, found {self.interval_s}")

    def step_noise(self, dt_s: float) -> tuple[float, ...]:
        """Noise of a step over `dt_s` seconds: pp, pv, vv for a height of 1 px, then pp, pv, vv of the aspect ratio."""
        position, velocity, aspect, aspect_velocity = self.step_variance()
        return self._flow(position, velocity, dt_s) + self._flow(aspect, aspect_velocity, dt_s)

    def _flow(self, position: float, velocity: float, dt_s: float) -> tuple[float, float, float]:
        # Integral of F(s) S F(s)' over dt with the S that makes it diag(position, velocity) at dt = interval.
        interval = self.interval_s
        share = dt_s / interval
        pp = share * (position + velocity * (dt_s - interval) * (2 * dt_s - interval) / 6)
        return pp, share * velocity * (dt_s - interval) / 2, share * velocity

    def step_variance(self) -> tuple[float, float, float, float]:
        """Noise of a nominal interval: position and velocity for a height of 1 px, then of the aspect ratio."""
        return (
            POSITION_STD**2,
            (VELOCITY_STD / self.interval_s) ** 2,
            ASPECT_STD**2,
            (ASPECT_VELOCITY_STD / self.interval_s) ** 2,
        )

    def start_variance(self) -> tuple[float, float, float, float]:
        """Variance of a new track: position and velocity for a height of 1 px, then of the aspect ratio."""
        return (
            (2 * POSITION_STD) ** 2,
            (10 * VELOCITY_STD / self.interval_s) ** 2,
            ASPECT_STD**2,
            (ASPECT_VELOCITY_STD / self.interval_s) ** 2,
        )


def measurement(xyxy: NDArray[Any]) -> RealArray:
    """(n, 4) corners in px, sides above 0, to (n, 4) cx, cy, aspect = width / height, height."""
    box = xyxy.astype(np.float64)
    size = box[:, 2:] - box[:, :2]
    return np.column_stack([box[:, :2] + size / 2, size[:, 0] / size[:, 1], size[:, 1]])


def initiate(measured: RealArray, motion: Motion) -> tuple[RealArray, RealArray]:
    """Mean (n, 8) and covariance (n, 6) of new tracks at the measurements (n, 4), with velocity 0."""
    n = len(measured)
    position, velocity, aspect, aspect_velocity = motion.start_variance()
    height2 = measured[:, 3] ** 2
    mean = np.zeros((n, 8))
    mean[:, :4] = measured
    cov = np.zeros((n, 6))
    cov[:, 0], cov[:, 2] = position * height2, velocity * height2
    cov[:, 3], cov[:, 5] = aspect, aspect_velocity
    return mean, cov


def predict(mean: RealArray, cov: RealArray, dt_s: float, noise: tuple[float, ...]) -> None:
    """Move `mean` (n, 8) and `cov` (n, 6) on by `dt_s` seconds, in place; `noise` is `Motion.step_noise(dt_s)`."""
    height2 = mean[:, 3] ** 2
    mean[:, :4] += dt_s * mean[:, 4:]
    for first, scale in ((0, height2), (3, 1.0)):
        pp, pv, vv = cov[:, first], cov[:, first + 1], cov[:, first + 2]
        pp += dt_s * (2 * pv + dt_s * vv) + noise[first] * scale
        pv += dt_s * vv + noise[first + 1] * scale
        vv += noise[first + 2] * scale


def correct(mean: RealArray, cov: RealArray, measured: RealArray) -> None:
    """Correct `mean` (n, 8) and `cov` (n, 6) by the measurements (n, 4), in place."""
    shared_noise = (POSITION_STD * mean[:, 3]) ** 2
    error = measured - mean[:, :4]
    for first, columns, noise in ((0, [0, 1, 3], shared_noise), (3, [2], ASPECT_MEASUREMENT_STD**2)):
        pp, pv, vv = cov[:, first], cov[:, first + 1], cov[:, first + 2]
        total = pp + noise
        mean[:, columns] += (pp / total)[:, None] * error[:, columns]
        mean[:, [c + 4 for c in columns]] += (pv / total)[:, None] * error[:, columns]
        vv -= pv * pv / total
        pv *= noise / total
        pp *= noise / total


def boxes(mean: RealArray) -> RealArray:
    """(n, 8) means to (n, 4) corners in px."""
    half_height = mean[:, 3] / 2
    half_width = mean[:, 2] * half_height
    centre_x, centre_y = mean[:, 0], mean[:, 1]
    return np.column_stack(
        [centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height]
    )
