"""What every predictor says of every run at a cut-off, from the finished runs that it may know."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from lmeff.analysis.prediction.predictors.gaussian import Posterior, Sums, fit, posterior, predict_widely
from lmeff.analysis.prediction.predictors.shapes import average_of_shapes
from lmeff.analysis.scores.curve_table import CurveTable, Floats, Ints, Mask

BATCH_UNIT = 0.02
"""Of a doubling of tokens per step: so that a coefficient of 1 is a strong effect."""
COEFFICIENT_SD = 0.5
CORPUS_SD = 0.01
NOISE_SD = 0.009
"""Medians of the priors, on BLiMP's scale."""
CORPUS_SD_OF_SCORES = 0.05
"""Corpora differ more in where they end than in how far they rise."""

SIMPLE = ("last_value", "mean_gain", "same_corpus_gain")
MODELS = ("pooling", "pooling_ranks", "design_only")
PREDICTORS = (
    "last_value",
    "mean_gain",
    "same_corpus_gain",
    "design_only",
    "pooling",
    "pooling_ranks",
    "shapes",
    "stack",
)


@dataclass(frozen=True)
class Forecast:
    mean: Floats
    """(splits, runs); NaN where a predictor says nothing."""
    sd: Floats
    """(splits, runs): the scale of a t distribution with `freedom` degrees."""
    freedom: Floats
    """(splits, runs)"""


@dataclass(frozen=True, eq=False)
class Cutoff:
    """All curves up to an anchor."""

    table: CurveTable
    column: int

    @cached_property
    def known(self) -> Mask:
        """(runs,): have a score at the anchor."""
        return ~np.isnan(self.table.scores[:, self.column])

    @cached_property
    def score(self) -> Floats:
        """(runs,): the score at the anchor; 0 where there is none, which is never used."""
        return np.where(self.known, self.table.scores[:, self.column], 0.0)

    @cached_property
    def usable(self) -> Mask:
        """(runs,): can be learned from."""
        return self.known & self.table.is_finished

    @cached_property
    def gain(self) -> Floats:
        """(runs,): the target minus the score; 0 where one is missing."""
        return np.where(self.usable, np.where(self.usable, self.table.target, 0.0) - self.score, 0.0)

    @cached_property
    def shapes(self) -> tuple[Floats, Floats]:
        """Means and standard deviations (runs,) of the average of shapes."""
        upto = slice(0, self.column + 1)
        anchors, target = self.table.anchors[upto].astype(float), float(self.table.target_tokens)
        mean, sd = average_of_shapes(anchors, target, self.table.scores[:, upto])
        return np.where(self.known, mean, np.nan), sd

    @cached_property
    def early_columns(self) -> tuple[Floats, Floats]:
        """(runs,) each: how far a run is above its cell, and its cell above the cells of its corpus, at the anchor."""
        table = self.table
        cell_mean = table.cell_means(np.where(self.known, self.score, np.nan))
        of_corpus = np.array(
            [
                np.nanmean(cell_mean[inside]) if np.isfinite(cell_mean[inside]).any() else 0.0
                for inside in (table.corpus_of_cell == corpus for corpus in range(len(table.corpus_names)))
            ]
        )
        above_corpus = np.nan_to_num(cell_mean - of_corpus[table.corpus_of_cell])[table.cell]
        return np.where(self.known, self.score - np.nan_to_num(cell_mean)[table.cell], 0.0), above_corpus


def columns_of(cutoff: Cutoff, model: str) -> Floats:
    """(runs, p): intercept, features, corpora. `pooling` has what the early score says in it, the others size alone."""
    table = cutoff.table
    features = [BATCH_UNIT * table.log_batch_of_cell[table.cell]]
    if model == "pooling":
        features += cutoff.early_columns
    corpora = (table.corpus[:, None] == np.arange(len(table.corpus_names))).astype(float)
    return np.column_stack([np.ones(table.num_runs), *features, corpora])


