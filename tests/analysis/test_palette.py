"""Colors that readers with any color vision tell apart, and marks for readers of gray."""

from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

import pytest

from lmeff.analysis.charts.themes import DARK_COLORS, DASHES, LIGHT_COLORS, SHAPES

DARK_PAGE = "#14171b"
VISION = {
    "normal": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
"""Machado, Oliveira & Fernandes (2009) at full severity, on linear RGB."""


def linear(color: str) -> list[float]:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]


def luminance(color: str) -> float:
    red, green, blue = linear(color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Of WCAG 2.1."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIELAB under D65."""
    to_xyz = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175), (0.0193339, 0.119192, 0.9503041))
    xyz = [sum(a * b for a, b in zip(row, rgb, strict=True)) for row in to_xyz]
    ratios = [value / white for value, white in zip(xyz, (0.95047, 1, 1.08883), strict=True)]
    x, y, z = (ratio ** (1 / 3) if ratio > (6 / 29) ** 3 else ratio * 841 / 108 + 4 / 29 for ratio in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def seen(color: str, vision: str) -> tuple[float, float, float]:
    rgb = linear(color)
    return lab([min(max(sum(a * b for a, b in zip(row, rgb, strict=True)), 0), 1) for row in VISION[vision]])


def difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> float:
    """CIEDE2000, after Sharma, Wu & Dalal (2005)."""
    chroma7 = ((hypot(*one[1:]) + hypot(*other[1:])) / 2) ** 7
    stretch = 1.5 - 0.5 * sqrt(chroma7 / (chroma7 + 25**7))
    chromas = [hypot(stretch * each[1], each[2]) for each in (one, other)]
    hues = [degrees(atan2(each[2], stretch * each[1])) % 360 for each in (one, other)]
    is_gray = chromas[0] * chromas[1] == 0
    turn = 0 if is_gray else (hues[1] - hues[0] + 180) % 360 - 180
    hue = sum(hues) if is_gray else (hues[0] + turn / 2) % 360
    lightness, chroma = (one[0] + other[0]) / 2, sum(chromas) / 2
    waves = ((-0.17, 1, -30), (0.24, 2, 0), (0.32, 3, 6), (-0.2, 4, -63))
    weight = 1 + sum(size * cos(radians(times * hue + shift)) for size, times, shift in waves)
    of_lightness = (other[0] - one[0]) / (1 + 0.015 * (lightness - 50) ** 2 / sqrt(20 + (lightness - 50) ** 2))
    of_chroma = (chromas[1] - chromas[0]) / (1 + 0.045 * chroma)
    of_hue = 2 * sqrt(chromas[0] * chromas[1]) * sin(radians(turn / 2)) / (1 + 0.015 * chroma * weight)
    turned = -2 * sqrt(chroma**7 / (chroma**7 + 25**7)) * sin(radians(60 * exp(-(((hue - 275) / 25) ** 2))))
    return sqrt(of_lightness**2 + of_chroma**2 + of_hue**2 + turned * of_chroma * of_hue)


@pytest.mark.parametrize(
    ("one", "other", "wanted"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
    ],
)
def test_the_difference_is_that_of_the_published_examples(one, other, wanted):
    assert difference(one, other) == pytest.approx(wanted, abs=5e-5)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("colors", [LIGHT_COLORS, DARK_COLORS], ids=["light", "dark"])
def test_any_two_colors_are_told_apart_with_any_color_vision(colors, vision):
    places = [seen(color, vision) for color in colors]
    assert min(difference(*pair) for pair in combinations(places, 2)) > 10
    assert min(difference(*pair) for pair in combinations(places[:5], 2)) > 13


def test_two_blues_would_not_do():
    """Of the palette before this one."""
    assert difference(seen("#0072b2", "normal"), seen("#2b8cc4", "normal")) < 10


def test_colors_stand_out_from_their_page():
    assert min(contrast(color, "#ffffff") for color in LIGHT_COLORS) >= 3
    assert min(contrast(color, DARK_PAGE) for color in DARK_COLORS) >= 3


def test_each_color_has_dashes_and_a_mark_of_its_own():
    for marks in (SHAPES, [tuple(dashes) for dashes in DASHES]):
        assert len(set(marks)) == len(marks) == len(LIGHT_COLORS) == len(DARK_COLORS)
