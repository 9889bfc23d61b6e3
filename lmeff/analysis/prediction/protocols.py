"""What may be known of other runs, and how far predictions are off then.

P1: all cells but one. P2: the other corpora and one finished cell of the corpus. P3: the other corpora only.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lmeff.analysis.prediction.bootstrap import with_interval
from lmeff.analysis.prediction.predictors.forecasts import PREDICTORS, SIMPLE, Cutoff, Fitted, Forecast, fit_all
from lmeff.analysis.prediction.predictors.stack import evenly, stacked
from lmeff.analysis.scores.curve_table import CurveTable, Floats, Ints, Mask

PROTOCOLS = ("P1", "P2", "P3")
MOST_CELLS = 150
"""In larger tables an even selection of cells is left out, or is the finished one."""
BASELINES = (*SIMPLE, "design_only")
"""The best of these is what skill is measured against."""
_NO_ERROR = 1e-9
"""What floats leave of a mean absolute error of 0: nobody has skill over that."""


@dataclass(frozen=True)
class Splits:
    """What is known, and which runs are to be predicted from it."""

    protocol: Ints
    """(splits,): index into `PROTOCOLS`."""
    known: Floats
    """(splits, runs)"""
    tested: Mask
    """(splits, runs)"""
    num_beside: Ints
    """(splits,): finished cells in the corpus of what is to be predicted."""


def make_splits(table: CurveTable, protocols: Collection[str] = PROTOCOLS) -> Splits:
    """All splits of the finished cells that the number of corpora and cells allows, by some protocols."""
    cells = np.flatnonzero(table.is_finished @ table.members > 0)
    parts = [part for part in _leave_one_out(table, cells) if PROTOCOLS[part[0]] in protocols]
    shape = (-1, table.num_runs)
    return Splits(
        np.array([part[0] for part in parts], int),
        np.array([part[1] for part in parts], float).reshape(shape),
        np.array([part[2] for part in parts], bool).reshape(shape),
        np.array([part[3] for part in parts], int),
    )


def _leave_one_out(table: CurveTable, cells: Ints) -> Iterator[tuple[int, Mask, Mask, int]]:
    finished, corpora = table.is_finished, table.corpus_of_cell
    used = sorted({int(corpora[cell]) for cell in cells})
    tried = evenly(cells.tolist(), MOST_CELLS)
    for cell in tried:
        beside = int((corpora[cells] == corpora[cell]).sum()) - 1
        yield 0, finished & (table.cell != cell), finished & (table.cell == cell), beside
    if len(used) < 2:
        return
    for cell in tried:
        others = finished & (table.corpus == corpora[cell]) & (table.cell != cell)
        if others.any():
            yield 1, finished & ((table.corpus != corpora[cell]) | (table.cell == cell)), others, 1
    for corpus in used:
        yield 2, finished & (table.corpus != corpus), finished & (table.corpus == corpus), 0


@dataclass(frozen=True, eq=False)
class Trial:
    """All splits at a cut-off, predicted."""

    table: CurveTable
    column: int
    splits: Splits

    @cached_property
    def fitted(self) -> Fitted:
        return fit_all(Cutoff(self.table, self.column), self.splits.known)

    @cached_property
    def _stacked(self) -> tuple[Forecast, Floats]:
        return stacked(self.fitted, self.splits.num_beside)

    @property
    def stack_weights(self) -> Floats:
        """(splits, components)"""
        return self._stacked[1]

    @cached_property
    def forecasts(self) -> dict[str, Forecast]:
        """By predictor."""
        return {**self.fitted.forecasts, "stack": self._stacked[0]}

    def tested(self, protocol: int) -> Mask:
        """(splits, runs): what is predicted, of one protocol."""
        return self.splits.tested & (self.splits.protocol == protocol)[:, None] & self.fitted.cutoff.usable


def error_rows(trial: Trial) -> list[dict]:
    """`errors` at a cut-off: a row for each protocol and predictor."""
    from scipy.special import stdtrit

    rows = []
    tokens = int(trial.table.anchors[trial.column])
    for number, protocol in enumerate(PROTOCOLS):
        tested = trial.tested(number)
        errors, best = {}, {}
        for name in PREDICTORS:
            forecast = trial.forecasts[name]
            split, run = np.nonzero(tested & np.isfinite(forecast.mean))
            if not len(run):
                continue
            error = forecast.mean[split, run] - trial.table.target[run]
            width = np.abs(error) / np.maximum(forecast.sd[split, run], 1e-12)
            covered = [float((width <= stdtrit(forecast.freedom[split, run], half)).mean()) for half in (0.9, 0.975)]
            best[name] = _best_rule(trial, split, run)
            mae = _mean_absolute(trial.table, np.abs(error), run)
            errors[name] = {
                "mae": mae["value"],
                "low": mae["low"],
                "high": mae["high"],
                "bias": float(error.mean()),
                "coverage80": covered[0],
                "coverage95": covered[1],
                "n": len(run),
            }
        if not errors:
            continue
        rows += [
            {
                "protocol": protocol,
                "cutoff_tokens": tokens,
                "predictor": name,
                **said,
                "skill": 1 - said["mae"] / best[name] if best[name] > _NO_ERROR else None,
            }
            for name, said in errors.items()
        ]
    return rows


def _best_rule(trial: Trial, split: Ints, run: Ints) -> float:
    """The smallest mean absolute error of `BASELINES` for these runs of these splits; where a corpus has no gain of its own,
    the mean gain stands in."""
    means = {name: trial.forecasts[name].mean[split, run] for name in BASELINES}
    said = (np.where(np.isfinite(mean), mean, means["mean_gain"]) for mean in means.values())
    return min(float(np.abs(mean - trial.table.target[run]).mean()) for mean in said)


def _mean_absolute(table: CurveTable, errors: Floats, runs: Ints) -> dict:
    """The mean absolute error with its interval over cells; a run that was predicted several times counts so often."""
    by_cell = np.bincount(table.cell[runs], errors, table.num_cells)
    counts = np.bincount(table.cell[runs], minlength=table.num_cells)
    cells = np.flatnonzero(counts)
    return with_interval(lambda weights: weights @ by_cell[cells] / (weights @ counts[cells]), len(cells))
