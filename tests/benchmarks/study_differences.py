"""What the arms of a study differ by: means over paired seeds, with intervals that hold for all arms at once, and a figure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from lmeff.analysis.charts.drawing import render
from lmeff.analysis.statistics.simultaneous import differences_from

NOT_SCORED = "not scored"
BESIDE = "what arms are compared with"


@dataclass(frozen=True)
class Differences:
    of_arms: Mapping[str, Mapping[int, float]]
    """By arm and seed; NaN where something was not scored."""

    def intervals(self) -> dict[str, tuple[float, float | None, float | None]]:
        """By arm: mean, and the ends of its 95% interval (Tukey), None of a single seed."""
        seeds = {seed for of_arm in self.of_arms.values() for seed in of_arm}
        if not seeds:
            return {}
        # What all arms of a seed are compared with is 0 here: seeds are factors of their own, and take up what it was.
        return differences_from({BESIDE: dict.fromkeys(seeds, 0.0), **self.of_arms}, BESIDE, paired=True)

    @property
    def are_scored(self) -> bool:
        return all(math.isfinite(value) for of_arm in self.of_arms.values() for value in of_arm.values())

    def texts(self, digits: int) -> dict[str, str]:
        """By arm: mean, interval and number of seeds."""
        if not self.are_scored:
            return dict.fromkeys(self.of_arms, NOT_SCORED)
        cells = {}
        for arm, (mean, low, high) in self.intervals().items():
            interval = "" if low is None else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
            cells[arm] = f"{mean:+.{digits}f}{interval} (n = {len(self.of_arms[arm])})"
        return cells


def write_figure(panels: Mapping[str, Differences], beside: str, path: Path) -> None:
    """Differences of held-out loss, a panel for each way of comparing: means with intervals, and a tick a seed."""
    arms = list(dict.fromkeys(arm for one in panels.values() for arm in one.of_arms))
    charts = []
    for title, differences in panels.items():
        means = [
            {"arm": arm, "mean": mean, "low": low, "high": high}
            for arm, (mean, low, high) in differences.intervals().items()
        ]
        seeds = [
            {"arm": arm, "value": value} for arm, of_arm in differences.of_arms.items() for value in of_arm.values()
        ]
        y = alt.Y("arm:N", sort=arms, scale=alt.Scale(domain=arms), title=None)
        x_title = f"held-out loss minus that of {beside}, nats per token"
        both = alt.Chart(alt.Data(values=means)).encode(y=y)
        layers = (
            alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[4, 3], color="#5a6270").encode(x="zero:Q"),
            both.mark_rule(strokeWidth=2, color="#0072b2").encode(
                x=alt.X("low:Q", title=x_title, axis=alt.Axis(tickCount=5)), x2="high:Q"
            ),
            alt.Chart(alt.Data(values=seeds)).mark_tick(thickness=2, size=14, color="#d55e00").encode(x="value:Q", y=y),
            both.mark_point(filled=True, size=70, opacity=1, color="#0072b2").encode(x="mean:Q"),
        )
        charts.append(alt.layer(*layers, title=title).properties(width=340, height=34 * len(arms)))
    path.write_bytes(render(alt.hconcat(*charts).to_dict(), path.suffix))
