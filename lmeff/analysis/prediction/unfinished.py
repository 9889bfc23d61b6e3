"""Runs that have not reached the target, beside runs that have: what each will end at, and which comparisons are decided."""

from collections.abc import Sequence

import numpy as np

from lmeff.analysis.prediction.orders import Contrast, probabilities
from lmeff.analysis.prediction.predictors.forecasts import PREDICTORS, Cutoff, Fitted, Forecast, fit_all
from lmeff.analysis.prediction.predictors.stack import FEWEST_CORPORA, stacked
from lmeff.analysis.scores.curve_table import CurveTable, Ints

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


def decision_rows(table: CurveTable) -> list[dict]:
    """`decisions`: pairs of recipes of one corpus of which one has unfinished runs, with the probability that the first one's
    mean over seeds ends above the second's; None from too few finished cells."""
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
            contrast = Contrast.of(table, first, second, inside)
            ended = np.where(table.is_finished, np.nan_to_num(table.target), 0.0)
            still = np.where(table.is_finished, 0.0, contrast.weights)
            probability = float(probabilities(fits[column], 0, still[None], float(contrast.weights @ ended))[0])
        sure = all(is_calibrated(table, int(run), column) for run in np.flatnonzero(inside & (last >= 0)))
        rows.append(
            {
                "a": table.cell_names[first],
                "b": table.cell_names[second],
                "cutoff_tokens": int(table.anchors[column]),
                "probability": probability,
                "decided": probability is not None and sure and max(probability, 1 - probability) >= DECIDED,
            }
        )
    return rows


def unfinished_notes(table: CurveTable, decisions: Sequence[dict]) -> list[str]:
    """Lines that say what cannot be told of unfinished runs."""
    notes = []
    if any(row["probability"] is None for row in decisions):
        notes.append(f"not calibrated: fewer than {MANY_CELLS} finished recipes")
    waiting = ~table.is_finished & ~table.skips_target & (unfinished_at(table) < 0)
    early = [table.run_names[run] for run in np.flatnonzero(waiting)]
    if early:
        more = f"; and {len(early) - _MOST_NAMED} more" if len(early) > _MOST_NAMED else ""
        notes.append(f"too early to predict: {'; '.join(early[:_MOST_NAMED])}{more}")
    return notes
