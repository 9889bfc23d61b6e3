"""Runs that have not reached the target, beside runs that have: what each will end at, and which comparisons are decided."""

from collections.abc import Sequence

import numpy as np

from lmeff.analysis.prediction.orders import Contrast, probabilities
from lmeff.analysis.prediction.predictors.forecasts import PREDICTORS, Cutoff, Fitted, Forecast, fit_all
from lmeff.analysis.prediction.predictors.stack import FEWEST_CORPORA, stacked
from lmeff.analysis.scores.curve_table import CurveTable, Floats, Ints
from lmeff.quantities import format_tokens

MANY_CELLS = 20
"""With fewer finished cells no probability is told."""
FEWEST_CELLS = 4
"""With fewer finished cells no interval is called calibrated."""
EARLY = 1 / 8
"""Before this share of the target, nothing is said for certain of a size that is larger than every finished one."""
_MOST_NAMED = 5
DECIDED = 0.95
"""A comparison is decided when one of its sides is this probable."""


def unfinished_at(table: CurveTable) -> Ints:
    """(runs,): the column of the last anchor of every run on its way to the target at which finished runs can be compared; -1
    of other runs, and of those without such an anchor."""
    columns = np.full(table.num_runs, -1)
    for run in np.flatnonzero(~table.is_finished & ~table.skips_target):
        have = [column for column in table.cutoffs if np.isfinite(table.scores[run, column])]
        columns[run] = have[-1] if have else -1
    return columns


def finished_cells(table: CurveTable, column: int) -> Ints:
    """The cells that have a finished run with a score at an anchor: what runs that are there now can be compared with."""
    return np.flatnonzero(Cutoff(table, column).usable @ table.members > 0)


def cells_beside(table: CurveTable, column: int) -> Ints:
    """(corpora,): finished cells of each with a score at an anchor."""
    cells = finished_cells(table, column)
    return np.bincount(table.corpus_of_cell[cells], minlength=len(table.corpus_names))


def is_calibrated(table: CurveTable, run: int, column: int, is_held_out: bool = False) -> bool:
    """Whether the interval of a run may be called calibrated: its corpus has a finished cell or at least four other corpora
    have, and its size is not larger than all that finished, unless it is far enough. Cells without a score at the anchor say
    nothing there and do not count, nor does the run's own where that is held out."""
    finished = finished_cells(table, column)
    if is_held_out:
        finished = finished[finished != table.cell[run]]
    beside = np.bincount(table.corpus_of_cell[finished], minlength=len(table.corpus_names))
    if len(finished) < FEWEST_CELLS:
        return False
    if not beside[table.corpus[run]] and (beside > 0).sum() < FEWEST_CORPORA:
        return False
    sizes = table.size_of_cell[finished]
    is_larger = table.size_of_cell[table.cell[run]] > np.max(sizes[np.isfinite(sizes)], initial=-np.inf)
    return not (is_larger and table.anchors[column] < EARLY * table.target_tokens)


def interval_ends(forecast: Forecast, split: int, run: int) -> dict[str, float]:
    """`low80`, `high80`, `low95`, `high95` of the t distribution that a run is predicted by."""
    from scipy.special import stdtrit

    mean, sd, freedom = (float(part[split, run]) for part in (forecast.mean, forecast.sd, forecast.freedom))
    half80, half95 = (sd * float(stdtrit(freedom, share)) for share in (0.9, 0.975))
    return {"low80": mean - half80, "high80": mean + half80, "low95": mean - half95, "high95": mean + half95}


def prediction_rows(table: CurveTable) -> list[dict]:
    """`predictions`: a row for each unfinished run and predictor."""
    rows = []
    last = unfinished_at(table)
    for column in sorted(set(last[last >= 0])):
        runs = np.flatnonzero(last == column)
        forecasts = _forecasts(table, int(column))
        for run in runs:
            split = int(table.corpus[run])
            for predictor in PREDICTORS:
                forecast = forecasts[predictor]
                if not np.isfinite(value := float(forecast.mean[split, run])):
                    continue
                rows.append(
                    {
                        "run": table.run_names[run],
                        "cutoff_tokens": int(table.anchors[column]),
                        "predictor": predictor,
                        "value": value,
                        **interval_ends(forecast, split, int(run)),
                        "calibrated": is_calibrated(table, int(run), int(column)),
                    }
                )
    return rows


def _forecasts(table: CurveTable, column: int) -> dict[str, Forecast]:
    """Everything fitted to all finished runs, a split for each corpus of what is to be predicted."""
    beside = cells_beside(table, column)
    masks = np.repeat(table.is_finished[None].astype(float), len(beside), axis=0)
    fitted = fit_all(Cutoff(table, column), masks)
    return {**fitted.forecasts, "stack": stacked(fitted, beside)[0]}


