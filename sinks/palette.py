"""Colours for classes and tracks: far apart in hue and lightness, the same in every run."""

from __future__ import annotations

import math
from functools import lru_cache

Bgr = tuple[int, int, int]

_FIRST_RGB = (
    (86, 180, 233),  # sky blue
    (230, 159, 0),  # orange
    (0, 158, 115),  # bluish green
    (240, 228, 66),  # yellow
    (204, 121, 167),  # reddish purple
    (213, 94, 0),  # vermillion
    (0, 114, 178),  # blue
)
"""Okabe and Ito, "Color universal design" (2008): told apart with any common colour blindness. Black left out."""
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))
_LIGHTNESS = (0.84, 0.62, 0.73)
_CHROMA = 0.15
_RULE_HUES_DEG = (300, 195, 115, 350, 85, 150, 255)
"""Of lines and zones: violet, teal, lime, pink, amber, green, blue. None is near the red of an alarm."""
ALARM: Bgr = (48, 48, 224)
BLACK: Bgr = (0, 0, 0)
WHITE: Bgr = (255, 255, 255)


@lru_cache(maxsize=1024)
def color_of(number: int) -> Bgr:
    """The colour of a class or track number: the seven of Okabe and Ito, then ever new hues in three lightnesses."""
    if 0 <= number < len(_FIRST_RGB):
        red, green, blue = _FIRST_RGB[number]
        return blue, green, red
    return _oklch_to_bgr(_LIGHTNESS[number % len(_LIGHTNESS)], _CHROMA, number * _GOLDEN_ANGLE)


@lru_cache(maxsize=64)
def rule_color(number: int) -> Bgr:
    """The colour of a zone or line number; after seven they begin anew."""
    return _oklch_to_bgr(0.80, 0.14, math.radians(_RULE_HUES_DEG[number % len(_RULE_HUES_DEG)]))


def line_color(number: int) -> Bgr:
    """The colour of a line number: as for zones, but the first line is not as the first zone."""
    return rule_color(number + 4)


@lru_cache(maxsize=1024)
def lighter(color: Bgr) -> Bgr:
    """The colour half way to white."""
    blue, green, red = ((c + 255) // 2 for c in color)
    return blue, green, red


@lru_cache(maxsize=1024)
def darker(color: Bgr) -> Bgr:
    """The colour most of the way to black."""
    blue, green, red = (c // 4 for c in color)
    return blue, green, red


@lru_cache(maxsize=1024)
def text_color_on(background: Bgr) -> Bgr:
    """Black or white, whichever contrasts more (relative luminance and contrast ratio of WCAG 2.1)."""
    blue, green, red = (_linear(c) for c in background)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return BLACK if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else WHITE


def _linear(channel: int) -> float:
    value = channel / 255
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _gamma(value: float) -> int:
    value = min(max(value, 0.0), 1.0)
    return round(255 * (12.92 * value if value <= 0.0031308 else 1.055 * value ** (1 / 2.4) - 0.055))


def _oklch_to_bgr(lightness: float, chroma: float, hue: float) -> Bgr:
    """Source: Ottosson, "A perceptual color space for image processing" (2020)."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    red = 4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short
    green = -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short
    blue = -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short
    return _gamma(blue), _gamma(green), _gamma(red)