@dataclass(frozen=True, eq=False)
class PooledModel:
    """One of `MODELS` at a cut-off."""

    cutoff: Cutoff
    name: str

    @cached_property
    def columns(self) -> Floats:
        return columns_of(self.cutoff, self.name)

    @property
    def num_features(self) -> int:
        return 3 if self.name == "pooling" else 1

    @cached_property
    def base(self) -> Floats:
        """(runs,): what gains are added to."""
        return np.zeros(len(self.cutoff.score)) if self.name == "design_only" else self.cutoff.score

    @cached_property
    def gain(self) -> Floats:
        return np.where(self.cutoff.usable, np.nan_to_num(self.cutoff.table.target), 0.0) - np.where(
            self.cutoff.usable, self.base, 0.0
        )

    @cached_property
    def sums_of_cells(self) -> Sums:
        """Of the runs of each cell that can be learned from."""
        return Sums.of(self.columns, self.gain, self.cutoff.table.members * self.cutoff.usable[:, None])

    def sums(self, masks: Floats) -> Sums:
        return self.sums_of_cells.together(cells_in(masks, self.cutoff.table))

    def fit(self, masks: Floats) -> Posterior:
        """Of the finished runs in each mask (splits, runs)."""
        corpus_sd = CORPUS_SD_OF_SCORES if self.name == "design_only" else CORPUS_SD
        usual = np.log([*[COEFFICIENT_SD] * self.num_features, corpus_sd, NOISE_SD])
        scales = np.log(self.cutoff.table.noise_scales(cells_in(masks, self.cutoff.table)))
        prior = usual + scales[:, None] * np.array([0.0] * self.num_features + [1.0, 1.0])
        return fit(self.sums(masks), self.num_features, prior)

    def predict_again(self, chosen: Floats, log_sds: Floats, runs: Ints) -> tuple[Floats, Floats]:
        """Means and standard deviations (unions, n) of the target of runs (unions, n), from the cells that are chosen (unions,
        cells) at deviations that are known (unions, features + 2)."""
        fitted = posterior(self.sums_of_cells.together(chosen), self.num_features, log_sds)
        columns = self.columns[runs]
        spread = np.einsum("unp,unp->un", columns @ fitted.covariance, columns)
        mean = np.einsum("unp,up->un", columns, fitted.mean) + self.base[runs]
        return mean, np.sqrt(spread + fitted.noise[:, None])

    def predict_widely(self, fitted: Posterior, masks: Floats) -> tuple[Floats, Floats]:
        """As `predict` of what was fitted to these masks, with the uncertainty of the deviations."""
        mean, sd = predict_widely(fitted, self.sums(masks), self.columns)
        return mean + self.base, sd

    def predict_sums(self, fitted: Posterior, masks: Floats, weights: Floats) -> Forecast:
        """Of weighted sums of the targets of runs, weights (sums, runs), as `predict_widely` of single ones: (splits, sums)."""
        columns, noises = weights @ self.columns, (weights**2).sum(1)
        mean, sd = predict_widely(fitted, self.sums(masks), columns, noises)
        return Forecast(mean + weights @ self.base, sd, self.freedom(fitted, masks, columns, noises))

    def freedom(
        self, fitted: Posterior, masks: Floats, columns: Floats | None = None, noises: Floats | float = 1.0
    ) -> Floats:
        """(splits, runs): degrees of freedom of a t interval (Satterthwaite 1946): what a corpus's level adds to the variance
        is known from so many corpora, the rest from so many cells. Of sums of runs with `columns` and `noises` of theirs."""
        table = self.cutoff.table
        num_corpora = len(table.corpus_names)
        corpora = (table.corpus_of_cell[:, None] == np.arange(num_corpora)).astype(float)
        in_corpora = (cells_in(masks, table) @ corpora > 0).sum(1)
        level = np.clip(fitted.level_share(self.columns if columns is None else columns, num_corpora, noises), 0, 1)
        of_corpora = np.maximum(in_corpora - 1, 1)[:, None]
        of_cells = np.maximum(num_cells_in(masks, table) - 1, 1)[:, None]
        return 1 / (level**2 / of_corpora + (1 - level) ** 2 / of_cells)