def decision_rows(table: CurveTable, predictions: Sequence[dict]) -> list[dict]:
    """`decisions`: pairs of recipes of one corpus of which one has unfinished runs, with the probability that the first one's
    mean over seeds ends above the second's; None from too few finished cells. `decided` are those that are so sure,
    and whose intervals in `predictions` (the stack's 95%) lie apart on that side: of the published recipes, each left out once,
    a seventh of what pooling alone was 95% sure of up to 250M tokens came out otherwise."""
    last = unfinished_at(table)
    waiting = sorted(set(table.cell[last >= 0]))
    pairs = [
        (int(min(cell, other)), int(max(cell, other)))
        for cell in waiting
        for other in range(table.num_cells)
        if other != cell and table.corpus_of_cell[other] == table.corpus_of_cell[cell]
    ]
    counted = table.is_finished | (last >= 0)
    fits: dict[int, Fitted] = {}
    shares: dict[int, float | None] = {}
    ends = _interval_of_cells(table, predictions)
    rows = []
    for first, second in dict.fromkeys(pairs):
        inside = np.isin(table.cell, (first, second)) & counted
        # The runs of a pair are compared where all of them are: at the anchor of the one that is least far.
        column = int(last[inside & (last >= 0)].min())
        inside &= np.isfinite(table.scores[:, column]) | table.is_finished
        if not {first, second} <= set(table.cell[inside]):
            continue
        probability = None
        if len(finished_cells(table, column)) >= MANY_CELLS:
            if column not in fits:
                fits[column] = fit_all(Cutoff(table, column), table.is_finished[None].astype(float))
                shares[column] = share_that_holds(table, column)
            contrast, share = Contrast.of(table, first, second, inside), shares[column]
            ended = np.where(table.is_finished, np.nan_to_num(table.target), 0.0)
            still = np.where(table.is_finished, 0.0, contrast.weights)
            told = float(probabilities(fits[column], 0, still[None], float(contrast.weights @ ended))[0])
            probability = None if share is None else 0.5 + share * (told - 0.5)
        sure = all(is_calibrated(table, int(run), column) for run in np.flatnonzero(inside & (last >= 0)))
        rows.append(
            {
                "a": table.cell_names[first],
                "b": table.cell_names[second],
                "cutoff_tokens": int(table.anchors[column]),
                "probability": probability,
                "decided": probability is not None and sure and _is_decided(probability, ends[first], ends[second]),
            }
        )
    return rows


def _is_decided(probability: float, first: Floats, second: Floats) -> bool:
    """Whether one side is probable enough, and its whole interval is above that of the other."""
    upper, lower = (first, second) if probability > 0.5 else (second, first)
    return bool(max(probability, 1 - probability) >= DECIDED and upper[0] > lower[1])


def _interval_of_cells(table: CurveTable, predictions: Sequence[dict]) -> Floats:
    """(cells, 2): means over the runs of a cell of both ends of the stack's 95% intervals; finished ones count with their
    score. NaN of a cell without either."""
    told = {row["run"]: (row["low95"], row["high95"]) for row in predictions if row["predictor"] == "stack"}
    ends = np.full((table.num_runs, 2), np.nan)
    for run, name in enumerate(table.run_names):
        ends[run] = table.target[run] if table.is_finished[run] else told.get(name, np.nan)
    return np.array([_mean_there(ends[table.cell == cell]) for cell in range(table.num_cells)])


def _mean_there(ends: Floats) -> Floats:
    there = ends[np.isfinite(ends).all(1)]
    return there.mean(0) if len(there) else np.full(2, np.nan)


def share_that_holds(table: CurveTable, column: int) -> float | None:
    """How much of the distance of probabilities from one half came true at an anchor, from 0 to 1: every finished cell is left
    out once and compared with the others of its corpus, whose ends are known, by means over seeds. None where no two finished
    ones share a corpus."""
    cells = finished_cells(table, column)
    masks = np.array([table.is_finished & (table.cell != cell) for cell in cells], dtype=float)
    fitted = fit_all(Cutoff(table, column), masks)
    means = table.cell_means(table.target)
    said, right = [], []
    for split, cell in enumerate(cells):
        others = [
            other for other in cells if other != cell and table.corpus_of_cell[other] == table.corpus_of_cell[cell]
        ]
        runs = (table.cell == cell) & fitted.cutoff.usable
        if not others:
            continue
        weights = np.tile(runs / runs.sum(), (len(others), 1))
        told = probabilities(fitted, split, weights, -means[others])
        end = table.target[runs].mean()
        said += list(np.abs(told - 0.5))
        right += list(np.sign(told - 0.5) * np.sign(end - means[others]) / 2)
    return float(np.clip(np.sum(right) / max(np.sum(said), 1e-12), 0.0, 1.0)) if said else None


def unfinished_notes(table: CurveTable, decisions: Sequence[dict]) -> list[str]:
    """Lines that say what cannot be told of unfinished runs."""
    notes = []
    columns = np.searchsorted(
        table.anchors, sorted({row["cutoff_tokens"] for row in decisions if row["probability"] is None})
    )
    if any(len(finished_cells(table, int(column))) < MANY_CELLS for column in columns):
        notes.append(f"not calibrated: fewer than {MANY_CELLS} finished recipes")
    elif len(columns):
        notes.append("not calibrated: no two finished recipes share a corpus, so that no probability can be checked")
    return [*notes, *_anchor_notes(table)]


def _anchor_notes(table: CurveTable) -> list[str]:
    """Which unfinished runs are at an anchor from which they cannot be predicted: before all that can be used, or elsewhere."""
    known = np.isfinite(table.scores)
    columns = unfinished_at(table)
    early, beyond, alone = [], [], []
    for run in np.flatnonzero(~table.is_finished & ~table.skips_target):
        name, used = table.run_names[run], int(columns[run])
        last = int(np.flatnonzero(known[run])[-1]) if known[run].any() else -1
        if used < 0 and last < table.cutoffs[0]:
            early.append(name)
        elif used < 0:
            alone.append(f"{name} (at {format_tokens(table.anchors[last])})")
        elif used < last:
            beyond.append(
                f"{name} (at {format_tokens(table.anchors[last])}, from {format_tokens(table.anchors[used])})"
            )
    said = {
        "too early to predict": early,
        "not predicted, without a score where enough finished recipes have one before their end": alone,
        "not predicted from their last score, where too few finished recipes have one before their end": beyond,
    }
    return [f"{words}: {_named(names)}" for words, names in said.items() if names]


def _named(names: Sequence[str]) -> str:
    more = f"; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return "; ".join(names[:_MOST_NAMED]) + more
