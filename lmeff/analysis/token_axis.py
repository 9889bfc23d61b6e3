"""The x axis of a chart: training tokens (or words), linear or logarithmic with a place for 0."""

import math
from collections.abc import Sequence

import altair as alt

from lmeff.analysis.series import Series

MANY_TOKENS_APART = 20
"""Above this ratio of the last to the first anchor the token axis starts out logarithmic."""


class TokenAxis:
    """The x axis of a chart: where its logarithmic form turns linear, so that 0 has a place, and its ticks."""

    def __init__(self, series: Sequence[Series], least_share: float) -> None:
        anchors = sorted({int(tokens) for each in series for tokens in each.table["nominal_tokens"]})
        positive = [tokens for tokens in anchors if tokens] or [1]
        # A symlog that turns linear a quarter of the way to the first anchor gives it the room of two doublings or so.
        constant = positive[0] / 4
        share = {tokens: math.log1p(tokens / constant) / math.log1p(positive[-1] / constant) for tokens in anchors}
        ticks: list[int] = []
        for tokens in reversed(anchors):
            if not ticks or share[ticks[-1]] - share[tokens] >= least_share:
                ticks.append(tokens)
        far_apart = positive[-1] / positive[0] >= MANY_TOKENS_APART
        self.meta = {"log": far_apart, "constant": constant, "ticks": ticks[::-1] or [0]}
        self.title = f"Training {series[0].unit}"

    def finished(self, chart: alt.TopLevelMixin) -> dict:
        """The chart's specification with this axis on every `tokens` channel."""
        spec = chart.to_dict()
        spec.pop("config", None)
        _set_token_axes(spec, self.meta, self.title)
        return {**spec, "usermeta": {"token_axis": self.meta}}


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