def cells_in(masks: Floats, table: CurveTable) -> Floats:
    """(splits, cells): 1 where a cell has a run in a mask. Masks take whole cells, as far as their runs can be learned from."""
    return ((masks @ table.members) > 0).astype(float)


def num_cells_in(masks: Floats, table: CurveTable) -> Floats:
    """(splits,): cells with a run in each mask."""
    return cells_in(masks, table).sum(1)


def mean_gains(cutoff: Cutoff, masks: Floats) -> Floats:
    """(splits,): the mean gain of the runs of each mask."""
    return masks @ cutoff.gain / np.maximum(masks.sum(1), 1)


def simple_forecasts(cutoff: Cutoff, masks: Floats) -> dict[str, Forecast]:
    """`SIMPLE`, with the spread of the gains of the runs in each mask (splits, runs)."""
    table, gain = cutoff.table, cutoff.gain
    counts, cells = np.maximum(masks.sum(1), 1), np.maximum(num_cells_in(masks, table), 1)
    freedom = np.broadcast_to(np.maximum(cells - 1, 1)[:, None], (len(masks), table.num_runs))
    mean = mean_gains(cutoff, masks)
    square = masks @ gain**2 / counts
    spread = np.sqrt(np.maximum(square - mean**2, 0) * counts / np.maximum(counts - 1, 1) * (1 + 1 / cells))
    shape = (len(masks), table.num_runs)
    score = np.where(cutoff.known, cutoff.score, np.nan)
    corpora = (table.corpus[:, None] == np.arange(len(table.corpus_names))).astype(float)
    in_corpus = masks @ corpora
    sums = masks @ (corpora * gain[:, None])
    of_corpus = np.where(in_corpus > 0, sums / np.maximum(in_corpus, 1), np.nan)
    within = masks @ gain**2 - np.nansum(of_corpus * sums, axis=1)
    left = np.maximum(counts - (in_corpus > 0).sum(1), 1)
    per_corpus = cells_in(masks, table) @ (table.corpus_of_cell[:, None] == np.arange(len(table.corpus_names))).astype(
        float
    )
    widths = np.sqrt(np.maximum(within, 0) / left)[:, None] * np.sqrt(1 + 1 / np.maximum(per_corpus, 1))
    return {
        "last_value": Forecast(
            np.broadcast_to(score, shape), np.broadcast_to(np.sqrt(square)[:, None], shape), freedom
        ),
        "mean_gain": Forecast(score + mean[:, None], np.broadcast_to(spread[:, None], shape), freedom),
        "same_corpus_gain": Forecast(score + of_corpus[:, table.corpus], widths[:, table.corpus], freedom),
    }


@dataclass(frozen=True)
class Fitted:
    """All predictors but the stack, of every split."""

    cutoff: Cutoff
    masks: Floats
    """(splits, runs): which finished runs each split learns from."""
    models: dict[str, PooledModel]
    posteriors: dict[str, Posterior]
    forecasts: dict[str, Forecast]


def fit_all(cutoff: Cutoff, masks: Floats) -> Fitted:
    """Fits everything to the runs of each mask that are finished and have a score at the cut-off; of a mask without any,
    nothing is forecast."""
    masks = masks * cutoff.usable
    forecasts = simple_forecasts(cutoff, masks)
    models = {name: PooledModel(cutoff, name) for name in MODELS}
    posteriors = {name: model.fit(masks) for name, model in models.items()}
    for name, model in models.items():
        mean, sd = model.predict_widely(posteriors[name], masks)
        freedom = model.freedom(posteriors[name], masks)
        forecasts[name] = Forecast(np.where(cutoff.known, mean, np.nan), sd, freedom)
    mean, sd = cutoff.shapes
    shape = (len(masks), len(mean))
    many = np.full(shape, 1e6)  # its deviation is a model's, not a sample's
    forecasts["shapes"] = Forecast(np.broadcast_to(mean, shape), np.broadcast_to(sd, shape), many)
    silent = (masks.sum(1) == 0)[:, None]
    forecasts = {
        name: replace(forecast, mean=np.where(silent, np.nan, forecast.mean)) for name, forecast in forecasts.items()
    }
    return Fitted(cutoff, masks, models, posteriors, forecasts)
