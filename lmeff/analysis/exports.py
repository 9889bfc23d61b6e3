"""What was measured, for other programs: CSV and JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmeff.analysis.one_table.cells import missing_cells
from lmeff.analysis.one_table.seed_curves import made_apart, seed_curves
from lmeff.analysis.one_table.table import below_each_other, one_table
from lmeff.analysis.reading.comparable import comparison_notes
from lmeff.analysis.reading.groups import Group, group_runs
from lmeff.analysis.reading.mixed_settings import mixed_notes
from lmeff.analysis.reading.results import Score
from lmeff.analysis.reading.runs import Anchor, Run
from lmeff.analysis.reading.tasks import over_examples
from lmeff.analysis.scores.observation import Observation
from lmeff.analysis.statistics.pair_scores import tie_rate
from lmeff.analysis.statistics.registry import OF_A_RUN, OF_SEEDS
from lmeff.analysis.statistics.seeds import SEED_COLUMNS, seed_means
from lmeff.analysis.statistics.tidy_table import accuracy_stderr, losses_of, tidy_table
from lmeff.intervals import metric_interval

FORMAT = 1


def curves_table(runs: Sequence[Run], observations: Sequence[Observation] = ()) -> pd.DataFrame:
    """The tidy table of everything; beside every value the mean over the seeds of its recipe with its intervals."""
    tables = []
    if runs or not observations:
        ours = tidy_table(runs)
        means = [
            seed_means(group, ours[ours["recipe"] == group.label]).assign(recipe=group.label)
            for group in group_runs(runs)
            if len(group.runs) > 1
        ]
        keys = ["recipe", "nominal_tokens", "task", "metric"]
        together = pd.concat(means) if means else pd.DataFrame(columns=[*keys, *SEED_COLUMNS])
        tables.append(ours.merge(together.rename(columns=SEED_COLUMNS), how="left", on=keys))
    if observations:
        theirs = one_table([], observations)
        means_of_theirs = seed_curves(theirs).loc[made_apart(theirs), list(SEED_COLUMNS)].reset_index(drop=True)
        means_of_theirs[means_of_theirs["num_seeds"] < 2] = None
        tables.append(theirs.join(means_of_theirs.rename(columns=SEED_COLUMNS)))
    types = {name: "Int64" if name == "num_seeds" else "float64" for name in SEED_COLUMNS.values()}
    return below_each_other([table.astype(types) for table in tables])


def curves_csv(runs: Sequence[Run], observations: Sequence[Observation] = ()) -> str:
    """The tidy table as CSV with a header line; beside every value the mean over the seeds of its recipe with its intervals."""
    return curves_table(runs, observations).to_csv(index=False, lineterminator="\n")


def curves_json(
    runs: Sequence[Run],
    observations: Sequence[Observation] = (),
    notes: Sequence[str] = (),
    table: pd.DataFrame | None = None,
) -> dict:
    """Curves and changes of every run, means over seeds of every recipe with two or more, and what cannot be compared; the one
    tidy table (`rows`), its curves over seeds (`curves`) and the values that are missing in it. Ready for JSON: no NaN, null
    for what was not measured. `table`: the one tidy table, where it is there already."""
    groups = group_runs(runs)
    table = one_table(runs, observations) if table is None else table
    ours = table.iloc[: len(table) - len(observations)]
    of_seeds = [_seeds_json(group, ours[ours["recipe"] == group.label]) for group in groups if len(group.runs) > 1]
    return {
        "format": FORMAT,
        "runs": [_run_json(run) for run in runs],
        "seeds": of_seeds,
        "notes": [*comparison_notes(groups), *notes],
        "rows": records(table),
        "curves": records(seed_curves(table)),
        "missing": records(missing_cells(table)),
    }


def records(table: pd.DataFrame) -> list[dict]:
    """The rows of a table, null where there is nothing."""
    names = list(table.columns)  # which pandas makes anew each time it is gone through
    columns = [_objects(table[name]) for name in names]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _objects(column: pd.Series) -> list:
    """The values of a column, null where there is nothing. Texts repeat, and are made from a column of Arrow's once each."""
    if not isinstance(column.dtype, pd.StringDtype):
        return list(column.astype(object).where(column.notna(), None))
    codes, texts = pd.factorize(column)
    return list(np.array([*texts, None], dtype=object)[codes])


def json_text(document: dict) -> str:
    """A document of `curves_json`, each of its lists with a row on each line."""
    encode = json.JSONEncoder(allow_nan=False).encode  # `json.dumps` makes an encoder for every row
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            rows = ",\n    ".join(encode(row) for row in value)
            text = f"[\n    {rows}\n  ]"
        else:
            text = encode(value)
        parts.append(f"{encode(key)}: {text}")
    return "{\n  " + ",\n  ".join(parts) + "\n}"


def all_notes(runs: Sequence[Run]) -> list[str]:
    """What cannot be compared within a run and across runs, a line each."""
    notes = [f"{run.name}, seed {run.seed}: {note}" for run in runs for note in mixed_notes(run)]
    return notes + [f"not comparable: {note}" for note in comparison_notes(group_runs(runs))]


def _seeds_json(group: Group, table: pd.DataFrame) -> dict:
    return {
        "label": group.label,
        "seeds": [run.seed for run in group.runs],
        "unit": group.runs[0].unit,
        "interval": "95% t interval over seeds",
        **{name: rows(group, table) for name, rows in OF_SEEDS.items()},
    }


def _run_json(run: Run) -> dict:
    over = {task: over_examples(run, task) for task in run.tasks}
    return {
        "name": run.name,
        "seed": run.seed,
        "source": run.source,
        "unit": run.unit,
        "state": run.state.state if run.state else None,
        "error": run.state.error if run.state else None,
        "corpus": run.corpus,
        "size": run.size,
        "vocab_size": run.vocab_size,
        "num_parameters": run.num_parameters,
        "anchors": [_anchor_json(run, anchor, over) for anchor in run.anchors],
        **{name: rows(run) for name, rows in OF_A_RUN.items()},
        "notes": mixed_notes(run),
    }


def _anchor_json(run: Run, anchor: Anchor, over: Mapping[str, str]) -> dict:
    """`over`: what the intervals of each task are over."""
    document = anchor.document
    results: dict[str, dict[str, Any]] = {}
    for task, result in anchor.results.tasks.items():
        metrics = {name: _score_json(run, anchor, task, name, score) for name, score in result.metrics.items()}
        ties = tie_rate(run, anchor, task) if task in run.headline_tasks else None
        results[task] = {"level": run.level(task), "n": result.num_examples, "metrics": metrics}
        if any(metric["low"] is not None for metric in metrics.values()):
            results[task]["interval_over"] = over[task]
        if ties is not None:
            results[task]["tie_rate"] = ties
    return {
        "revision": anchor.revision,
        "nominal_tokens": document.nominal_tokens,
        "exact_tokens": document.exact_tokens,
        "step": document.step,
        **losses_of(run, anchor),
        "results": results,
        "weights": anchor.results.weights,
    }


def _score_json(run: Run, anchor: Anchor, task: str, metric: str, score: Score) -> dict:
    """`value`, `stderr`, and `low` and `high` of the 95% interval."""
    stderr = accuracy_stderr(run, anchor, task) if metric == "acc" else score.stderr
    interval = metric_interval(metric, score.value, stderr, anchor.results.tasks[task].num_samples)
    low, high = interval or (None, None)
    return {"value": score.value, "stderr": stderr, "low": low, "high": high}
