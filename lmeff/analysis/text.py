"""Learning curves for a terminal."""

from collections.abc import Sequence

import pandas as pd

from lmeff.analysis.cells import accuracy, loss_text, step_text
from lmeff.analysis.reading.comparable import comparison_notes
from lmeff.analysis.reading.groups import Group, group_runs
from lmeff.analysis.reading.mixed_settings import mixed_notes
from lmeff.analysis.reading.runs import Run
from lmeff.analysis.reading.tasks import OTHER_METRICS, headline_metric, over_examples, scoring_notes, shown_by
from lmeff.analysis.statistics.changes import changes
from lmeff.analysis.statistics.seeds import seed_changes, seed_means
from lmeff.analysis.statistics.tidy_table import tidy_table
from lmeff.formats.losses import UNITS, spoken
from lmeff.intervals import cut_off, possible_range
from lmeff.quantities import format_tokens
from lmeff.text_tables import table_lines


def print_curves(runs: Sequence[Run], table: pd.DataFrame | None = None) -> str:
    """Per run one line an anchor, then what changed from the first to the last; then the means of recipes with several seeds,
    and what cannot be compared. `table`: the tidy table of the runs, where it is there already."""
    groups = group_runs(runs)
    table = tidy_table(runs) if table is None else table
    alone = {id(group.runs[0]) for group in groups if len(group.runs) == 1}
    parts = [_run_text(run, id(run) in alone) for run in runs]
    parts += [_seeds_text(group, table[table["recipe"] == group.label]) for group in groups if len(group.runs) > 1]
    parts += [f"not comparable: {note}" for note in comparison_notes(groups)]
    return "\n\n".join(parts) + "\n"


def _run_text(run: Run, is_alone: bool) -> str:
    state = run.state.state if run.state else run.source or "no state.json"
    facts = [state, run.corpus, f"{format_tokens(run.tokens)} {run.unit}"]
    if run.num_parameters:
        facts.append(f"{format_tokens(run.num_parameters)} parameters")
    lines = [f"{run.name}, seed {run.seed}: " + ", ".join(filter(None, facts))]
    if run.state and run.state.error:
        lines.append(f"error: {run.state.error}")
    if not run.anchors:
        return "\n".join([*lines, "no anchor yet"])
    tasks = [task for task in run.headline_tasks if any(accuracy(anchor, task) for anchor in run.anchors)]
    losses = loss_columns(run)
    rows = [[run.unit, "step", *losses, *tasks]]
    for anchor in run.anchors:
        document = anchor.document
        start = [format_tokens(document.nominal_tokens), step_text(document.step)]
        cells = [loss_text(getattr(document, name)) for name in losses.values()]
        rows.append([*start, *cells, *(accuracy(anchor, task, run) for task in tasks)])
    lines += ["", *table_lines(rows, ">")]
    lines += _legend(run, tasks)
    if is_alone and tasks:
        lines.append("one seed: these intervals do not cover differences between seeds")
    return "\n".join([*lines, *map(str, changes(run)), *mixed_notes(run)])


def _legend(run: Run, tasks: Sequence[str]) -> list[str]:
    """What the numbers of each task are."""
    by_word: dict[str, list[str]] = {}
    for task in tasks:
        if shown_by(run, task) not in OTHER_METRICS:
            by_word.setdefault(over_examples(run, task), []).append(task)
    lines = [
        f"{'' if len(by_word) == 1 else ', '.join(of_word) + ': '}accuracy in %, with its 95% interval over {word}"
        f"{'; chance is 50' if word == 'pairs' else ''}"
        for word, of_word in by_word.items()
    ]
    lines += scoring_notes(run, tasks)
    others = {metric: [task for task in tasks if shown_by(run, task) == metric] for metric in OTHER_METRICS}
    return lines + [f"{', '.join(of_word)}: {OTHER_METRICS[metric]}" for metric, of_word in others.items() if of_word]


def _seeds_text(group: Group, table: pd.DataFrame) -> str:
    """The means of a recipe with several seeds."""
    seeds = ", ".join(str(run.seed) for run in group.runs)
    head = f"{group.runs[0].name}, seeds {seeds}: "
    if len(rows := seeds_table(group, table)) == 1:
        return f"{head}no anchor that two of them share was measured alike, so there is no mean"
    lines = [
        f"{head}mean over {len(group.runs)} seeds, with its 95% t interval over seeds",
        "",
        *table_lines(rows, ">"),
    ]
    return "\n".join([*lines, *map(str, seed_changes(group))])


def seeds_table(group: Group, table: pd.DataFrame, means: pd.DataFrame | None = None) -> list[list[str]]:
    """A header and a line for every anchor that two or more seeds measured alike: anchor, number of seeds, means. `means`:
    those of `seed_means`, where they are there already."""
    means = seed_means(group, table) if means is None else means
    tasks = list(dict.fromkeys(task for run in group.runs for task in run.headline_tasks))
    metrics = {task: headline_metric(set(table[table["task"] == task]["metric"])) for task in tasks}
    columns = {("dev", name): spoken(name) for name in UNITS} | {("dev", "dev_bits_per_byte"): "bits/byte"}
    columns |= {(task, metric): task for task, metric in metrics.items() if metric}
    cells = {(row.nominal_tokens, row.task, row.metric): row for row in means.itertuples()}
    shown = [column for column in columns if any((task, metric) == column for _, task, metric in cells)]
    rows = [[group.runs[0].unit, "seeds", *(columns[column] for column in shown)]]
    for tokens in sorted({tokens for tokens, task, metric in cells if (task, metric) in columns}):
        row_means = [cells.get((tokens, *column)) for column in shown]
        counts = sorted({row.num_seeds for row in row_means if row})
        rows.append([format_tokens(tokens), " to ".join(map(str, counts)), *map(_mean_text, row_means)])
    return rows


def _mean_text(row: pd.Series | None) -> str:
    """`63.9 [62.1, 65.7]`, a row of `seed_means`: of losses as they are, of scores times 100; `-` where there is none. The
    interval ends where what is measured does."""
    if row is None:
        return "-"
    scale, form = (1, ".3f") if row.task == "dev" else (100, ".1f")
    ends = cut_off(row.low, row.high, possible_range(row.metric))
    mean, low, high = (format(scale * value, form) for value in (row.mean, *ends))
    return f"{mean} [{low}, {high}]"


def loss_columns(run: Run) -> dict[str, str]:
    """Fields of `anchor.json` by the header of their column."""
    columns = {spoken(run.loss_metric): "loss", spoken(run.held_out_metric): run.held_out_metric}
    return columns | ({"bits/byte": "dev_bits_per_byte"} if run.held_out_metric == "dev_loss" else {})
