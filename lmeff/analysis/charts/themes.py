"""How charts look on a light and on a dark page (Vega-Lite configurations), and the colors of the paradigm table."""

from dataclasses import dataclass

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"

# Searched for so that any two are at least 10 apart (CIEDE2000) for every kind of color vision, the first five 13, by hue and
# by lightness, with a contrast of 3 to 1 against the page. On the dark page each keeps its hue.
LIGHT_COLORS = ["#006ba4", "#e0692f", "#0a3400", "#a8324a", "#8d80fc", "#1ea19f", "#3f5e00", "#031f7f"]
DARK_COLORS = ["#5d91b7", "#ff490d", "#8df56f", "#dd7c88", "#d3c8fc", "#6cc1bf", "#7a9543", "#9789ff"]
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 2], [1, 3], [10, 4], [3, 3])
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
"""What tells lines apart in gray, beside their colors."""


def _theme(ink: str, muted: str, faint: str, colors: list[str], background: str) -> dict:
    return {
        "background": background,
        "font": FONT,
        "view": {"stroke": None},
        "mark": {"color": colors[0]},
        "rule": {"color": colors[0]},
        "range": {"category": colors},
        "axis": {
            "labelColor": muted,
            "titleColor": muted,
            "titleFontWeight": "normal",
            "titleFontSize": 12,
            "labelFontSize": 11,
            "gridColor": faint,
            "domainColor": muted,
            "tickColor": muted,
            "tickSize": 4,
            "titlePadding": 8,
        },
        "axisY": {"domain": False, "ticks": False, "labelPadding": 8},
        "title": {
            "anchor": "start",
            "frame": "group",
            "color": ink,
            "fontSize": 14,
            "fontWeight": 600,
            "subtitleColor": muted,
            "subtitleFontSize": 12,
            "subtitlePadding": 4,
            "offset": 12,
        },
        "header": {"labelColor": ink, "labelFontSize": 12, "titleColor": muted},
        "legend": {
            "labelColor": ink,
            "labelFontSize": 12,
            "symbolType": "circle",
            "symbolSize": 90,
            "offset": 12,
            "columns": 4,
        },
        "style": {"reference": {"color": muted}, "reference-label": {"color": muted, "fontSize": 11}},
    }


_LIGHT_INKS, _DARK_INKS = ("#1a1d21", "#5a6270", "#e6e8ec"), ("#e8eaed", "#a3abb8", "#30363f")
LIGHT = _theme(*_LIGHT_INKS, LIGHT_COLORS, "#ffffff")
DARK = _theme(*_DARK_INKS, DARK_COLORS, "transparent")

NUM_CELL_COLORS = 21
"""One for every 5 points of accuracy, 0 and 100 included."""


@dataclass(frozen=True)
class CellColors:
    """A scale from always wrong over chance to always right.

    Orange and blue are apart for every kind of color vision, and no end is so strong that the ink on it falls below a
    contrast of 4.5 to 1 (WCAG 2.1, level AA).
    """

    ink: str
    wrong: str
    chance: str
    right: str

    def background(self, level: int) -> str:
        """Color of the cells whose accuracy rounds to `5 x level` percent."""
        middle = (NUM_CELL_COLORS - 1) / 2
        end = self.right if level > middle else self.wrong
        share = abs(level - middle) / middle
        mixed = (round(a + (b - a) * share) for a, b in zip(_rgb(self.chance), _rgb(end), strict=True))
        return "#" + "".join(f"{part:02x}" for part in mixed)


LIGHT_CELLS = CellColors(ink="#1a1d21", wrong="#ee9a5a", chance="#f4f5f7", right="#5ba7dc")
DARK_CELLS = CellColors(ink="#f0f2f5", wrong="#a34d10", chance="#23282f", right="#1b66a3")


def cell_level(accuracy: float) -> int:
    """Which of the cell colors an accuracy from 0 to 1 has."""
    return round(accuracy * (NUM_CELL_COLORS - 1))


def cell_css(colors: CellColors) -> str:
    """Rules for the classes `a0` to `a20`."""
    levels = range(NUM_CELL_COLORS)
    return "\n".join(f".a{level} {{ background: {colors.background(level)}; color: {colors.ink} }}" for level in levels)


def paper_css() -> str:
    """Rules that give figures drawn for a dark page the colors of the light one."""
    pairs = zip([*_DARK_INKS, *DARK_COLORS], [*_LIGHT_INKS, *LIGHT_COLORS], strict=True)
    return "\n".join(
        f'figure svg [{paint}="{dark}"] {{ {paint}: {light} }}' for dark, light in pairs for paint in ("fill", "stroke")
    )


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(int(color[i : i + 2], 16) for i in (1, 3, 5))
