"""The learning-rate range test (Smith 2017): a rate that grows with every step until the loss explodes.

Losses are smoothed with a bias-corrected moving average, as fastai does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt

from lmeff.analysis.charts.drawing import render_png
from lmeff.errors import RunFailed
from lmeff.files import write_json
from lmeff.formats.base import FORMAT
from lmeff.formats.losses import TRAINING_UNITS
from lmeff.probes.probe_run import Look, ProbeTrainer, prepared_tokens, probe_folder, probe_trainer
from lmeff.recipe.schema import Recipe

SMOOTHING = 0.9
"""Weight of the past in the moving average."""
_EXPLODED = 1.5
"""The test ends when the smoothed loss is this many times its lowest."""


@dataclass(frozen=True)
class RangeTest:
    learning_rates: list[float]
    losses: list[float]
    """Training loss of each step, in the unit of its objective."""
    smoothed: list[float]
    steepest: float
    """Rate at which the smoothed loss falls fastest, over the logarithm of the rate."""
    lowest: float
    """Rate at which the smoothed loss is lowest."""

    @property
    def suggested(self) -> float:
        """The steepest rate, or a third of the lowest when that is less: there the loss still falls, with room above it."""
        return min(self.steepest, self.lowest / 3)


def smooth(losses: Sequence[float]) -> list[float]:
    """Exponential moving average without the pull of its start to 0."""
    average, smoothed = 0.0, []
    for count, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**count))
    return smoothed


def range_test(trainer: ProbeTrainer, first: float, last: float) -> RangeTest:
    """Takes all of the trainer's steps. Raises RunFailed when the loss does not fall at any rate."""
    num_steps, losses = trainer.args.max_steps, []

    def rate_of(step: int) -> float:
        return first * (last / first) ** (step / (num_steps - 1))

    def look(seen: Look) -> bool:
        if not math.isfinite(seen.loss):
            return False
        losses.append(seen.loss)
        smoothed = smooth(losses)
        return smoothed[-1] <= _EXPLODED * min(smoothed)

    trainer.run(rate_of, look)
    rates, smoothed = [rate_of(step) for step in range(len(losses))], smooth(losses)
    # The average lags behind: what it shows at a step happened some steps before.
    lag = min(round(SMOOTHING / (1 - SMOOTHING) / 2), len(rates) - 1)
    lowest = min(range(len(smoothed)), key=smoothed.__getitem__)
    falls = [(smoothed[i + 1] - smoothed[i - 1], i) for i in range(1, min(lowest + 1, len(smoothed) - 1))]
    if not falls or smoothed[lowest] > 0.98 * smoothed[0]:
        raise RunFailed(
            f"probe lr: the loss does not fall between {first:g} and {last:g} ({losses[0]:.3f} at first, {min(smoothed):.3f} at"
            " best); look with `lmeff probe overfit` whether the recipe learns at all"
        )
    steepest = min(falls)[1]
    return RangeTest(rates, losses, smoothed, rates[max(0, steepest - lag)], rates[max(0, lowest - lag)])


def probe_learning_rate(
    recipe: Recipe, first: float = 1e-6, last: float = 1.0, num_steps: int = 120
) -> tuple[RangeTest, Path]:
    """Runs the test and writes `lr.json` and `lr.png` into the recipe's folder of probes. Returns the picture's path."""
    with probe_trainer(recipe, prepared_tokens(recipe), num_steps) as trainer:
        test = range_test(trainer, first, last)
    folder, unit = probe_folder(recipe), TRAINING_UNITS[recipe.objective_name]
    write_json(
        folder / "lr.json",
        {
            "format": FORMAT,
            "unit": unit,
            "suggested": test.suggested,
            "steepest": test.steepest,
            "lowest": test.lowest,
            "learning_rate": test.learning_rates,
            "loss": test.losses,
            "smoothed": test.smoothed,
        },
    )
    picture = folder / "lr.png"
    picture.write_bytes(render_png(chart(test, unit).to_dict()))
    return test, picture


def chart(test: RangeTest, unit: str) -> alt.TopLevelMixin:
    """Losses, which are in `unit`, over the rate."""
    points = [
        {"rate": rate, "loss": loss, "smoothed": smoothed}
        for rate, loss, smoothed in zip(test.learning_rates, test.losses, test.smoothed, strict=True)
    ]
    data = alt.InlineData(points)
    x = alt.X("rate:Q", scale=alt.Scale(type="log"), title="Learning rate", axis=alt.Axis(format=".0e"))
    top = 1.05 * test.smoothed[0]
    scale = alt.Scale(domain=[0.95 * min(test.smoothed), top], clamp=True)
    raw = (
        alt.Chart(data)
        .mark_line(opacity=0.35, strokeWidth=1)
        .encode(x=x, y=alt.Y("loss:Q", scale=scale, title=f"Loss, {unit}"))
    )
    line = alt.Chart(data).mark_line(strokeWidth=2.5).encode(x=x, y=alt.Y("smoothed:Q", scale=scale))
    mark = alt.InlineData([{"rate": test.suggested, "text": f"suggested {test.suggested:.1e}"}])
    rule = alt.Chart(mark).mark_rule(strokeDash=[4, 4]).encode(x="rate:Q")
    text = alt.Chart(mark).mark_text(align="right", dx=-6, dy=-120).encode(x="rate:Q", text="text:N")
    title = alt.TitleParams("Learning-rate range test", subtitle="thick: smoothed; thin: each step")
    return alt.layer(raw, line, rule, text, title=title).properties(width=480, height=280)
