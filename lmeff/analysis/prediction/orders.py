"""Which recipe is predicted to end higher, how often that is right, and with what probability."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from lmeff.analysis.prediction.bootstrap import NOTHING, drawn_over
from lmeff.analysis.prediction.pairs import KINDS, agreement_of_cells, pair_masks
from lmeff.analysis.prediction.predictors.forecasts import Fitted
from lmeff.analysis.prediction.protocols import PROTOCOLS, Trial
from lmeff.analysis.scores.curve_table import CurveTable, Floats, Mask

RANKERS = ("last_value", "pooling_ranks", "stack")
"""Whose orders are told: the raw score's, that of the score with a size correction learned elsewhere, and the stack's."""


def predicted_cells(trial: Trial, protocol: int, predictor: str) -> Floats:
    """(cells,): means over seeds of what a predictor says of runs that it did not know; NaN where it says nothing. The raw
    score is known whatever the protocol."""
    forecast, tested = trial.forecasts[predictor], trial.tested(protocol)
    counts = tested.sum(0)
    sums = np.where(tested, np.nan_to_num(forecast.mean), 0.0).sum(0)
    silent = (tested & ~np.isfinite(forecast.mean)).any(0)
    return trial.table.cell_means(np.where((counts > 0) & ~silent, sums / np.maximum(counts, 1), np.nan))


def pair_rows(trial: Trial) -> list[dict]:
    """`pairs` at a cut-off: the share of pairs of cells of one corpus, by means over seeds, that a predictor orders as they
    end. `pooling_ranks` has what it said of pairs of runs, too: `said`, the mean probability of the run it prefers, and
    `right`, how often that one ended higher."""
    table, masks, rows = trial.table, pair_masks(trial.table), []
    means = table.cell_means(table.target)
    corpora_held_out = PROTOCOLS.index("P3")
    for number in (0, corpora_held_out):
        if not trial.tested(number).any():
            continue
        for predictor in RANKERS:
            predicted = predicted_cells(trial, number, predictor)
            order, cells = agreement_of_cells(predicted, means), np.flatnonzero(np.isfinite(predicted + means))
            said = _said_and_right(trial) if predictor == "pooling_ranks" and number == corpora_held_out else None
            for scope in KINDS:
                count = order.num_pairs(masks[scope])
                accuracy = partial(order.accuracy, masks[scope])
                row = {
                    "cutoff_tokens": int(table.anchors[trial.column]),
                    "protocol": PROTOCOLS[number],
                    "predictor": predictor,
                    "scope": scope,
                    **(drawn_over(accuracy, cells, table.num_cells) if count else NOTHING),
                    "n": count,
                }
                if said and scope == "within":
                    row |= {"said": said[0], "right": said[1]}
                rows.append(row)
    return rows


def _said_and_right(trial: Trial) -> tuple[float, float] | None:
    """Over pairs of runs of different cells of corpora that were held out."""
    table = trial.table
    said, right = [], []
    of_protocol = trial.splits.protocol == PROTOCOLS.index("P3")
    for split in np.flatnonzero(of_protocol & (trial.fitted.masks.sum(1) > 0)):
        runs = np.flatnonzero(trial.splits.tested[split] & trial.fitted.cutoff.usable)
        weights = np.zeros((len(runs) * (len(runs) - 1) // 2, table.num_runs))
        one, other = np.triu_indices(len(runs), 1)
        apart = table.cell[runs[one]] != table.cell[runs[other]]
        weights[np.arange(len(one)), runs[one]] = 1
        weights[np.arange(len(one)), runs[other]] = -1
        weights = weights[apart]
        probability = probabilities(trial.fitted, int(split), weights)
        ahead = np.sign(weights @ np.where(table.is_finished, np.nan_to_num(table.target), 0.0))
        said += list(np.maximum(probability, 1 - probability))
        right += list((np.sign(probability - 0.5) * ahead + 1) / 2)
    return (float(np.mean(said)), float(np.mean(right))) if said else None


def probabilities(fitted: Fitted, split: int, weights: Floats, known: Floats | float = 0.0) -> Floats:
    """(contrasts,): the probability that a weighted sum of ends is above 0, by the t distribution that intervals come from.
    `weights` (contrasts, runs) are of runs that have not ended; `known` (contrasts,) is what those that have add to it."""
    from scipy.special import stdtr

    if not len(weights):
        return np.zeros(0)
    name, of_split = "pooling_ranks", slice(split, split + 1)
    posterior = fitted.posteriors[name].of(of_split)
    forecast = fitted.models[name].predict_sums(posterior, fitted.masks[of_split], weights)
    return stdtr(forecast.freedom[0], (forecast.mean[0] + known) / np.maximum(forecast.sd[0], 1e-6))


@dataclass(frozen=True)
class Contrast:
    """Two cells, and how the difference of their means depends on their runs."""

    first: int
    second: int
    weights: Floats
    """(runs,)"""

    @classmethod
    def of(cls, table: CurveTable, first: int, second: int, counted: Mask) -> "Contrast":
        """Of means over the runs of both cells that are counted (runs,)."""
        shares = [np.where(counted & (table.cell == cell), 1.0, 0.0) for cell in (first, second)]
        return cls(first, second, shares[0] / shares[0].sum() - shares[1] / shares[1].sum())
