"""The x axis of a chart: training tokens (or words), linear or logarithmic with a place for 0."""

import math
from collections.abc import Sequence

import altair as alt

from lmeff.analysis.charts.series import Series
from lmeff.quantities import format_tokens

MANY_TOKENS_APART = 20
"""Above this ratio of the last to the first anchor the token axis starts out logarithmic."""
CHARACTER_WIDTH = 7.5
"""Pixels of a tick label's character."""
LABEL_DISTANCE = 14
"""Pixels between two tick labels."""


class TokenAxis:
    """The x axis of panels of so many pixels: where its logarithmic form turns linear, so that 0 has a place, and its ticks.
    Where labels do not fit, the last one stays: Vega itself would leave it out. Page.js does the same for its own width."""

    def __init__(self, series: Sequence[Series], width: float) -> None:
        anchors = sorted({int(tokens) for each in series for tokens in each.table["nominal_tokens"]})
        positive = [tokens for tokens in anchors if tokens] or [1]
        # A symlog that turns linear a quarter of the way to the first anchor gives it the room of two doublings or so.
        constant = positive[0] / 4
        share = {tokens: math.log1p(tokens / constant) / math.log1p(positive[-1] / constant) for tokens in anchors}
        ticks = anchors[-1:]
        for tokens in reversed(anchors[:-1]):
            if width * (share[ticks[-1]] - share[tokens]) >= _room(ticks[-1], tokens, is_last=len(ticks) == 1):
                ticks.append(tokens)
        far_apart = positive[-1] / positive[0] >= MANY_TOKENS_APART
        self.meta = {"log": far_apart, "constant": constant, "ticks": ticks[::-1] or [0]}
        self.title = f"Training {series[0].unit}"

    def finished(self, chart: alt.TopLevelMixin) -> dict:
        """The chart's specification with this axis on every `tokens` channel."""
        spec = chart.to_dict(validate=False)  # a test checks every figure against the schema, which takes long
        spec.pop("config", None)
        _set_token_axes(spec, self.meta, self.title)
        return {**spec, "usermeta": {"token_axis": self.meta}}


def _room(tokens: int, before: int, is_last: bool) -> float:
    """Pixels between two ticks whose labels do not touch; the last label ends at its tick, others have it in the middle."""
    own, other = (CHARACTER_WIDTH * len(format_tokens(count)) for count in (tokens, before))
    return (own if is_last else own / 2) + other / 2 + LABEL_DISTANCE


def _set_token_axes(node: object, meta: dict, title: str) -> None:
    """The same walk as in page.js, which repeats it when the reader switches the axis."""
    if isinstance(node, list):
        for each in node:
            _set_token_axes(each, meta, title)
    elif isinstance(node, dict):
        if node.get("field") == "tokens" and "axis" in node:
            node["title"] = title
            log = {"type": "symlog", "constant": meta["constant"], "nice": False}
            node["scale"] = log if meta["log"] else {"type": "linear", "nice": False}
            # Vega thins given values to the tick count, so it may have one of the two.
            node["axis"] |= {"values": meta["ticks"]} if meta["log"] else {"tickCount": 5}
        for key, each in node.items():
            if key != "datasets":
                _set_token_axes(each, meta, title)
