"""What the runs of `families_study.py` say so far: two tables, and two figures of the project's own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lmeff.analysis import compare, tidy_table, write_output
from lmeff.analysis.comparison.estimates import Row
from lmeff.analysis.reading.groups import Group
from lmeff.analysis.reading.runs import Anchor, Run, read_run
from lmeff.analysis.statistics.seeds import seed_means
from lmeff.analysis.statistics.simultaneous import differences_from, rank_cases
from lmeff.errors import InputError
from lmeff.formats.anchor import HELD_OUT
from lmeff.quantities import format_short

TASK = "lmeff_blimp"
BESIDE = {"llama": None, "hybrid_zero": ("hybrid", "hybrid_half")}
"""What arms are compared with, and which arms: None is all. The hybrids of one seed begin with the same weights."""
FIGURES = {
    "families": ("llama", "gpt2", "gptj", "mamba2", "bert", "modernbert", "xlnet"),
    "hybrids": ("llama", "hybrid_zero", "hybrid_half", "hybrid"),
}
LOSSES = dict(zip(HELD_OUT, ("next token", "masked", "permutation"), strict=True))
OTHERWISE = "scored otherwise"
HEADER = "| arm | seeds | parameters | FLOPs | held-out loss | bits per byte | BLiMP |"
MEASURES = {"bits per byte": (1, 3), "BLiMP": (100, 1)}
"""What differences are taken of, with its scale and digits."""
COLUMNS = [f"{measure}, equal {what}" for measure in MEASURES for what in ("tokens", "FLOPs")]


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


def row_between(twin: Arm, arm: Arm) -> Row | str:
    """The difference in BLiMP at the end on the seeds that both have, or why there is none."""
    seeds = {run.seed for run in twin.runs} & {run.seed for run in arm.runs}
    if not seeds:
        return "no seed in common"
    sides = (
        ",".join(f"{run.folder}@{run.anchors[-1].revision}" for run in one.runs if run.seed in seeds)
        for one in (twin, arm)
    )
    try:
        (row,) = compare(*sides, tasks=[TASK]).of(TASK, "overall")
    except InputError as error:
        return OTHERWISE if "other scoring" in str(error) else f"not compared: {error}"
    return row


def values_of(arms: Sequence[Arm], column: str, budget: float) -> dict[str, dict[int, float]]:
    """By arm and seed; no arm for which there is no such value."""
    found: dict[str, dict[int, float]] = {}
    for arm in arms:
        for run, anchor in zip(arm.runs, arm.nearest(budget) if column.endswith("FLOPs") else arm.last, strict=True):
            score = anchor.results.tasks[TASK].metrics["acc"].value if TASK in anchor.results.tasks else None
            value = score if column.startswith("BLiMP") else anchor.document.dev_bits_per_byte
            if value is not None:
                found.setdefault(arm.name, {})[run.seed] = value
    return found


def difference_rows(arms: Sequence[Arm], budget: float) -> Iterator[str]:
    """Every arm beside what it is compared with, then which one differs from all others; all intervals of a column hold at
    once. Arms that were scored otherwise than the first one that others are compared with take no part in them."""
    first = next((arm for arm in arms if arm.name in BESIDE), None)
    if first is None:
        return
    beside_first = {arm.name: row_between(first, arm) for arm in arms if arm is not first}
    reasons = {name: row for name, row in beside_first.items() if isinstance(row, str)}
    alike = [arm for arm in arms if arm.name not in reasons]
    values = {column: values_of(alike, column, budget) for column in COLUMNS}
    for twin in (arm for arm in alike if arm.name in BESIDE):
        only = BESIDE[twin.name] or [arm.name for arm in arms if arm is not twin]
        for arm in (arm for arm in arms if arm.name in only):
            found = [
                reasons.get(arm.name) or difference(twin, arm, column, values[column], budget) for column in COLUMNS
            ]
            yield f"| {arm.name} | {twin.name} | {' | '.join(found)} |"
    yield f"| differs from all others | | {' | '.join(winner(column, values[column]) for column in COLUMNS)} |"


def difference(twin: Arm, arm: Arm, column: str, values: Mapping[str, Mapping[int, float]], budget: float) -> str:
    """The mean over seeds of an arm minus that of its twin."""
    if twin.name not in values or arm.name not in values:
        return ""
    if column.endswith("FLOPs") and all(one.nearest(budget) == one.last for one in (arm, twin)):
        return "the same anchors"
    measure = column.split(",")[0]
    found = Measured(*differences_from(values, twin.name, paired=True)[arm.name])
    if column == "BLiMP, equal tokens" and found.low is None:
        found = over_pairs(row_between(twin, arm)) or found
    return found.text(*MEASURES[measure])


def winner(column: str, values: Mapping[str, Mapping[int, float]]) -> str:
    """The best arm where it differs from every other one, as `lmeff sweep rank` says it."""
    found = rank_cases(values, paired=True, lower_is_better=not column.startswith("BLiMP")) if values else None
    return (found and found.winner) or "none"


def over_pairs(row: Row | str) -> Measured | None:
    """What one seed says: its interval is over pairs."""
    if isinstance(row, str) or row.items is None:
        return None
    return Measured(row.difference, row.items.low, row.items.high)


def cells(arm: Arm) -> Iterator[str]:
    yield arm.name
    yield str(len(arm.runs))
    yield format_short(arm.runs[0].num_parameters or 0)
    yield format_short(arm.last[0].document.flops)
    metric = arm.runs[0].held_out_metric
    loss = arm.measured("dev", metric)
    yield f"{LOSSES[metric]} {loss.text(1, 3)}" if loss else ""
    bits = arm.measured("dev", "dev_bits_per_byte")
    yield bits.text(1, 3) if bits else ""
    score = arm.measured(TASK, "acc")
    yield score.text(100, 1) if score else "seeds were scored otherwise"


def table(header: str, rows: Iterable[str]) -> tuple[str, ...]:
    return header, f"|{'---|' * (header.count('|') - 1)}", *rows, ""


def summary(arms: Sequence[Arm]) -> str:
    """The tables, and what their intervals are over."""
    budget = min(anchor.document.flops for arm in arms for anchor in arm.last)
    tokens = sorted({anchor.document.nominal_tokens for arm in arms for anchor in arm.last})
    pairs = sorted({anchor.results.tasks[TASK].num_examples or 0 for arm in arms for anchor in arm.last})
    seeds = sorted({run.seed for arm in arms for run in arm.runs})
    return "\n".join(
        (
            *table(HEADER, (f"| {' | '.join(cells(arm))} |" for arm in arms)),
            *table(f"| arm | minus | {' | '.join(COLUMNS)} |", difference_rows(arms, budget)),
            f"{' and '.join(map(format_short, tokens))} tokens; {len(seeds)} {'seed' if len(seeds) == 1 else 'seeds at most'} "
            f"({', '.join(map(str, seeds))}); "
            f"BLiMP over {' and '.join(f'{count:,}' for count in pairs)} pairs, in percent. Brackets are 95% intervals: with "
            "one seed over pairs, which says nothing of other seeds; with several over seeds, and those of differences, taken "
            "seed by seed, hold for all arms of a column at once (Tukey). One that holds 0 says that no difference was seen. "
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
