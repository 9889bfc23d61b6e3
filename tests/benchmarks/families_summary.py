"""What the runs of `families_study.py` say so far: a table, and two figures of the project's own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lmeff.analysis import compare, tidy_table, write_output
from lmeff.analysis.comparison.estimates import Estimate
from lmeff.analysis.reading.groups import Group
from lmeff.analysis.reading.runs import Anchor, Run, read_run
from lmeff.analysis.statistics.seeds import seed_means
from lmeff.errors import InputError
from lmeff.formats.anchor import HELD_OUT
from lmeff.quantities import format_short

TASK = "lmeff_blimp"
TWIN = "llama"
"""What every other arm is compared with."""
FIGURES = {
    "families": ("llama", "gpt2", "gptj", "mamba2", "bert", "modernbert", "xlnet"),
    "hybrids": ("llama", "hybrid_zero", "hybrid_half", "hybrid"),
}
LOSSES = dict(zip(HELD_OUT, ("next token", "masked", "permutation"), strict=True))
OTHERWISE = "scored otherwise"
HEADER = (
    "| arm | seeds | parameters | FLOPs | held-out loss | bits per byte | BLiMP | minus Llama, equal tokens "
    "| minus Llama, equal FLOPs |"
)


class Measured(NamedTuple):
    """A mean over seeds, with a 95% interval where there is one."""

    value: float
    low: float | None
    high: float | None

    def text(self, scale: float, digits: int) -> str:
        value, *ends = (
            f"{round(scale * one, digits) + 0:.{digits}f}"  # + 0: no -0.0
            for one in (self.value, self.low, self.high)
            if one is not None
        )
        return f"{value} [{', '.join(ends)}]" if ends else value


class Arm(NamedTuple):
    """The runs of an arm that are scored, one a seed, in the order of their seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def last(self) -> list[Anchor]:
        return [run.anchors[-1] for run in self.runs]

    def nearest(self, flops: float) -> list[Anchor]:
        """The anchors that are nearest to having spent so many FLOPs."""
        return [min(run.anchors, key=lambda anchor: abs(anchor.document.flops - flops)) for run in self.runs]

    def measured(self, task: str, metric: str) -> Measured | None:
        """At the last anchor: over seeds where there are several, else over pairs."""
        table = tidy_table(self.runs)
        wanted = (table["task"] == task) & (table["metric"] == metric)
        rows = table[wanted & (table["revision"].isin([anchor.revision for anchor in self.last]))]
        if len(rows) != len(self.runs) or rows.empty:
            return None
        if len(rows) == 1:
            row = rows.iloc[0]
            return Measured(row["value"], *((row["low"], row["high"]) if row["low"] == row["low"] else (None, None)))
        mean = seed_means(Group(self.name, self.runs), rows).iloc[0]
        return Measured(mean["mean"], mean["low"], mean["high"])


def read_arms(output: Path, names: Sequence[str]) -> list[Arm]:
    """Those with a run whose end is scored."""
    arms = []
    for name in names:
        runs = [read_run(folder) for folder in sorted((output / name).glob("seed-*"))]
        done = [run for run in runs if run.state and run.state.state == "complete"]
        done = [run for run in done if TASK in run.anchors[-1].results.tasks]
        if done:
            arms.append(Arm(name, tuple(sorted(done, key=lambda run: run.seed))))
    return arms


def difference(twin: Arm, arm: Arm, budget: float | None) -> str:
    """Points of BLiMP above the twin on the seeds that both have, at the end or at so many FLOPs, with a 95% interval over
    seeds and pairs, or with one seed over pairs alone."""
    sides = []
    seeds = {run.seed for run in twin.runs} & {run.seed for run in arm.runs}
    for one in (twin, arm):
        chosen = one.last if budget is None else one.nearest(budget)
        sides.append(
            ",".join(
                f"{run.folder}@{anchor.revision}"
                for run, anchor in zip(one.runs, chosen, strict=True)
                if run.seed in seeds
            )
        )
    if not seeds:
        return "no seed in common"
    try:
        (row,) = compare(*sides, tasks=[TASK]).of(TASK, "overall")
    except InputError as error:
        return OTHERWISE if "other scoring" in str(error) else f"not compared: {error}"
    estimate: Estimate | None = row.both or row.items
    low, high = (estimate.low, estimate.high) if estimate else (None, None)
    return Measured(row.difference, low, high).text(100, 1)


def cells(arm: Arm, twin: Arm | None, budget: float) -> Iterator[str]:
    yield arm.name
    yield str(len(arm.runs))
    yield format_short(arm.runs[0].num_parameters or 0)
    yield format_short(arm.last[0].document.flops)
    metric = arm.runs[0].held_out_metric
    loss = arm.measured("dev", metric)
    yield f"{LOSSES[metric]} {loss.text(1, 3)}" if loss else ""
    bits = arm.measured("dev", "dev_bits_per_byte")
    yield bits.text(1, 3) if bits else ""
    accuracy = arm.measured(TASK, "acc")
    yield accuracy.text(100, 1) if accuracy else "seeds were scored otherwise"
    if twin is None or arm.name == twin.name:
        yield from ("", "")
        return
    at_end = difference(twin, arm, None)
    yield at_end
    same = arm.nearest(budget) == arm.last and twin.nearest(budget) == twin.last
    yield "" if at_end == OTHERWISE else "the same anchors" if same else difference(twin, arm, budget)


def summary(arms: Sequence[Arm]) -> str:
    """The table, and what its intervals are over."""
    twin = next((arm for arm in arms if arm.name == TWIN), None)
    budget = min(anchor.document.flops for arm in arms for anchor in arm.last)
    tokens = sorted({anchor.document.nominal_tokens for arm in arms for anchor in arm.last})
    pairs = sorted({anchor.results.tasks[TASK].num_examples or 0 for arm in arms for anchor in arm.last})
    seeds = sorted({run.seed for arm in arms for run in arm.runs})
    rows = [f"| {' | '.join(cells(arm, twin, budget))} |" for arm in arms]
    return "\n".join(
        (
            HEADER,
            f"|{'---|' * (HEADER.count('|') - 1)}",
            *rows,
            "",
            f"{' and '.join(map(format_short, tokens))} tokens; {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds at most'} "
            f"({', '.join(map(str, seeds))}); "
            f"BLiMP over {' and '.join(f'{count:,}' for count in pairs)} pairs, in percent. Brackets are 95% intervals: with "
            "one seed over pairs, which says nothing of other seeds; with several over seeds, and of differences over both. "
            "Losses of different kinds are not to be compared. An anchor at equal FLOPs lies before the end of its schedule.",
        )
    )


def write_summary(output: Path, names: Sequence[str]) -> str:
    """Writes `summary.md` and the figures into the folder of the study; returns the text."""
    arms = read_arms(output, names)
    if not arms:
        return "no run is done"
    text = summary(arms)
    (output / "summary.md").write_text(text + "\n", encoding="utf-8")
    for figure, drawn in FIGURES.items():
        runs = [run for name in drawn for arm in arms if arm.name == name for run in arm.runs]
        if runs:
            write_output(runs, output / f"{figure}.svg")
    return text
